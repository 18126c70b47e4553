from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tlmed.data.manifest import Manifest, validate_manifest
from tlmed.errors import InputError

FILES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).touch()
    return tmp_path


def frame(**columns: list[str | None]) -> pd.DataFrame:
    num_rows = len(next(iter(columns.values()))) if columns else 4
    return pd.DataFrame({"path": list(FILES[:num_rows]), **columns}, dtype=object)


def validated(raw: pd.DataFrame, root: Path, *, group: str | None = None, unit: str = "image") -> Manifest:
    return validate_manifest(raw, name="hospital", root=root, group=group, unit=unit)


def refusal(raw: pd.DataFrame, root: Path, *, group: str | None = None, unit: str = "image") -> str:
    """Return the message, which must name the data set."""
    with pytest.raises(InputError) as caught:
        validated(raw, root, group=group, unit=unit)
    assert str(caught.value).startswith("hospital: ")
    return str(caught.value)


def test_columns_come_in_order_with_the_others_behind_as_they_were_read(root: Path) -> None:
    raw = frame(scanner=["x", None, "007", " y "], label=["1", "2", "1", "2"], age=["40", "050", "60", "70"])
    manifest = validated(raw, root)
    table = manifest.table
    assert list(table.columns) == ["path", "file", "label", "group", "unit", "split", "scanner", "age"]
    assert table["path"].tolist() == list(FILES)
    assert table["file"].tolist() == [str(root / name) for name in FILES]
    assert table["scanner"].tolist() == ["x", None, "007", " y "]
    assert table["age"].tolist() == ["40", "050", "60", "70"]
    assert manifest.root == root


def test_rows_keep_their_order_whatever_their_index(root: Path) -> None:
    raw = frame(label=["1", "2", "3", "4"], patient=["p", "q", "r", "s"])
    raw.index = pd.Index([7, 3, 3, 0])
    table = validated(raw, root).table
    assert table.index.tolist() == [0, 1, 2, 3]
    assert (
        table[["path", "label", "group"]].to_numpy().tolist() == raw[["path", "label", "patient"]].to_numpy().tolist()
    )


def test_absolute_paths_are_taken_as_they_are(root: Path) -> None:
    raw = pd.DataFrame({"path": [str(root / "a.png")]})
    assert validated(raw, root / "elsewhere").table["file"].tolist() == [str(root / "a.png")]


def test_without_any_other_column_each_image_is_its_own_group_and_unit(root: Path) -> None:
    manifest = validated(frame(), root)
    assert manifest.group_column is None
    assert manifest.classes == ()
    assert manifest.table["group"].tolist() == list(FILES)
    assert manifest.table["unit"].tolist() == list(FILES)
    assert manifest.table[["label", "split"]].isna().all(axis=None)


def test_group_is_taken_from_the_widest_column_there_is(root: Path) -> None:
    # Written in the opposite order, so that the order of the columns cannot be what decides.
    names = ("series", "study", "patient", "group")
    columns: dict[str, list[str | None]] = {name: [f"{name}{row}" for row in range(4)] for name in names}
    for expected in ("group", "patient", "study", "series"):
        manifest = validated(frame(**columns), root)
        assert manifest.group_column == expected
        assert manifest.table["group"].tolist() == columns.pop(expected)


def test_group_may_be_any_column_that_is_named(root: Path) -> None:
    raw = frame(patient=["1", "1", "2", "2"], hospital=["01", "02", "01", "02"])
    manifest = validated(raw, root, group="hospital")
    assert manifest.group_column == "hospital"
    assert manifest.table["group"].tolist() == ["01", "02", "01", "02"]
    assert manifest.table["patient"].tolist() == ["1", "1", "2", "2"]
    message = refusal(raw, root, group="patint")
    assert "no column 'patint' to group by; the columns are path, patient, hospital. Did you mean 'patient'?" in message


def test_a_column_that_is_like_none_is_refused_with_the_names_that_are_there(root: Path) -> None:
    raw = frame(label=["0", "0", "1", "1"], age=["1", "2", "3", "4"])
    for message in (refusal(raw, root, group="hospital"), refusal(raw, root, unit="hospital")):
        assert message.endswith("; the columns are path, label, age.")


def test_every_row_needs_its_group(root: Path) -> None:
    message = refusal(frame(patient=["1", None, "2", None]), root)
    assert "column 'patient' is empty in 2 of 4 rows (lines 3, 5); every image needs its group: fill it in" in message


def test_unit_is_taken_from_the_named_column(root: Path) -> None:
    raw = frame(label=["0", "0", "1", "1"], patient=["p", "p", "q", "q"], study=["s", "t", "u", "u"])
    table = validated(raw, root, unit="study").table
    assert table["unit"].tolist() == ["s", "t", "u", "u"]
    assert table["group"].tolist() == ["p", "p", "q", "q"]
    message = refusal(raw, root, unit="studdy")
    assert "no column 'studdy' to take the unit from; the columns are path, label, patient, study." in message
    assert message.endswith("Did you mean 'study'?")


def test_every_row_needs_its_unit(root: Path) -> None:
    message = refusal(frame(study=["s", None, "t", "t"], patient=["1"] * 4), root, unit="study")
    assert "column 'study' is empty in 1 of 4 rows (line 3); every image needs its unit: fill it in" in message


def test_a_unit_has_one_label(root: Path) -> None:
    raw = frame(label=["0", "1", "1", "1"], patient=["p", "p", "q", "q"])
    validated(raw, root)
    assert "unit p has images of two labels" in refusal(raw, root, unit="patient")


def test_units_without_labels_are_accepted(root: Path) -> None:
    assert validated(frame(patient=["p", "p", "q", "q"]), root, unit="patient").table["unit"].nunique() == 2


def test_class_names_are_kept_verbatim_and_sorted(root: Path) -> None:
    manifest = validated(frame(label=["10", "01", "1", "Grippe ü "]), root)
    assert manifest.classes == ("01", "1", "10", "Grippe ü ")
    assert manifest.table["label"].tolist() == ["10", "01", "1", "Grippe ü "]


def test_a_path_stands_once(root: Path) -> None:
    raw = frame()
    raw["path"] = ["a.png", "b.png", "c.png", "b.png"]
    assert "column 'path' 'b.png' stands more than once (2 rows; lines 3, 5); keep one row" in refusal(raw, root)


def test_path_column_is_required_and_the_others_are_named(root: Path) -> None:
    message = refusal(pd.DataFrame({"image": ["a.png"], "label": ["1"]}), root)
    assert "no column 'path'; the columns are image, label" in message


def test_every_row_needs_its_path(root: Path) -> None:
    raw = frame()
    raw["path"] = ["a.png", None, "c.png", "d.png"]
    assert "column 'path' is empty in 1 of 4 rows (line 3)" in refusal(raw, root)


def test_rows_are_required(root: Path) -> None:
    assert "no rows" in refusal(pd.DataFrame({"path": []}, dtype=object), root)


def test_labels_are_given_in_every_row_or_in_none(root: Path) -> None:
    message = refusal(frame(label=["1", None, "2", None]), root)
    assert "column 'label' is empty in 2 of 4 rows (lines 3, 5); label every row, or leave the column out" in message
    assert validated(frame(label=[None] * 4), root).classes == ()


def test_splits_have_synonyms_in_any_case(root: Path) -> None:
    assert validated(frame(split=["Train", "valid", "VALIDATION", "Test"]), root).table["split"].tolist() == [
        "train",
        "val",
        "val",
        "test",
    ]


def test_splits_are_given_in_every_row_or_in_none(root: Path) -> None:
    message = refusal(frame(split=["train", "test", None, "val"]), root)
    assert "column 'split' is empty in 1 of 4 rows (line 4); say train, val or test in every row" in message
    assert validated(frame(split=[None] * 4), root).table["split"].isna().all()


def test_other_splits_are_refused_with_value_and_lines(root: Path) -> None:
    message = refusal(frame(split=["train", "holdout", "test", "fold 1"]), root)
    assert "column 'split' 'holdout' is not train, val or test (2 rows; lines 3, 5)" in message


def test_long_lists_of_lines_are_cut(root: Path) -> None:
    assert "(4 rows; lines 2, 3, 4 ...)" in refusal(frame(split=["x"] * 4), root)


def test_missing_files_are_named(root: Path) -> None:
    (root / "b.png").unlink()
    assert "b.png is named in the table but not there" in refusal(frame(), root)
    for name in ("a.png", "c.png", "d.png"):
        (root / name).unlink()
    assert "a.png, b.png, c.png and 1 more are named in the table but not there" in refusal(frame(), root)


def test_a_folder_is_no_file(root: Path) -> None:
    (root / "folder.png").mkdir()
    assert "folder.png is named in the table but not there" in refusal(pd.DataFrame({"path": ["folder.png"]}), root)


def test_another_table_leaves_the_first_as_it_was(root: Path) -> None:
    manifest = validated(frame(), root)
    assert len(manifest.with_table(manifest.table.head(1)).table) == 1
    assert len(manifest.table) == 4
