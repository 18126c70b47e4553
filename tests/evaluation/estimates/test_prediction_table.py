from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.evaluation.prediction_rows import in_folds, measure, random_rows, three_classes
from tlmed.errors import InputError
from tlmed.evaluation.estimates.prediction_table import aggregate_units, read_test_rows
from tlmed.evaluation.evaluate import evaluate_predictions


def test_only_test_rows_count() -> None:
    table = random_rows(40)
    others = random_rows(40, draw=1).assign(split=np.where(np.arange(40) % 2, "train", "val"), p_sick=0.5, p_well=0.5)
    assert measure(pd.concat([others, table.assign(split="test")])) == measure(table)
    with pytest.raises(InputError, match="no rows of the split 'test'"):
        measure(others)


def test_a_units_probability_is_the_mean_over_its_images_for_each_arm_and_seed() -> None:
    table = pd.DataFrame(
        {
            "arm": ["a", "a", "a", "b", "b", "b", "b"],
            "seed": [0, 0, 0, 0, 0, 1, 1],
            "unit": ["q", "p", "q", "p", "q", "p", "q"],
            "label": ["well", "sick", "well", "sick", "well", "sick", "well"],
            "p_sick": [0.1, 0.7, 0.5, 0.2, 0.4, 0.6, 0.8],
        }
    ).assign(p_well=lambda rows: 1 - rows["p_sick"])
    units = aggregate_units(table)
    keys = units[["arm", "seed", "unit", "label"]].itertuples(index=False, name=None)
    assert dict(zip(keys, units["p_sick"], strict=True)) == pytest.approx(
        {
            ("a", 0, "q", "well"): 0.3,
            ("a", 0, "p", "sick"): 0.7,
            ("b", 0, "p", "sick"): 0.2,
            ("b", 0, "q", "well"): 0.4,
            ("b", 1, "p", "sick"): 0.6,
            ("b", 1, "q", "well"): 0.8,
        }
    )
    assert units["unit"].tolist()[:2] == ["q", "p"]
    assert units["p_sick"].to_numpy() == pytest.approx(1 - units["p_well"].to_numpy())


def test_a_unit_with_two_labels_or_two_groups_is_refused() -> None:
    table = random_rows(6).assign(unit=["a", "a", "b", "b", "c", "c"])
    with pytest.raises(InputError, match=r"unit 'a' has 2 labels \(sick, well; 3 such units in all\)"):
        measure(table, unit="patient")
    table = table.assign(label=["sick", "sick", "well", "well", "sick", "sick"], group=["1", "1", "2", "3", "4", "4"])
    with pytest.raises(InputError, match=r"unit 'b' has 2 groups \(2, 3; 1 such unit in all\)"):
        measure(table, unit="patient")


def test_a_label_without_a_column_names_the_nearest_class() -> None:
    with pytest.raises(InputError, match=r"'sik' has no column 'p_sik'.*Did you mean 'sick'"):
        measure(random_rows(4).assign(label=["sik", "well", "sick", "well"]))


@pytest.mark.parametrize("column", ["unit", "label"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(InputError, match=f"column '{column}' is missing"):
        measure(random_rows(4).drop(columns=column))


@pytest.mark.parametrize("column", ["unit", "label", "arm", "seed", "group", "path"])
def test_an_empty_cell_is_refused(column: str) -> None:
    table = random_rows(4, arm="a", seed="0", group=["1", "2", "3", "4"], path=["1", "2", "3", "4"])
    table.loc[2, column] = None
    with pytest.raises(InputError, match=f"1 test row has no {column}"):
        measure(table)


def test_an_image_that_stands_twice_is_refused() -> None:
    table = random_rows(4, path=["1", "2", "3", "3"])
    with pytest.raises(InputError, match="3 is there twice for arm 'model' and seed 0"):
        measure(table)
    assert measure(pd.concat([random_rows(4, path=list("1234"), seed=seed) for seed in (0, 1)]))["num_units"] == 4


def test_with_two_classes_the_positive_one_must_be_named_and_exist() -> None:
    with pytest.raises(InputError, match="positive is missing: say which of 'sick' and 'well'"):
        evaluate_predictions(random_rows(4), positive=None, unit="image")
    with pytest.raises(InputError, match=r"no class 'sik'.*Did you mean 'sick'"):
        evaluate_predictions(random_rows(4), positive="sik", unit="image")


@pytest.mark.parametrize("wrong", [(0.5, 0.6), (-0.2, 1.2), (np.nan, 0.5), (np.inf, 0.0), (2.3, -1.7)])
def test_rows_that_are_no_probabilities_are_refused(wrong: tuple[float, float]) -> None:
    table = random_rows(4)
    table.loc[2, ["p_sick", "p_well"]] = wrong
    with pytest.raises(InputError, match="1 test row holds no probabilities, first that of unit image 002"):
        measure(table)


def test_probabilities_of_one_class_or_of_text_are_refused() -> None:
    wanted = r"1 column begins with p_; the other class needs its own as well, with 1 - p_sick .* unit, label, p_sick\."
    with pytest.raises(InputError, match=wanted):
        measure(random_rows(4).drop(columns="p_well"))
    with pytest.raises(InputError, match="'p_well' is not numeric"):
        measure(random_rows(4).astype({"p_well": str}))


def test_numbers_as_labels_are_class_names() -> None:
    table = random_rows(40)
    numbers = table.assign(label=(table["label"] == "sick").astype(int), p_1=table["p_sick"], p_0=table["p_well"])
    metrics = evaluate_predictions(numbers.drop(columns=["p_sick", "p_well"]), positive="1", unit="image")
    assert metrics["arms"] == measure(table)["arms"]


def test_several_classes_as_disease_are_those_of_summed_probabilities() -> None:
    table = three_classes()
    joined = pd.DataFrame({"unit": table["unit"], "label": np.where(table["label"] == "b", "b", "a or c")})
    joined = joined.assign(p_b=table["p_b"], **{"p_a or c": table["p_a"] + table["p_c"]})
    metrics = evaluate_predictions(table, positive=("c", "a"), unit="image")
    assert metrics["positive"] == ["a", "c"]
    assert metrics["num_units_by_class"] == {"b": 20, "a or c": 40}
    expected = evaluate_predictions(joined, positive="a or c", unit="image")["arms"]["model"]
    for name, cell in metrics["arms"]["model"].items():
        assert cell["value"] == pytest.approx(expected[name]["value"], abs=1e-12), name
    assert evaluate_predictions(table, positive=["a"], unit="image")["positive"] == ["a"]
    for wrong in ([], ["a", "b", "c"]):
        with pytest.raises(InputError, match="of the 3 classes count as disease"):
            evaluate_predictions(table, positive=wrong, unit="image")


def test_a_missing_column_names_those_that_are_there() -> None:
    table = random_rows(4).rename(columns={"unit": "study_id"})
    with pytest.raises(InputError, match=r"'unit' is missing; .* There are: study_id, label, p_sick, p_well\."):
        measure(table)
    with pytest.raises(InputError, match=r"give one, p_CLASS, for each class\. There are: unit, label, sick, well"):
        measure(random_rows(4).rename(columns={"p_sick": "sick", "p_well": "well"}))


def test_a_gap_in_the_group_column_is_no_patient() -> None:
    table = random_rows(4, group=["1", " ", "", "4"])
    with pytest.raises(InputError, match=r"2 test rows have no group, first that of unit image 001; .*the patient"):
        measure(table)


def test_rows_that_stand_twice_are_refused_without_paths_too() -> None:
    table = random_rows(4)
    with pytest.raises(InputError, match=r"image 002 is there twice for arm 'model' and seed 0 \(1 such row in all"):
        measure(pd.concat([table, table[2:3].assign(p_sick=0.3, p_well=0.7)]))
    patients = random_rows(8).assign(unit=np.arange(8) // 4, label=np.where(np.arange(8) < 4, "sick", "well"))
    assert measure(patients, unit="patient")["num_units"] == 2
    with pytest.raises(InputError, match=r"0 is there twice .* or a column `path` that tells its images apart"):
        measure(pd.concat([patients, patients[2:3]]), unit="patient")


@pytest.mark.parametrize(
    ("fold", "sentence"),
    [
        ([0, 1, "x", 0], "the fold 'x' is none"),
        ([0, 1, 0.5, 0], "the fold '0.5' is none"),
        ([0, 1, -2, 0], "the fold '-2' is none"),
        ([0, 1, -1, 0], "1 test row is of no fold and 3 of one"),
    ],
)
def test_folds_must_be_numbers_and_of_all_rows(fold: list[Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        measure(random_rows(4, fold=fold))


def test_a_unit_in_two_folds_of_one_seed_is_refused() -> None:
    table = random_rows(8, fold=[0, 0, 1, 1, 0, 0, 1, 1], path=list("abcdefgh"))
    table = table.assign(unit=["p", "q", "p", "q", "r", "s", "t", "u"], label=["sick", "well"] * 4)
    with pytest.raises(InputError, match="unit 'p' are tested in several folds of one seed"):
        measure(table, unit="patient")
    assert list(aggregate_units(table[4:]).columns) == ["fold", "unit", "label", "p_sick", "p_well"]


def test_a_group_in_two_folds_of_one_seed_is_refused() -> None:
    table = random_rows(8, fold=[0, 0, 1, 1, 0, 0, 1, 1], group=["p", "q", "p", "r", "s", "t", "u", "r"])
    with pytest.raises(
        InputError, match=r"folds must keep groups whole, and 1 group is tested in several .* \(p\), so"
    ):
        measure(table)
    with pytest.raises(InputError, match=r"2 groups are tested in several folds of one seed \(p, q\)"):
        measure(table.assign(group=["p", "q", "p", "q", "s", "t", "u", "v"]))
    by_seed = pd.concat([table.assign(seed=0, fold=0), table.assign(seed=1, fold=table["fold"])])
    with pytest.raises(InputError, match="1 group is tested"):
        measure(by_seed)


def test_probabilities_that_were_rounded_are_told_how_close_to_be_and_what_to_do() -> None:
    table = random_rows(4)
    table.loc[1, ["p_sick", "p_well"]] = (0.52, 0.49)
    with pytest.raises(InputError, match=r"to within 0\.001, and there sum to 1\.01; give more digits, or divide each"):
        measure(table)
    table.loc[1, ["p_sick", "p_well"]] = (0.521, 0.48)
    assert measure(table)["num_units"] == 4


def test_a_number_as_label_that_is_written_otherwise_than_its_column_is_explained() -> None:
    table = random_rows(4).rename(columns={"p_sick": "p_1", "p_well": "p_0"})
    table["label"] = ["0.0", "1", "0.0", "1"]
    with pytest.raises(InputError, match=r"'0\.0' has no column 'p_0\.0'; labels are read as text, .* write '0' there"):
        evaluate_predictions(table, positive="1", unit="image")


def test_a_unit_may_be_in_another_fold_for_another_seed() -> None:
    rows = read_test_rows(in_folds(), "sick", "image").rows
    assert rows.groupby("unit")["fold"].nunique().max() > 1
    assert len(aggregate_units(rows)) == len(rows)
