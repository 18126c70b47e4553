from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlmed.audit.duplicates import NearDuplicates
from tlmed.audit.findings import Finding
from tlmed.audit.table import audit_table, groups_of_copies, near_duplicate_findings
from tlmed.data.sources import read_manifest
from tlmed.runtime.store import Store


def _rows(*rows: tuple[str, str | None, str, str]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=["path", "label", "group", "split"])
    return table.assign(digest=table["path"])


def _copies(*pairs: tuple[int, int]) -> NearDuplicates:
    return NearDuplicates(np.array(pairs, dtype=np.int64).reshape(-1, 2), np.full(len(pairs), 0.97, dtype=np.float32))


_TABLE = _rows(
    ("a", "sick", "1", "train"), ("b", "sick", "2", "test"), ("c", "well", "3", "test"), ("d", "sick", "4", "train")
)


def _summary(findings: list[Finding]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.severity, one.paths) for one in findings]


def test_copies_are_weighed_by_split_and_label() -> None:
    assert near_duplicate_findings(_TABLE, _copies(), name="data") == []
    assert _summary(near_duplicate_findings(_TABLE, _copies((0, 1)), name="data")) == [
        ("near_duplicate", "error", ("a", "b"))
    ]
    assert _summary(near_duplicate_findings(_TABLE, _copies((0, 3)), name="data")) == [
        ("near_duplicate", "note", ("a", "d"))
    ]
    assert _summary(near_duplicate_findings(_TABLE, _copies((0, 2)), name="data")) == [
        ("label_conflict", "error", ("a", "c")),
        ("near_duplicate", "error", ("a", "c")),
    ]
    assert _summary(near_duplicate_findings(_TABLE, _copies((1, 2)), name="data")) == [
        ("label_conflict", "warning", ("b", "c")),
        ("near_duplicate", "note", ("b", "c")),
    ]


def test_without_labels_nothing_contradicts() -> None:
    table = _rows(("a", None, "1", "train"), ("b", None, "2", "test"))
    assert _summary(near_duplicate_findings(table, _copies((0, 1)), name="data")) == [
        ("near_duplicate", "error", ("a", "b"))
    ]


def test_every_row_with_the_same_file_is_named() -> None:
    table = _TABLE.assign(digest=["A", "B", "C", "A"])
    (finding,) = near_duplicate_findings(table, _copies((0, 1)), name="data")
    assert finding.paths == ("a", "b", "d")
    assert finding.value == 2
    assert finding.details["pairs"] == [
        {"paths": ["a", "b"], "correlation": 0.97},
        {"paths": ["d", "b"], "correlation": 0.97},
    ]


def test_groups_that_share_a_picture_become_one() -> None:
    table = _rows(*((name, "x", group, "train") for name, group in zip("abcdef", "112345", strict=True)))
    table["digest"] = ["A", "B", "A", "D", "E", "F"]  # groups 1 and 2 by a file
    merged = groups_of_copies(table, np.array([[2, 4]]))  # groups 2 and 4 by a copy
    assert len(set(merged[[0, 1, 2, 4]])) == 1
    assert len(set(merged[[0, 3, 5]])) == 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures of forty patients; one stands in test again, smaller, and one file is damaged."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(40):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / f"{index}.png")
        rows.append((f"{index}.png", "well" if index % 2 else "sick", f"p{index}", "train" if index < 30 else "test"))
    Image.open(tmp_path / "3.png").resize((70, 70)).save(tmp_path / "again.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "0.png").read_bytes()[:100])
    rows += [("again.png", "sick", "q", "test"), ("damaged.png", "sick", "r", "train")]
    pd.DataFrame(rows, columns=["path", "label", "patient", "split"]).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path


def test_one_data_set_from_files_to_findings(folder: Path) -> None:
    findings = audit_table(read_manifest(folder, name="data"), Store(folder / "store"))
    by_kind = {one.kind: one for one in findings}
    assert by_kind["near_duplicate"].severity == "error"
    assert by_kind["near_duplicate"].paths == ("3.png", "again.png")
    assert by_kind["label_conflict"].paths == ("3.png", "again.png")
    assert by_kind["unreadable"].paths == ("damaged.png",)
    assert {"shortcut_metadata", "shortcut_border", "simple_baseline"} <= set(by_kind)
    assert by_kind["shortcut_border"].details["num_groups"] == 40  # of 42: one is damaged, two share a picture
    assert all(one.message.startswith("data") for one in findings)
