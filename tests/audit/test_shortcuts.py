from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from tlmed.audit import shortcuts
from tlmed.audit.findings import Finding
from tlmed.audit.shortcuts import probe_shortcuts, single_class_sources
from tlmed.audit.thumbnails import Thumbnails

_NUM_GROUPS, _EACH = 40, 2
_NUM = _NUM_GROUPS * _EACH


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "_NUM_TREES", 20)
    monkeypatch.setattr(shortcuts, "_NUM_TREES_OF_A_COLUMN", 10)


def _table(**columns: Sequence[object] | np.ndarray) -> pd.DataFrame:
    groups = np.repeat(np.arange(_NUM_GROUPS), _EACH)
    table = pd.DataFrame({"path": [f"{index}.png" for index in range(_NUM)], "group": groups})
    labels = np.where(groups % 2 == 0, "sick", "well")
    return table.assign(label=labels, unit=table["path"], digest=table["path"], split="train", **columns)


def _thumbnails(seed: int = 0, **metadata: Sequence[object] | np.ndarray) -> Thumbnails:
    pixels = np.random.default_rng(seed).integers(0, 256, (_NUM, 64, 64), dtype=np.uint8)
    columns = {"width": [64] * _NUM, "mode": ["L"] * _NUM, **metadata}
    return Thumbnails(pixels, pd.DataFrame(columns), {})


def _by_kind(findings: list[Finding]) -> dict[str, Finding]:
    return {str(one.details.get("baseline", one.kind)): one for one in findings}


def _is_sick() -> np.ndarray:
    return np.repeat(np.arange(_NUM_GROUPS) % 2 == 0, _EACH)


def test_noise_is_no_shortcut() -> None:
    found = _by_kind(probe_shortcuts(_table(), _thumbnails(), name="data"))
    assert {one.severity for one in found.values()} == {"note"}
    assert set(found) == {
        "shortcut_metadata",
        "shortcut_border",
        "thumbnail_forest",
        "thumbnail_neighbour",
        "intensity_statistics",
    }
    assert found["shortcut_metadata"].value == 0.5


def test_the_form_of_the_files_is_a_shortcut() -> None:
    mode = np.where(_is_sick(), "RGB", "L")
    mode[::7] = "RGBA"
    found = _by_kind(probe_shortcuts(_table(), _thumbnails(mode=mode), name="data"))
    finding = found.pop("shortcut_metadata")
    assert finding.severity == "warning"
    assert finding.value is not None
    assert finding.value > 0.8
    assert next(iter(finding.details["alone"])) == "mode"
    assert {one.severity for one in found.values()} == {"note"}


def test_the_border_is_a_shortcut_and_so_are_the_simple_baselines_notes() -> None:
    thumbnails = _thumbnails()
    thumbnails.pixels[_is_sick(), :3] //= 4
    found = _by_kind(probe_shortcuts(_table(), thumbnails, name="data"))
    assert found["shortcut_border"].severity == "warning"
    assert found["shortcut_metadata"].severity == "note"
    assert found["thumbnail_forest"].severity == "note"
    assert found["thumbnail_forest"].value is not None
    assert found["thumbnail_forest"].value > 0.8


def test_columns_and_source_are_looked_at_together_and_each_alone() -> None:
    generator = np.random.default_rng(0)
    age = generator.normal(50, 10, _NUM) + 25 * _is_sick()
    table = _table(
        age_years=[f"{value:.1f}" for value in age],
        sex=generator.choice(["f", "m"], _NUM),
        source=np.where(_is_sick(), "A", "B"),
    )
    table.loc[3, "sex"] = None
    found = _by_kind(probe_shortcuts(table, _thumbnails(), name="data"))
    assert found["shortcut_column"].severity == "warning"
    assert list(found["shortcut_column"].details["alone"]) == ["age_years", "sex"]
    assert found["source_confounding"].severity == "warning"
    assert found["source_confounding"].value == 1
    assert found["source_confounding"].details["images_by_source"] == {
        "A": {"sick": 40, "well": 0},
        "B": {"sick": 0, "well": 40},
    }
    assert {"age_years", "source"} & set(found["shortcut_metadata"].details) == set()


def test_of_many_classes_the_largest_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "_MAX_CLASSES", 2)
    names = [f"class {index % 2}" if index < 40 else f"class {2 + index % 4}" for index in range(_NUM)]
    finding = probe_shortcuts(_table().assign(label=names), _thumbnails(), name="data")[0]
    assert finding.details["classes"] == ["class 0", "class 1"]
    assert finding.message.endswith("; the 2 of 6 classes with most groups")


def test_a_source_of_one_class_is_flagged_among_mixed_ones() -> None:
    """Thirty of 80 groups from A, sick all; the rest is mixed, and a source of three groups may be of one class."""
    labels = ["sick"] * 30 + ["sick", "well"] * 20 + ["well"] * 10
    sources = ["A"] * 30 + ["B"] * 47 + ["C"] * 3
    rows = pd.DataFrame({"group": range(80), "label": labels, "source": sources})
    assert single_class_sources(rows) == {"A": "sick"}
    assert single_class_sources(rows.assign(source="B")) == {}


def test_ids_are_no_columns() -> None:
    table = _table(patient=np.repeat(np.arange(_NUM_GROUPS), _EACH).astype(str))
    assert "shortcut_column" not in _by_kind(probe_shortcuts(table, _thumbnails(), name="data"))


def test_the_number_of_images_in_the_unit_is_a_shortcut() -> None:
    units = [f"{group}" for group in range(_NUM_GROUPS) for _ in range(_EACH)]
    table = _table().assign(unit=units)
    table = table[_is_sick() | (np.arange(_NUM) % 2 == 0)]
    whole = _thumbnails()
    thumbnails = Thumbnails(whole.pixels[table.index], whole.metadata.iloc[table.index].reset_index(drop=True), {})
    finding = _by_kind(probe_shortcuts(table.reset_index(drop=True), thumbnails, name="data"))["shortcut_metadata"]
    assert finding.details["num_units"] == _NUM_GROUPS
    assert (finding.severity, finding.value) == ("warning", 1)
    assert finding.low is not None
    assert finding.low < 1


def test_groups_that_share_pictures_are_one() -> None:
    groups = np.repeat(np.arange(_NUM_GROUPS // 2), 2 * _EACH)
    finding = probe_shortcuts(_table(), _thumbnails(), name="data", groups=groups)[0]
    assert finding.details["num_groups"] == _NUM_GROUPS // 2


def test_too_few_groups_and_unlabelled_images_are_not_probed() -> None:
    table = _table()
    table["label"] = np.where(np.arange(_NUM) < 10, "sick", "well")
    (finding,) = probe_shortcuts(table, _thumbnails(), name="data")
    assert (finding.kind, finding.severity) == ("shortcuts_unknown", "note")
    assert "sick (5)" in finding.message


def test_unreadable_files_are_left_out() -> None:
    thumbnails = _thumbnails()
    thumbnails = Thumbnails(thumbnails.pixels, thumbnails.metadata, {"5.png": "damaged", "6.png": "damaged"})
    assert probe_shortcuts(_table(), thumbnails, name="data")[0].details["num_units"] == _NUM - 2


def test_equal_seeds_give_equal_findings() -> None:
    table, thumbnails = _table(), _thumbnails()
    assert probe_shortcuts(table, thumbnails, name="data") == probe_shortcuts(table, thumbnails, name="data")
