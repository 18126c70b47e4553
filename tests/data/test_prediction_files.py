from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tlmed.data.prediction_files import read_case_file, read_prediction_file
from tlmed.errors import InputError

TEXT = "unit,label,p_ill,p_well,fold\n001,ill,0.9,0.1,0\n002,,,,1\n"


def _write(folder: Path, text: str, name: str = "table.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_names_stay_as_they_are_and_probabilities_become_numbers(tmp_path: Path) -> None:
    table = read_prediction_file(_write(tmp_path, TEXT))
    assert table["unit"].tolist() == ["001", "002"]
    assert table["label"].tolist() == ["ill", None]
    assert table["p_ill"][0] == 0.9
    assert table["p_ill"].isna().tolist() == [False, True]
    assert table["fold"].tolist() == [0, 1]


def test_a_spreadsheets_mark_of_utf_8_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(TEXT, encoding="utf-8-sig")
    assert list(read_prediction_file(tmp_path / "table.csv")) == ["unit", "label", "p_ill", "p_well", "fold"]


def test_both_kinds_of_file_give_the_same(tmp_path: Path) -> None:
    pd.DataFrame(
        {"unit": [1, 2], "label": ["ill", None], "p_ill": [0.123456789012345, 0.5], "seed": [0, 0]}
    ).to_parquet(tmp_path / "table.parquet")
    table = read_prediction_file(tmp_path / "table.parquet")
    assert table["unit"].tolist() == ["1", "2"]
    assert table["p_ill"].tolist() == [0.123456789012345, 0.5]
    assert table["label"].tolist() == ["ill", None]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "unit,p_ill\n1,high\n",
            r"column 'p_ill' holds 'high', which is no number \(first in line 2; rows like it: 1\)",
        ),
        ('unit,p_ill\n1,0.5\n2,"0,5"\n', r"holds '0,5', which is no number \(first in line 3; rows like it: 1\)"),
        ("unit;p_ill\n1;0,5\n", "not separated by commas"),
        ("unit\tp_ill\n1\t0.5\n", "not separated by commas"),
        ("unit,p_ill\n1,0.5,0.5\n", "not a CSV table"),
        ("unit,unit\n1,2\n", "two columns are called 'unit'"),
        ("unit, unit\n1,2\n", "two columns are called 'unit'"),
        ("unit,p_ill\n", "no rows below the header"),
        ("", "not a CSV table"),
        ('unit,p_ill\n"1,2\n', "not a CSV table"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_prediction_file(_write(tmp_path, text))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv: no such file"):
        read_prediction_file(tmp_path / "absent.csv")
    with pytest.raises(InputError, match=r"must be \.csv or \.parquet, and a bundle is a folder"):
        read_prediction_file(tmp_path)
    with pytest.raises(InputError, match="not a Parquet"):
        read_prediction_file(_write(tmp_path, "no table", "table.parquet"))


def test_case_data_need_no_images(tmp_path: Path) -> None:
    _write(tmp_path, "path,patient,age\nabsent.png,p1,40\n", "manifest.csv")
    for source in (tmp_path, tmp_path / "manifest.csv"):
        assert read_case_file(source).to_dict("records") == [{"path": "absent.png", "patient": "p1", "age": "40"}]


def test_class_folders_give_labels(tmp_path: Path) -> None:
    for label in ("ill", "well"):
        (tmp_path / "test" / label).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "test" / label / "1.png")
    assert read_case_file(tmp_path).to_dict("records") == [
        {"path": "test/ill/1.png", "label": "ill", "split": "test"},
        {"path": "test/well/1.png", "label": "well", "split": "test"},
    ]
