"""What the audit finds and how long it takes, as JSON.

python benchmarks/audit.py copies              # 100 near-duplicates in phantoms of each kind
python benchmarks/audit.py leakage             # the same as files, with straddling groups and contradicting labels
python benchmarks/audit.py shortcuts 10        # format, border and source that tell the class, so many seeds
python benchmarks/audit.py clean 200           # phantoms without a shortcut, one seed each
python benchmarks/audit.py real $TLMED_DATA    # COVID-CT, lung-cancer CT, LUNA slices
python benchmarks/audit.py scale 10000         # thumbnails given; one number a process, for the peak of memory
python benchmarks/audit.py chance 200          # the statistics alone: four probes of scores that know nothing
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from PIL import Image

import tlmed.audit.search
from tlmed.audit.chain import AuditReport, audit_chain
from tlmed.audit.duplicates import find_near_duplicates
from tlmed.audit.held_out import fold_by_group, measure
from tlmed.audit.shortcuts import MAX_P_VALUE, MIN_LOW
from tlmed.audit.thumbnails import Thumbnails
from tlmed.auditing import audit_data
from tlmed.data.manifest import Manifest
from tlmed.data.phantoms import write_phantoms
from tlmed.data.sources import read_manifest
from tlmed.evaluation.statistics.multiplicity import holm
from tlmed.recipe.data import DataSettings, PhantomSettings
from tlmed.runtime.store import Store

NUM_PLANTED = 100
COPIES = ("resized", "saved", "cropped", "brighter", "grey or colour", "all")


def plant(image: Image.Image, kind: str, generator: np.random.Generator) -> Image.Image:
    """Return a copy of a picture, changed in one of the ways that copies are."""
    width, height = image.size
    if kind in ("cropped", "all"):
        kept = generator.uniform(0.92, 1, 2) if kind == "cropped" else (0.92, 0.92)
        size = [round(edge * share) for edge, share in zip((width, height), kept, strict=True)]
        left, upper = (int(generator.integers(edge - part + 1)) for edge, part in zip(image.size, size, strict=True))
        image = image.crop((left, upper, left + size[0], upper + size[1]))
    if kind in ("brighter", "all"):
        gain = generator.uniform(1.1, 1.4)
        image = image.point(lambda level: min(255, int(level * gain)))
    if kind in ("resized", "all"):
        share = generator.uniform(0.6, 1.5)
        image = image.resize((round(width * share), round(height * share)), Image.Resampling.BICUBIC)
    if kind == "grey or colour":
        image = image.convert("RGB" if image.mode == "L" else "L")
    if kind in ("saved", "all"):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=int(generator.integers(60, 96)))
        image = Image.open(stream)
    return image


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((64, 64), Image.Resampling.BILINEAR))


def copies(size: int) -> dict[str, Any]:
    figures = {}
    for phantom in ("everyday", "chest-findings", "chest-target"):
        generator = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            settings = PhantomSettings(kind=phantom, num_images=400, size=size)
            table = read_manifest(write_phantoms(settings, Store(Path(folder)))).table
            images = [Image.open(file).copy() for file in table["file"]]
        sources = generator.choice(len(images), NUM_PLANTED, replace=False)
        copies = [plant(images[s], COPIES[n % len(COPIES)], generator) for n, s in enumerate(sources)]
        found = find_near_duplicates(np.stack([thumbnail(image) for image in [*images, *copies]]))
        truth = {(int(s), len(images) + n) for n, s in enumerate(sources)}
        named = {(int(a), int(b)) for a, b in found.pairs}
        figures[phantom] = {
            "images": len(images),
            "recall": len(named & truth) / len(truth),
            "precision": len(named & truth) / max(1, len(named)),
            "missed": [COPIES[n % len(COPIES)] for n, s in enumerate(sources) if (s, len(images) + n) not in named],
        }
    return figures


def leakage(size: int) -> dict[str, Any]:
    """Every kind of leakage planted at once in a table of phantoms; what is named against what was planted."""
    generator = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        settings = PhantomSettings(kind="chest-target", num_train_patients=120, num_val_patients=60, size=size)
        drawn = read_manifest(write_phantoms(settings, Store(Path(place) / "store"))).table
        for row in drawn.itertuples():
            (folder / row.path).write_bytes(Path(row.file).read_bytes())
        table = drawn[["path", "label", "patient", "split"]].copy()
        # Straddling groups: one slice of each goes to another split.
        straddling = generator.choice(table["patient"].unique(), 20, replace=False)
        moved = table[table["patient"].isin(straddling)].groupby("patient").head(1).index
        table.loc[moved, "split"] = table.loc[moved, "split"].map({"train": "test", "val": "train", "test": "train"})
        others = table.index[~table["patient"].isin(straddling)]
        sources = generator.choice(others, NUM_PLANTED + 10, replace=False)
        rows = []
        for number, source in enumerate(sources):
            original = table.loc[source]
            is_contradicting = number >= NUM_PLANTED
            copy = plant(Image.open(folder / original["path"]).copy(), COPIES[number % len(COPIES)], generator)
            path = f"copy{number:03d}.png"
            copy.save(folder / path)
            label = {"viral-pneumonia": "other", "other": "viral-pneumonia"}[original["label"]]
            rows.append(
                {
                    "path": path,
                    "label": label if is_contradicting else original["label"],
                    "patient": f"new{number:03d}",
                    "split": {"train": "test", "val": "train", "test": "train"}[original["split"]],
                }
            )
        pd.concat([table, pd.DataFrame(rows)]).to_csv(folder / "manifest.csv", index=False)
        report = audit_data(read_manifest(folder), Store(Path(place) / "store"), name="planted")
    pairs = {frozenset((table.loc[source, "path"], row["path"])) for source, row in zip(sources, rows, strict=True)}
    contradicting = {
        frozenset((table.loc[s, "path"], r["path"])) for s, r in list(zip(sources, rows, strict=True))[-10:]
    }
    return {
        "images": len(table) + len(rows),
        "near_duplicate": _recall_and_precision(_named_pairs(report, "near_duplicate"), pairs),
        "label_conflict": _recall_and_precision(_named_pairs(report, "label_conflict"), contradicting),
        "group_overlap": _recall_and_precision(
            {str(table.set_index("path")["patient"][path]) for path in _paths(report, "group_overlap")},
            set(map(str, straddling)),
        ),
    }


def _named_pairs(report: AuditReport, kind: str) -> set[frozenset[str]]:
    found = [one for one in report.findings if one.kind == kind]
    return {frozenset(pair["paths"]) for one in found for pair in one.details["pairs"]}


def _paths(report: AuditReport, kind: str) -> set[str]:
    return {path for one in report.findings if one.kind == kind for path in one.paths}


def _recall_and_precision(named: set[Any], truth: set[Any]) -> dict[str, float]:
    return {"recall": len(named & truth) / len(truth), "precision": len(named & truth) / max(1, len(named))}


def shortcuts(num_seeds: int) -> dict[str, Any]:
    """How often a shortcut that nine in ten patients follow is flagged, and what else is."""
    flagged: dict[str, list[list[str]]] = {"format": [], "border": [], "source": []}
    for seed in range(num_seeds):
        for what, found in flagged.items():
            found.append(_flagged_shortcuts(what, seed))
    wanted = {"format": "shortcut_metadata", "border": "shortcut_border", "source": "source_confounding"}
    return {
        what: {
            "sets": num_seeds,
            "share_flagged": float(np.mean([wanted[what] in kinds for kinds in found])),
            "flagged_beside": sorted({kind for kinds in found for kind in kinds} - {wanted[what]}),
        }
        for what, found in flagged.items()
    }


def _flagged_shortcuts(what: str, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    settings = PhantomSettings(
        kind="chest-target", num_train_patients=20, num_val_patients=10, num_test_patients=30, seed=seed
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        drawn = read_manifest(write_phantoms(settings, Store(Path(place) / "store"))).table
        patients = drawn.drop_duplicates("patient").set_index("patient")["label"] == "viral-pneumonia"
        follows = pd.Series(generator.permutation(len(patients)) < 0.9 * len(patients), index=patients.index)
        marked = drawn["patient"].map(patients == follows)
        table = drawn[["path", "label", "patient", "split"]].copy()
        for index, row in drawn.iterrows():
            image = Image.open(row["file"]).copy()
            path = row["path"]
            if what == "format" and marked[index]:
                path = path.replace(".png", ".jpg")
            if what == "border" and marked[index]:
                image.paste(160, (2, 2, 14, 6))  # where a label would stand
            image.save(folder / path)
            table.loc[index, "path"] = path
        if what == "source":
            table["source"] = np.where(marked, "A", "B")
        table.to_csv(folder / "manifest.csv", index=False)
        report = audit_data(read_manifest(folder), Store(Path(place) / "store"), name="planted")
    return [one.kind for one in report.findings if one.severity == "warning"]


def scale(number: int) -> dict[str, Any]:
    """Textures as rough as slices at this size; one in a hundred stands twice. Four images a patient, two classes."""
    generator = np.random.default_rng(0)
    pictures = np.empty((number, 64, 64), dtype=np.uint8)
    for index in range(number):
        rough, fine = (
            np.asarray(
                Image.fromarray(generator.normal(size=(cells, cells)).astype(np.float32)).resize(
                    (64, 64), Image.Resampling.BICUBIC
                )
            )
            for cells in (6, 24)
        )
        pictures[index] = np.clip(128 + 40 * rough + 15 * fine, 0, 255)
    copied = np.arange(0, number, 100)
    pictures[copied + 1] = [
        thumbnail(plant(Image.fromarray(pictures[s]), COPIES[n % len(COPIES)], generator))
        for n, s in enumerate(copied.tolist())
    ]
    paths = [f"{index:06d}" for index in range(number)]
    table = pd.DataFrame({"path": paths, "file": paths, "unit": paths, "digest": paths, "split": "train"})
    table["group"] = [f"p{index // 4}" for index in range(number)]
    table["label"] = np.where(np.arange(number) // 4 % 2, "sick", "well")
    metadata = pd.DataFrame({"width": generator.integers(200, 512, number), "format": "PNG"})
    given = Thumbnails(pictures, metadata, {})
    with (
        tempfile.TemporaryDirectory() as store,
        patch.object(tlmed.audit.search, "make_thumbnails", lambda *_, **__: given),
    ):
        wall, used = time.perf_counter(), time.process_time()
        report = audit_chain(
            {"large": Manifest("large", Path(), table, "patient")},
            {"large": DataSettings(folder=Path())},
            Store(Path(store)),
            looked_at=["large"],
            probed=["large"],
        )
        wall, used = time.perf_counter() - wall, time.process_time() - used
    truth = {frozenset((paths[s], paths[s + 1])) for s in copied.tolist()}
    return {
        "thumbnails": number,
        "seconds": round(wall, 1),
        "processor_seconds": round(used, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        **_recall_and_precision(_named_pairs(report, "near_duplicate"), truth),
    }


def real(folder: Path) -> dict[str, Any]:
    figures = {}
    for name in ("covid_ct", "chest_ct_cancer", "luna_slices"):
        wall, used = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as store:
            report = audit_data(read_manifest(folder / name / "manifest.csv"), Store(Path(store)), name=name)
        figures[name] = {
            "seconds": round(time.perf_counter() - wall, 1),
            "processor_seconds_without_decoding": round(time.process_time() - used, 1),
            "findings": [
                {
                    "kind": one.kind,
                    "severity": one.severity,
                    "value": one.value,
                    "low": one.low,
                    "high": one.high,
                    "message": one.message,
                }
                for one in report.findings
            ],
        }
    return figures


def clean(num_seeds: int) -> dict[str, Any]:
    warned = []
    for seed in range(num_seeds):
        settings = PhantomSettings(
            kind="chest-target", num_train_patients=20, num_val_patients=10, num_test_patients=30, seed=seed
        )
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            report = audit_data(read_manifest(write_phantoms(settings, store)), store, name="clean")
        kinds = [(one.kind, one.value) for one in report.findings if one.severity != "note"]
        warned += [{"seed": seed, "kinds": kinds}] if kinds else []
    return {"sets": num_seeds, "share_with_warning": len(warned) / num_seeds, "warned": warned}


def chance(num_seeds: int) -> dict[str, Any]:
    """Scores that are alike within groups and know nothing of the class, as the held-out scores of four probes."""
    warned = 0
    for seed in range(num_seeds):
        generator = np.random.default_rng(seed)
        num_groups = int(generator.integers(20, 80))
        groups = np.repeat(np.arange(num_groups), generator.integers(1, 6, num_groups))
        units = fold_by_group((generator.permutation(num_groups) % 2)[groups], groups, seed)
        scores = [generator.normal(size=num_groups)[groups] + 0.5 * generator.normal(size=len(groups)) for _ in "1234"]
        told = [measure(units, np.stack([-one, one], axis=1)) for one in scores]
        adjusted = holm([one.p_value for one in told])
        warned += any((one.low or 0) > MIN_LOW and p < MAX_P_VALUE for one, p in zip(told, adjusted, strict=True))
    return {"sets": num_seeds, "share_with_warning": warned / num_seeds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("copies", "leakage"):
        parts.add_parser(name).add_argument("--size", type=int, default=64)
    parts.add_parser("scale").add_argument("number", type=int)
    parts.add_parser("real").add_argument("folder", type=Path)
    for name in ("shortcuts", "clean", "chance"):
        parts.add_parser(name).add_argument("num_seeds", type=int)
    arguments = vars(parser.parse_args())
    measured = {
        "copies": copies,
        "leakage": leakage,
        "shortcuts": shortcuts,
        "scale": scale,
        "real": real,
        "clean": clean,
        "chance": chance,
    }
    part = measured[arguments.pop("part")]
    print(json.dumps(part(*arguments.values()), indent=1))


if __name__ == "__main__":
    # The guard matters: the decoding processes import this file.
    main()
