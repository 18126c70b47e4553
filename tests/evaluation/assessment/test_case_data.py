from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tlmed.errors import InputError
from tlmed.evaluation.assessment.case_data import Cases, gather_cases
from tlmed.evaluation.assessment.exclusions import NOT_PREDICTED


def _predictions(**columns: Any) -> pd.DataFrame:
    table = pd.DataFrame({"path": ["1.png", "2.png", "3.png"], "label": ["ill", "well", "ill"]})
    return table.assign(p_ill=[0.9, 0.2, 0.7], p_well=[0.1, 0.8, 0.3], **columns)


def _data(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"path": ["3.png", "2.png", "1.png"], "patient": ["c", "b", "a"], "sex": ["f", "m", "f"]}
    ).assign(**columns)


def test_without_groups_each_image_is_its_own_and_that_is_remembered() -> None:
    cases = gather_cases(_predictions())
    assert (cases.unit, cases.groups_known, cases.has_folds) == ("image", False, False)
    assert cases.table["group"].tolist() == cases.table["unit"].tolist() == ["1.png", "2.png", "3.png"]


def test_data_bring_groups_and_columns_by_path() -> None:
    cases = gather_cases(_predictions(), _data(), columns=["sex"])
    assert cases.groups_known
    assert cases.table["group"].tolist() == ["a", "b", "c"]
    assert cases.table["sex"].tolist() == ["f", "m", "f"]


def test_data_bring_labels_and_the_unit() -> None:
    data = _data(label=["ill", "well", "ill"], study=["s2", "s1", "s1"])
    data.loc[0, "label"] = "ill"
    cases = gather_cases(_predictions().drop(columns="label"), data, unit="study")
    assert cases.unit == "study"
    assert cases.table["unit"].tolist() == ["s1", "s1", "s2"]
    assert cases.table["label"].tolist() == ["ill", "well", "ill"]


def test_units_are_joined_where_there_are_no_paths() -> None:
    predictions = _predictions(unit=["a", "b", "c"]).drop(columns="path")
    images = pd.concat([_data(), _data(path=["4.png", "5.png", "6.png"])]).assign(unit=lambda table: table["patient"])
    cases = gather_cases(predictions, images, columns=["sex"])
    assert cases.table["sex"].tolist() == ["f", "m", "f"]


@pytest.fixture
def joined_by_patient() -> Cases:
    predictions = _predictions(unit=["a", "b", "c"]).drop(columns="path")
    return gather_cases(predictions, _data(), unit="patient")


def test_units_are_joined_by_the_column_that_they_are_of(joined_by_patient: Cases) -> None:
    assert joined_by_patient.unit == "patient"
    assert joined_by_patient.groups_known


def test_predictions_without_their_case_are_named() -> None:
    with pytest.raises(InputError, match=r"column 'path' of DATA lacks 1 path of the predictions \(3.png\)"):
        gather_cases(_predictions(), _data().iloc[1:])


def test_cases_without_a_prediction_are_left_out_with_their_class() -> None:
    data = _data(label=["ill", "well", "ill"])
    cases = gather_cases(_predictions().iloc[:2], data)
    assert cases.left_out.to_dict("records") == [{"unit": "3.png", "label": "ill", "reason": NOT_PREDICTED}]


def test_training_cases_need_no_prediction() -> None:
    cases = gather_cases(_predictions().iloc[:2], _data(split=["train", "test", "test"]))
    assert cases.left_out.empty


def test_training_rows_are_not_measured() -> None:
    cases = gather_cases(_predictions(split=["train", "val", "Test"]))
    assert cases.num_trained_on == 1
    assert cases.test["unit"].tolist() == ["3.png"]
    assert cases.table["split"].tolist() == ["val", "test"]


def test_a_stand_in_for_groups_is_none() -> None:
    # What a run on data without groups writes.
    assert not gather_cases(_predictions(group=["1.png", "2.png", "3.png"])).groups_known
    assert gather_cases(_predictions(group=["1.png", "2.png", "3.png"]), group="group").groups_known


def test_one_arm_and_one_seed_are_chosen() -> None:
    table = pd.concat([_predictions(arm=arm, seed=seed) for arm in ("one", "two") for seed in ("0", "1")])
    with pytest.raises(InputError, match=r"2 arms \(one, two\), and one is evaluated at a time; say which by --arm"):
        gather_cases(table)
    assert len(gather_cases(table, arm="one").table) == 6
    assert len(gather_cases(table, arm="one", seed=1).table) == 3
    with pytest.raises(InputError, match="no arm 'three'"):
        gather_cases(table, arm="three")
    with pytest.raises(InputError, match="no seed '7'"):
        gather_cases(table, arm="one", seed=7)


@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        ({"patient": ["a", None, "b"]}, {}, "'patient' has gaps: 1 row, first that of unit 2.png"),
        ({}, {"group": "pateint"}, "--group: no column 'pateint'; the columns are path, label, p_ill, p_well."),
        ({}, {"unit": "study"}, "--unit: no column 'study'; the columns are path, .* or write image"),
        ({"study": ["s", None, "s"]}, {"unit": "study"}, "1 row without study"),
        ({}, {"columns": ["sex"]}, "no column 'sex'; the columns are path, label, p_ill, p_well."),
        ({"split": ["test", "fold1", "test"]}, {}, "'split' holds 'fold1'"),
        ({"split": ["test", None, "test"]}, {}, "'split' has gaps: 1 row of 3; write train"),
        ({"split": "train"}, {}, r"every row \(3\) is of the split 'train'"),
        ({"label": None}, {}, "no row has both a label and probabilities"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(change: dict[str, Any], settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        gather_cases(_predictions(**change), **settings)


def test_a_table_without_names_says_what_there_is() -> None:
    with pytest.raises(InputError, match="no column 'unit' or 'path'; the columns are label, p_ill, p_well"):
        gather_cases(_predictions().drop(columns="path"))


def test_the_columns_of_data_are_listed_too() -> None:
    with pytest.raises(
        InputError, match="no column 'source'; the columns are path, label, p_ill, p_well, patient, sex"
    ):
        gather_cases(_predictions(), _data(), columns=["source"])


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            {"p_ill": "prob_ill", "p_well": "prob_well"},
            "columns p_CLASS are missing, .* are path, label, prob_ill, prob_",
        ),
        (
            {"p_well": "well"},
            "p_ill is the only column p_CLASS, .* other one's is 1 - p_ill; the columns are path, lab",
        ),
    ],
)
def test_missing_probabilities_are_said_with_the_columns_of_the_file(names: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        gather_cases(_predictions(patient="a").rename(columns=names))


def test_contradicting_labels_are_named() -> None:
    with pytest.raises(InputError, match=r"others in DATA: 1 row, first 2.png \('well' .* 'ill' in DATA\)"):
        gather_cases(_predictions(), _data(label=["ill", "ill", "ill"]))


def test_tables_without_a_common_name_say_what_they_have() -> None:
    with pytest.raises(InputError, match=r"DATA cannot be joined: the predictions have path, .* DATA has patient, sex"):
        gather_cases(_predictions(), _data().drop(columns="path"))


def test_a_unit_with_two_values_in_data_is_refused() -> None:
    data = pd.concat([_data(), _data(sex=["m", "m", "m"])])
    with pytest.raises(InputError, match=r"path '.\.png' has rows with several values of 'sex'"):
        gather_cases(_predictions(), data, columns=["sex"])
