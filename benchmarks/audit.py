"""What the audit finds and how long it takes, as JSON.

python benchmarks/audit.py planted            # 100 near-duplicates in phantoms of each kind
python benchmarks/audit.py scale 10000 100000  # thumbnails given
python benchmarks/audit.py real $TLMED_DATA   # COVID-CT, lung-cancer CT, LUNA slices
python benchmarks/audit.py clean 200          # phantoms without a shortcut, one seed each
python benchmarks/audit.py chance 200         # the statistics alone: four probes of scores that know nothing
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

import numpy as np
from PIL import Image

from tlmed.audit.duplicates import find_near_duplicates
from tlmed.audit.held_out import fold_by_group, measure
from tlmed.audit.shortcuts import MAX_P_VALUE, MIN_LOW
from tlmed.audit.table import audit_table
from tlmed.data.phantoms import write_phantoms
from tlmed.data.sources import read_manifest
from tlmed.evaluation.multiplicity import holm
from tlmed.recipe.data import PhantomSettings
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


def planted(size: int) -> dict[str, Any]:
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


def scale(numbers: list[int]) -> list[dict[str, Any]]:
    return [scale_one(number) for number in numbers]


def scale_one(number: int) -> dict[str, Any]:
    """Textures as rough as slices at this size; one in a hundred stands twice."""
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
    wall, used = time.perf_counter(), time.process_time()
    found = find_near_duplicates(pictures)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    named, truth = {(int(a), int(b)) for a, b in found.pairs}, {(s, s + 1) for s in copied.tolist()}
    return {
        "thumbnails": number,
        "seconds": round(wall, 1),
        "processor_seconds": round(used, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "recall": len(named & truth) / len(truth),
        "precision": len(named & truth) / max(1, len(named)),
    }


def real(folder: Path) -> dict[str, Any]:
    figures = {}
    for name in ("covid_ct", "chest_ct_cancer", "luna_slices"):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as store:
            findings = audit_table(read_manifest(folder / name / "manifest.csv", name=name), Store(Path(store)))
        figures[name] = {
            "seconds": round(time.perf_counter() - start, 1),
            "findings": [
                {
                    "kind": one.kind,
                    "severity": one.severity,
                    "value": one.value,
                    "low": one.low,
                    "high": one.high,
                    "message": one.message,
                }
                for one in findings
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
            findings = audit_table(read_manifest(write_phantoms(settings, store)), store)
        kinds = [(one.kind, one.value) for one in findings if one.severity != "note"]
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
    parts.add_parser("planted").add_argument("--size", type=int, default=64)
    parts.add_parser("scale").add_argument("numbers", type=int, nargs="+")
    parts.add_parser("real").add_argument("folder", type=Path)
    for name in ("clean", "chance"):
        parts.add_parser(name).add_argument("num_seeds", type=int)
    arguments = vars(parser.parse_args())
    part = {"planted": planted, "scale": scale, "real": real, "clean": clean, "chance": chance}[arguments.pop("part")]
    print(json.dumps(part(*arguments.values()), indent=1))


if __name__ == "__main__":
    # The guard matters: the decoding processes import this file.
    main()
