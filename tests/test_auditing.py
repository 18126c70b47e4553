"""What the audit means to a run: what stops it, what is mended, and what is left for the report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlmed.audit.chain import AuditReport
from tlmed.auditing import add_skipped, audit_content, audit_data, audit_domains, audit_recipe, flagged_paths
from tlmed.data.sources import read_manifest
from tlmed.domains import read_domains
from tlmed.errors import InputError
from tlmed.recipe.load import dump_recipe, parse_recipe
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """What one test has looked at is remembered for the next."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight patients with a smooth picture each; one of train stands in test again, brighter."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    rows = []
    for index in range(48):
        coarse = Image.fromarray(generator.integers(20, 200, (12, 12), dtype=np.uint8))
        picture = coarse.resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:02d}.png")
        split = "train" if index < 24 else "val" if index < 32 else "test"
        rows.append((f"{index:02d}.png", ("well", "sick")[index % 2], f"p{index:02d}", split))
    Image.open(folder / "01.png").point(lambda level: min(255, int(level * 1.15))).save(folder / "33.png")
    pd.DataFrame(rows, columns=["path", "label", "patient", "split"]).to_csv(folder / "manifest.csv", index=False)
    return folder


def _recipe(data: Path, *, split: str = "manifest", waive: tuple[str, ...] = (), **settings: str) -> Recipe:
    content = {
        "name": "example",
        "backbone": "test_resnet",
        "chain": [
            {"name": "related", "data": {"phantom": {"kind": "chest-findings", "num_images": 48, "size": 32}}},
            {"name": "target", "data": {"folder": data, **settings}},
        ],
        "evaluation": {"positive": "sick", "protocol": {"split": split}},
        "waive": waive,
    }
    return parse_recipe(content, "test")


def _audit(recipe: Recipe, tmp_path: Path, store: Store) -> AuditReport:
    return audit_domains(recipe, read_domains(recipe, store), tmp_path / "audit.json", store)


def _findings(file: Path) -> dict[str, str]:
    return {one["kind"]: one["severity"] for one in json.loads(file.read_text(encoding="utf-8"))["findings"]}


def test_a_near_duplicate_of_a_test_image_stops_a_run(data: Path, tmp_path: Path, store: Store) -> None:
    with pytest.raises(InputError, match=r"near_duplicate.*01\.png and 33\.png.*on_leak: drop_train.*waive"):
        _audit(_recipe(data), tmp_path, store)
    found = _findings(tmp_path / "audit.json")
    assert found["near_duplicate"] == "error"
    assert {"shortcut_metadata", "shortcut_border", "simple_baseline"} <= set(found)


def test_a_remembered_audit_imports_nothing_that_takes_seconds(data: Path, tmp_path: Path, store: Store) -> None:
    recipe = _recipe(data, waive=("near_duplicate",))
    recipe = recipe.model_copy(update={"chain": recipe.chain[1:]})  # drawing val of the other one takes scikit-learn
    _audit(recipe, tmp_path, store)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    code = f"""
import sys, pathlib
from tlmed.auditing import audit_domains
from tlmed.domains import read_domains
from tlmed.recipe.load import load_recipe
from tlmed.runtime.store import Store
recipe, store = load_recipe({str(tmp_path / "recipe.yaml")!r}), Store(pathlib.Path({str(store.root)!r}))
audit_domains(recipe, read_domains(recipe, store), pathlib.Path({str(tmp_path / "again.json")!r}), store)
print(sorted({{"torch", "timm", "lightning", "sklearn", "scipy"}} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "audit.json").read_bytes()


def test_it_may_be_waived_and_then_its_images_are_flagged(data: Path, tmp_path: Path, store: Store) -> None:
    report = _audit(_recipe(data, waive=("near_duplicate",)), tmp_path, store)
    assert flagged_paths(report) == {"01.png", "33.png"}
    assert len(report.domains["target"].table) == 48
    content = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert content["waived"] == ["near_duplicate"]
    assert any("related: no search" in sentence for sentence in content["not_done"])


def test_it_may_be_mended(data: Path, tmp_path: Path, store: Store) -> None:
    report = _audit(_recipe(data, on_leak="drop_train"), tmp_path, store)
    assert report.dropped[["stage", "path", "split"]].to_numpy().tolist() == [["target", "01.png", "train"]]
    assert flagged_paths(report) == set()
    assert _findings(tmp_path / "audit.json")["near_duplicate"] == "note"


def test_under_folds_copies_in_two_patients_are_an_error(data: Path, tmp_path: Path, store: Store) -> None:
    with pytest.raises(InputError, match="near-duplicates across groups"):
        _audit(_recipe(data, split="kfold"), tmp_path, store)
    report = _audit(_recipe(data, split="kfold", on_leak="drop_train"), tmp_path, store)
    assert set(report.dropped["path"]) == {"33.png"}


def test_a_waived_overlap_with_an_earlier_stage_flags_the_targets_images(data: Path, store: Store) -> None:
    recipe = _recipe(data, waive=("stage_overlap", "near_duplicate"))
    domains = read_domains(recipe, store)
    related = domains["related"].table.copy()
    related.loc[0, "group"] = "p40"
    report = audit_domains(recipe, {**domains, "related": domains["related"].with_table(related)}, None, store)
    assert flagged_paths(report) == {"01.png", "33.png", "40.png"}
    assert {one.kind for one in report.findings} == {"near_duplicate", "stage_overlap"}  # a plan needs no probes


def test_a_recipe_is_looked_through_in_every_domain_and_nothing_stops(data: Path, store: Store) -> None:
    recipe = _recipe(data)
    report = audit_recipe(recipe, read_domains(recipe, store), store)
    by_stage = {(one.details["stage"], one.kind) for one in report.findings}
    assert ("target", "near_duplicate") in by_stage
    assert any(stage == "related" for stage, _ in by_stage)
    assert len(report.not_done) == 1


def test_without_splits_the_same_picture_of_two_patients_is_an_error(data: Path, store: Store) -> None:
    pd.read_csv(data / "manifest.csv").drop(columns="split").to_csv(data / "unsplit.csv", index=False)
    report = audit_data(read_manifest(data / "unsplit.csv"), store, name="mine")
    (found,) = [one for one in report.findings if one.kind == "near_duplicate" and one.severity == "error"]
    assert "across groups" in found.message


def test_a_table_without_splits_and_patients_has_notes_alone(data: Path, store: Store) -> None:
    table = pd.read_csv(data / "manifest.csv").drop(columns=["split", "patient"])
    table.to_csv(data / "unsplit.csv", index=False)
    report = audit_data(read_manifest(data / "unsplit.csv"), store, name="mine")
    severities = {one.kind: one.severity for one in report.findings}
    assert severities["near_duplicate"] == severities["groups_unknown"] == "note"
    assert "error" not in severities.values()


def test_the_audit_is_written_complete_and_again_only_for_other_unreadable_images(
    data: Path, tmp_path: Path, store: Store
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(data, damaged)
    (damaged / "05.png").write_bytes((data / "05.png").read_bytes()[:90])
    report = _audit(_recipe(damaged, on_leak="drop_train", on_bad_image="skip"), tmp_path, store)
    file = tmp_path / "audit.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    assert [row["path"] for row in content["unreadable"]] == ["05.png"]
    assert content == json.loads(json.dumps(audit_content(report, [])))
    written = file.stat().st_mtime_ns
    add_skipped(file, report.unreadable)
    assert file.stat().st_mtime_ns == written
    add_skipped(file, report.unreadable[:0])
    assert json.loads(file.read_text(encoding="utf-8"))["unreadable"] == []
