from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlmed.auditing import audit_domains
from tlmed.data.manifest import Manifest
from tlmed.domains import group_by_pattern, read_domains
from tlmed.errors import InputError
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.store import Store


def recipe(**changes: object) -> Recipe:
    content = {
        "name": "example",
        "backbone": "test_resnet",
        "chain": [
            {"name": "related", "data": {"phantom": {"kind": "chest-findings", "num_images": 48, "size": 32}}},
            {"name": "target", "data": {"phantom": {"kind": "chest-target", "num_test_patients": 8, "size": 32}}},
        ],
        "evaluation": {"positive": "viral-pneumonia"},
    }
    return parse_recipe({**content, **changes}, "test")


def manifest(paths: list[str]) -> Manifest:
    return Manifest("mine", Path(), pd.DataFrame({"path": paths, "group": paths}), None)


def test_groups_come_from_the_bracket_of_the_pattern() -> None:
    grouped = group_by_pattern(manifest(["a/P01_1.png", "a/p01_2.png", "b/p02_1.png"]), r"(p\d+)_")
    assert grouped.table["group"].tolist() == ["P01", "p01", "p02"]
    assert grouped.group_column == "group_pattern"


def test_paths_that_the_pattern_misses_are_named() -> None:
    with pytest.raises(InputError, match=r"does not match 1 of 2 paths, such as odd\.png"):
        group_by_pattern(manifest(["p01_1.png", "odd.png"]), r"(p\d+)_")


def test_only_domains_that_an_arm_uses_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert list(read_domains(recipe(), store)) == ["related", "target"]
    assert list(read_domains(recipe(arms={"short": {"stages": ["target"]}}), store)) == ["target"]


def test_phantoms_pass_the_audit(tmp_path: Path) -> None:
    used = recipe()
    store = Store(tmp_path)
    report = audit_domains(used, read_domains(used, store), tmp_path / "audit.json", store)
    assert {finding.severity for finding in report.findings} <= {"note"}
    written = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))["findings"]
    assert [finding["kind"] for finding in written] == [finding.kind for finding in report.findings]


def test_images_of_a_test_patient_in_an_earlier_stage_stop_the_run(tmp_path: Path) -> None:
    used = recipe()
    domains = read_domains(used, Store(tmp_path))
    test_patient = domains["target"].table.query("split == 'test'")["group"].iloc[0]
    related = domains["related"].table.copy()
    related.loc[:1, "group"] = test_patient
    leaking = {**domains, "related": domains["related"].with_table(related)}
    with pytest.raises(InputError, match=r"leakage \(stage_overlap\): related: 2 images"):
        audit_domains(used, leaking, tmp_path / "audit.json", Store(tmp_path))
    kinds = [finding["kind"] for finding in json.loads((tmp_path / "audit.json").read_text())["findings"]]
    assert "stage_overlap" in kinds
    waived = recipe(waive=["stage_overlap"])
    assert len(audit_domains(waived, leaking, None, Store(tmp_path)).domains["related"].table) == 48


def test_positive_class_is_needed_with_two_classes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evaluation\.positive is missing"):
        read_domains(recipe(evaluation={}), Store(tmp_path))


def test_a_target_without_labels_is_refused_before_it_is_divided(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "manifest.csv").write_text("path,patient\na.png,p1\n", encoding="utf-8")
    chain = [{"name": "target", "data": {"folder": str(tmp_path)}}]
    used = recipe(chain=chain, evaluation={"protocol": {"split": "kfold"}})
    with pytest.raises(InputError, match="no labels to learn from"):
        read_domains(used, Store(tmp_path / "store"))
