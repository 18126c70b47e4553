from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tlmed.data.sources import list_images, read_domain, read_manifest
from tlmed.errors import InputError
from tlmed.recipe.data import DataSettings, PhantomSettings
from tlmed.runtime.store import Store

ODD_NAMES = ("100% normal.png", "two  spaces.PNG", "bild-ü-肺.JPeG", "[1]*?.tif", "a,b;'c\".bmp")


def touch(folder: Path, *names: str) -> None:
    """Make empty files: reading a manifest looks into none."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def written(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.write_bytes(text.encode(encoding))
    return file


def rows(source: Path, *columns: str) -> list[list[object]]:
    table = read_manifest(source).table[list(columns)]
    return table.astype(object).where(table.notna(), None).to_numpy().tolist()


def refusal(source: Path) -> str:
    """Return the message, which must name the source."""
    with pytest.raises(InputError) as caught:
        read_manifest(source)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_csv_is_read_as_strings_beside_its_files(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png")
    text = "path,label,patient,age\nimages/a.png,01,007,40\nimages/b.png,1,7,\n"
    manifest = read_manifest(written(tmp_path / "table.csv", text))
    assert manifest.classes == ("01", "1")
    assert manifest.table["group"].tolist() == ["007", "7"]
    assert manifest.table["file"].tolist() == [str(tmp_path / "images/a.png"), str(tmp_path / "images/b.png")]
    assert manifest.table["age"].isna().tolist() == [False, True]
    assert manifest.group_column == "patient"


def test_source_may_be_relative_and_a_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "data/cat/a.png")
    written(tmp_path / "data/table.csv", "path\ncat/a.png\n")
    monkeypatch.chdir(tmp_path)
    for source in ("data/table.csv", "data"):
        assert read_manifest(source).table["file"].tolist() == [str(tmp_path / "data/cat/a.png")]


def test_byte_order_mark_and_spaces_around_column_names_do_not_matter(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    assert rows(written(tmp_path / "t.csv", "path , label\na.png,x\n", "utf-8-sig"), "path", "label") == [
        ["a.png", "x"]
    ]


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    file = written(tmp_path / "t.csv", "path,label\n\na.png,x\n\nb.png,\n")
    assert "line 5" in refusal(file)


@pytest.mark.parametrize("suffix", [".parquet", ".PARQUET"])
def test_parquet_is_read_as_strings(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, "a.png", "b.png")
    table = {"path": ["a.png", "b.png"], "label": [0, 1], "patient": ["007", "NA"], "split": [None, None]}
    pd.DataFrame(table).to_parquet(tmp_path / f"table{suffix}")
    expected = [["a.png", "0", "007", None], ["b.png", "1", "NA", None]]
    assert rows(tmp_path / f"table{suffix}", "path", "label", "group", "split") == expected


def test_folder_with_a_manifest_is_read_by_it(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "dog/b.png")
    written(tmp_path / "manifest.csv", "path,label\ncat/a.png,tiger\n")
    assert rows(tmp_path, "path", "label") == [["cat/a.png", "tiger"]]


def test_class_folders_give_labels(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.png", "cat/deeper/a.jpg", "cat/c.png")
    manifest = read_manifest(tmp_path)
    assert rows(tmp_path, "path", "label", "split") == [
        ["cat/c.png", "cat", None],
        ["cat/deeper/a.jpg", "cat", None],
        ["dog/b.png", "dog", None],
    ]
    assert manifest.classes == ("cat", "dog")
    assert manifest.group_column is None


def test_a_level_of_splits_above_the_class_folders_is_read(tmp_path: Path) -> None:
    names = ("Train/cat/a.png", "train/dog/b.png", "valid/cat/c.png", "validation/dog/d.png", "test/cat/e.png")
    touch(tmp_path, *names)
    assert sorted(rows(tmp_path, "split", "label")) == sorted(
        [["train", "cat"], ["train", "dog"], ["val", "cat"], ["val", "dog"], ["test", "cat"]]
    )


def test_class_folder_below_a_split_may_be_named_like_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/test/a.png", "train/train/b.png")
    assert rows(tmp_path, "split", "label") == [["train", "test"], ["train", "train"]]


def test_a_folder_of_images_alone_has_neither_labels_nor_splits(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    assert rows(tmp_path, "path", "label", "split") == [["a.png", None, None], ["b.png", None, None]]


def test_odd_names_are_kept_in_folders(tmp_path: Path) -> None:
    touch(tmp_path, *[f"50% [ü] class/{name}" for name in ODD_NAMES])
    assert {row[0] for row in rows(tmp_path, "path")} == {f"50% [ü] class/{name}" for name in ODD_NAMES}
    assert read_manifest(tmp_path).classes == ("50% [ü] class",)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_odd_names_are_kept_in_tables(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, *ODD_NAMES)
    table = pd.DataFrame({"path": ODD_NAMES, "label": ODD_NAMES})
    file = tmp_path / f"table{suffix}"
    if suffix == ".csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file)
    assert rows(file, "path", "label") == [[name, name] for name in ODD_NAMES]


NOT_MISSING = ("NA", "None", "NULL", "nan", "null", "n/a", "True", "1e5")


def test_classes_that_look_like_missing_values_stay_classes(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{name}/a.png" for name in NOT_MISSING if name != "n/a"])
    assert read_manifest(tmp_path).classes == tuple(sorted(set(NOT_MISSING) - {"n/a"}))
    touch(tmp_path, *[f"{number}.png" for number in range(len(NOT_MISSING))])
    table = pd.DataFrame({"path": [f"{number}.png" for number in range(len(NOT_MISSING))], "label": NOT_MISSING})
    table.to_csv(tmp_path / "table.csv", index=False)
    table.to_parquet(tmp_path / "table.parquet")
    for suffix in ("csv", "parquet"):
        assert read_manifest(tmp_path / f"table.{suffix}").classes == tuple(sorted(NOT_MISSING))


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "cat/._a.png", "cat/.a.jpg", "cat/notes.txt", "cat/png", ".DS_Store", "cat/a.png.bak")
    assert rows(tmp_path, "path") == [["cat/a.png"]]


def test_hidden_folders_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", ".thumbnails/a.png", "cat/.ipynb_checkpoints/a-checkpoint.png")
    assert rows(tmp_path, "path", "label") == [["cat/a.png", "cat"]]


def test_folders_named_like_images_are_no_images(tmp_path: Path) -> None:
    touch(tmp_path, "case.png/slice.png")
    assert list_images(tmp_path) == [tmp_path / "case.png/slice.png"]


def test_list_images_of_a_file_is_the_file_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "image", "a.png")
    assert list_images(tmp_path / "image") == [tmp_path / "image"]


def test_list_images_of_a_folder_is_sorted(tmp_path: Path) -> None:
    names = ("b/z.png", "a.WEBP", "b/a.tiff", "c.bmp", *ODD_NAMES)
    touch(tmp_path, *names, "notes.csv")
    assert list_images(tmp_path) == sorted(tmp_path / name for name in names)


@pytest.mark.parametrize("read", [list_images, read_manifest])
def test_nothing_there_and_an_empty_folder_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match="absent: no such file or folder"):
        read(tmp_path / "absent")
    (tmp_path / "empty/deeper").mkdir(parents=True)
    with pytest.raises(InputError, match="empty: no images below this folder"):
        read(tmp_path / "empty")


@pytest.mark.parametrize(
    "text",
    ['path,label\n"a.png,x\n', "path,label\na.png,x\nb.png,y,z\n", "", "path,label\na.png,Übel\n"],
    ids=["open quote", "too many fields", "empty", "Latin 1"],
)
def test_broken_csv_is_refused(tmp_path: Path, text: str) -> None:
    assert "not a CSV table in UTF-8" in refusal(written(tmp_path / "table.csv", text, "latin-1"))


def test_broken_parquet_is_refused(tmp_path: Path) -> None:
    assert "not a Parquet" in refusal(written(tmp_path / "table.parquet", "PAR1 and nothing else"))


@pytest.mark.parametrize("name", ["table.xlsx", "table", "a.png"])
def test_other_kinds_of_tables_are_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert "a table must be .csv or .parquet" in refusal(tmp_path / name)


def test_messages_begin_with_the_name_that_was_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^target \(.*absent\.csv\): no such file"):
        read_manifest(tmp_path / "absent.csv", name="target")


def test_domain_is_read_from_its_one_source(tmp_path: Path) -> None:
    touch(tmp_path, "images/cat/a.png")
    written(tmp_path / "images/table.csv", "path,label,clinic\ncat/a.png,tiger,north\n")
    store = Store(tmp_path / "store")
    folder = read_domain(DataSettings(folder=tmp_path / "images"), store, name="middle")
    assert folder.classes == ("cat",)
    table = DataSettings(manifest=tmp_path / "images/table.csv")
    manifest = read_domain(table, store, group="clinic", unit="clinic", name="middle")
    assert manifest.classes == ("tiger",)
    assert manifest.table[["group", "unit"]].to_numpy().tolist() == [["north", "north"]]
    assert not store.root.exists()


def test_phantom_domain_is_drawn_into_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    phantom = PhantomSettings(kind="chest-findings", num_images=9, size=32)
    manifest = read_domain(DataSettings(phantom=phantom), store, name="middle")
    assert manifest.group_column == "patient"
    assert len(manifest.table) == 9
    assert all(Path(file).is_relative_to(store.root) for file in manifest.table["file"])
