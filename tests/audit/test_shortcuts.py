from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tlmed.audit import probed_units, shortcuts
from tlmed.audit.findings import Finding
from tlmed.audit.shortcuts import border_score, probe_shortcuts, single_class_sources
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


def test_what_leans_below_chance_is_not_told_and_has_no_limits_in_the_message() -> None:
    """Source is unrelated to class, for which held-out scores lean below 0.5, here with limits that exclude it."""
    source = np.repeat(np.random.default_rng(3).integers(0, 3, _NUM_GROUPS), _EACH).astype(str)
    found = _by_kind(probe_shortcuts(_table(source=source), _thumbnails(), name="data"))
    finding = found["source_confounding"]
    assert finding.value is not None
    assert finding.high is not None
    assert finding.value < finding.high < 0.5
    assert finding.message == (
        f"data: from the source alone the class is not told (AUROC {finding.value:.3f}; "
        "held-out folds lean below 0.5 where there is nothing to learn)"
    )
    assert finding.details["is_told"] is False
    assert "lean below 0.5" in finding.details["limits"]
    assert found["shortcut_metadata"].message.endswith("alone the class is not told beyond chance (AUROC 0.500)")
    for one in found.values():
        assert one.details["is_told"] == (one.low is not None and one.low > 0.5) == ("told in" in one.message)


def test_the_form_of_the_files_is_a_shortcut() -> None:
    mode = np.where(_is_sick(), "RGB", "L")
    mode[::7] = "RGBA"
    found = _by_kind(probe_shortcuts(_table(), _thumbnails(mode=mode), name="data"))
    finding = found.pop("shortcut_metadata")
    assert finding.severity == "warning"
    assert finding.value is not None
    assert finding.value > 0.8
    assert next(iter(finding.details["alone"])) == "mode"
    assert finding.message.endswith(
        "the class is told in cross-validation with AUROC "
        f"{finding.value:.3f} ({finding.low:.3f} to {finding.high:.3f})"
    )
    assert finding.details["is_told"] is True
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
    monkeypatch.setattr(probed_units, "_MAX_CLASSES", 2)
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
    assert finding.message.endswith("take two classes of 10 groups or more, and there are too few (sick: 5, well: 35)")


@pytest.mark.parametrize(
    ("label", "unreadable", "said"),
    [
        (None, False, "there are no labels"),
        ("sick", False, "there is one class alone (sick), and nothing to tell it from"),
        ("sick", True, "no labelled image can be read"),
    ],
)
def test_why_shortcuts_cannot_be_looked_for(label: str | None, unreadable: bool, said: str) -> None:
    table, thumbnails = _table().assign(label=label), _thumbnails()
    reasons = dict.fromkeys(table["digest"], "damaged") if unreadable else {}
    thumbnails = Thumbnails(thumbnails.pixels, thumbnails.metadata, reasons)
    (finding,) = probe_shortcuts(table, thumbnails, name="data")
    assert (finding.kind, finding.severity) == ("shortcuts_unknown", "note")
    assert finding.message == f"data: shortcuts cannot be looked for: {said}"


def test_unreadable_files_are_left_out() -> None:
    thumbnails = _thumbnails()
    thumbnails = Thumbnails(thumbnails.pixels, thumbnails.metadata, {"5.png": "damaged", "6.png": "damaged"})
    assert probe_shortcuts(_table(), thumbnails, name="data")[0].details["num_units"] == _NUM - 2


def test_equal_seeds_give_equal_findings() -> None:
    table, thumbnails = _table(), _thumbnails()
    assert probe_shortcuts(table, thumbnails, name="data") == probe_shortcuts(table, thumbnails, name="data")


def test_the_border_as_a_variable_tells_what_the_border_tells_and_nothing_of_what_it_lacks() -> None:
    table, thumbnails = _table(), _thumbnails()
    thumbnails.pixels[_is_sick(), :3] //= 4
    table = table.assign(unit=table["group"].astype(str)).iloc[::-1]
    scores = border_score(table, thumbnails.take(table.index.to_numpy()), positive="sick")
    assert scores.index.tolist() == table["path"].tolist()
    assert scores.between(0, 1).all()
    assert scores.groupby(table["unit"].to_numpy()).nunique().eq(1).all()
    assert roc_auc_score(table["label"] == "sick", scores) > 0.95
    centre = _thumbnails()
    centre.pixels[_is_sick(), 10:-10, 10:-10] //= 4
    assert roc_auc_score(_is_sick(), border_score(_table(), centre, positive="sick")) < 0.7


def test_the_border_of_what_is_not_looked_at_is_missing() -> None:
    whole = _thumbnails()
    thumbnails = Thumbnails(whole.pixels, whole.metadata, {"5.png": "damaged"})
    table = _table()
    table.loc[7, "label"] = None
    scores = border_score(table, thumbnails, positive=("sick", "ill"))
    assert scores.index[scores.isna()].tolist() == ["5.png", "7.png"]
    assert border_score(table[:30], thumbnails.take(np.arange(30)), positive="sick").isna().all()
