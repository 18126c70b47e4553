from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tlmed.errors import InputError
from tlmed.evaluation.evaluate import aggregate_units, evaluate_predictions
from tlmed.evaluation.metrics import METRICS


def _rows(labels: Sequence[str], of_sick: Sequence[float] | np.ndarray, **columns: Any) -> pd.DataFrame:
    """A row an image; `of_sick` are the probabilities of the class `sick`, the other one is `well`."""
    names = [f"image {index:03}" for index in range(len(labels))]
    table = pd.DataFrame({"unit": names, "label": list(labels), "p_sick": np.array(of_sick, dtype=np.float64)})
    return table.assign(p_well=1 - table["p_sick"], **columns)


def _random(num_units: int = 40, draw: int = 0, **columns: Any) -> pd.DataFrame:
    is_sick = np.arange(num_units) % 2 > 0
    of_sick = np.random.default_rng(draw).beta(2 + is_sick, 3 - is_sick)
    return _rows(np.where(is_sick, "sick", "well").tolist(), of_sick, **columns)


def _measure(table: pd.DataFrame, unit: str = "image", **settings: Any) -> dict[str, Any]:
    return evaluate_predictions(table, positive="sick", unit=unit, **settings)


def _value(metrics: dict[str, Any], name: str, arm: str = "model") -> float:
    value = metrics["arms"][arm][name]["value"]
    assert isinstance(value, float)
    return value


def test_the_content_names_what_was_measured_and_on_how_many() -> None:
    table = _random(60, group=[f"patient {index // 2}" for index in range(60)])
    table = table.assign(label=["sick" if index // 2 % 2 else "well" for index in range(60)])
    metrics = _measure(table)
    assert metrics["positive"] == "sick"
    assert metrics["unit"] == "image"
    assert (metrics["num_units"], metrics["num_groups"]) == (60, 30)
    assert metrics["num_units_by_class"] == {"sick": 30, "well": 30}
    assert metrics["groups_known"] is True
    assert metrics["undefined"] == []
    assert metrics["by_unit"] == {"image": metrics["arms"]}
    assert list(metrics["arms"]) == ["model"]
    assert set(metrics["arms"]["model"]) == set(METRICS)
    for cell in metrics["arms"]["model"].values():
        assert set(cell) == {"value", "low", "high"}
        assert cell["low"] < cell["value"] < cell["high"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_values_are_those_of_the_positive_class() -> None:
    # Called sick: the 1st and the 3rd; sick are the 1st and the 2nd.
    table = _rows(["sick", "sick", "well", "well", "well"], [0.9, 0.3, 0.6, 0.2, 0.1])
    metrics = _measure(table)
    assert _value(metrics, "accuracy") == pytest.approx(3 / 5)
    assert _value(metrics, "sensitivity") == pytest.approx(1 / 2)
    assert _value(metrics, "specificity") == pytest.approx(2 / 3)
    assert _value(metrics, "auroc") == pytest.approx(5 / 6)
    other = evaluate_predictions(table, positive="well", unit="image")
    assert _value(other, "sensitivity") == pytest.approx(2 / 3)


def test_only_test_rows_count() -> None:
    table = _random(40)
    others = _random(40, draw=1).assign(split=np.where(np.arange(40) % 2, "train", "val"), p_sick=0.5, p_well=0.5)
    assert _measure(pd.concat([others, table.assign(split="test")])) == _measure(table)
    with pytest.raises(InputError, match="no rows of the split 'test'"):
        _measure(others)


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


def test_a_larger_unit_is_measured_along_with_its_images() -> None:
    # By image one of four is wrong; the mean of the first patient, 0.65, is right.
    table = _rows(["sick", "sick", "well", "well"], [0.9, 0.4, 0.1, 0.2], path=["1", "2", "3", "4"])
    metrics = _measure(table.assign(unit=["x", "x", "y", "y"]), unit="patient")
    assert list(metrics["by_unit"]) == ["patient", "image"]
    assert metrics["by_unit"]["patient"] == metrics["arms"]
    assert _value(metrics, "accuracy") == 1.0
    assert metrics["by_unit"]["image"]["model"]["accuracy"]["value"] == pytest.approx(3 / 4)
    assert (metrics["num_units"], metrics["unit"]) == (2, "patient")
    without_paths = _measure(table.drop(columns="path").assign(unit=["x", "x", "y", "y"]), unit="patient")
    assert list(without_paths["by_unit"]) == ["patient"]


def test_a_unit_with_two_labels_or_two_groups_is_refused() -> None:
    table = _random(6).assign(unit=["a", "a", "b", "b", "c", "c"])
    with pytest.raises(InputError, match=r"unit 'a' has 2 labels \(sick, well\), as have 3 units"):
        _measure(table, unit="patient")
    table = table.assign(label=["sick", "sick", "well", "well", "sick", "sick"], group=["1", "1", "2", "3", "4", "4"])
    with pytest.raises(InputError, match=r"unit 'b' has 2 groups \(2, 3\)"):
        _measure(table, unit="patient")


def test_a_label_without_a_column_names_the_nearest_class() -> None:
    with pytest.raises(InputError, match=r"'sik' has no column 'p_sik'.*Did you mean 'sick'"):
        _measure(_random(4).assign(label=["sik", "well", "sick", "well"]))


@pytest.mark.parametrize("column", ["unit", "label"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(InputError, match=f"column '{column}' is missing"):
        _measure(_random(4).drop(columns=column))


@pytest.mark.parametrize("column", ["unit", "label", "arm", "seed", "group", "path"])
def test_an_empty_cell_is_refused(column: str) -> None:
    table = _random(4, arm="a", seed="0", group=["1", "2", "3", "4"], path=["1", "2", "3", "4"])
    table.loc[2, column] = None
    with pytest.raises(InputError, match=f"1 test rows have no {column}"):
        _measure(table)


def test_an_arm_or_seed_that_lacks_units_is_named() -> None:
    whole, part = _random(10, arm="whole", seed=0), _random(10, arm="part", seed=0)[:7]
    with pytest.raises(InputError, match=r"arm 'part', seed 0 lacks 3 units .*image 007, image 008, image 009"):
        _measure(pd.concat([whole, part]))
    with pytest.raises(InputError, match="arm 'part', seed 1 lacks 9 units"):
        _measure(pd.concat([_random(10, arm="part", seed=0), _random(10, arm="part", seed=1)[9:]]))
    with pytest.raises(InputError, match="arm 'part', seed 0 lacks 3 units"):
        _measure(pd.concat([part, whole]))


def test_an_image_that_stands_twice_is_refused() -> None:
    table = _random(4, path=["1", "2", "3", "3"])
    with pytest.raises(InputError, match="3 is there twice for arm 'model' and seed 0"):
        _measure(table)
    assert _measure(pd.concat([_random(4, path=list("1234"), seed=seed) for seed in (0, 1)]))["num_units"] == 4


def test_test_rows_of_one_class_alone_are_refused() -> None:
    table = _random(8).assign(label="sick")
    with pytest.raises(InputError, match="all test rows are of the class 'sick'"):
        _measure(table)


def test_with_two_classes_the_positive_one_must_be_named_and_exist() -> None:
    with pytest.raises(InputError, match="positive is missing: say which of 'sick' and 'well'"):
        evaluate_predictions(_random(4), positive=None, unit="image")
    with pytest.raises(InputError, match=r"no class 'sik'.*Did you mean 'sick'"):
        evaluate_predictions(_random(4), positive="sik", unit="image")


def test_with_more_classes_the_positive_one_has_no_effect() -> None:
    generator = np.random.default_rng(0)
    labels, probabilities = np.arange(60) % 3, generator.dirichlet(np.ones(3), size=60)
    table = pd.DataFrame(probabilities, columns=["p_a", "p_b", "p_c"])
    table = table.assign(unit=np.arange(60), label=np.array(["a", "b", "c"])[labels])
    metrics = evaluate_predictions(table, positive=None, unit="image")
    assert evaluate_predictions(table, positive="b", unit="image") == metrics
    assert metrics["positive"] is None
    assert metrics["num_units_by_class"] == {"a": 20, "b": 20, "c": 20}
    expected = np.mean([roc_auc_score(labels == index, probabilities[:, index]) for index in range(3)])
    assert _value(metrics, "auroc") == pytest.approx(expected)
    with pytest.raises(InputError, match="no class 'sick'"):
        evaluate_predictions(table, positive="sick", unit="image")


@pytest.mark.parametrize("wrong", [(0.5, 0.6), (-0.2, 1.2), (np.nan, 0.5), (np.inf, 0.0), (2.3, -1.7)])
def test_rows_that_are_no_probabilities_are_refused(wrong: tuple[float, float]) -> None:
    table = _random(4)
    table.loc[2, ["p_sick", "p_well"]] = wrong
    with pytest.raises(InputError, match="1 test rows hold no probabilities, first that of unit image 002"):
        _measure(table)


def test_probabilities_of_one_class_or_of_text_are_refused() -> None:
    with pytest.raises(InputError, match="1 columns begin with p_"):
        _measure(_random(4).drop(columns="p_well"))
    with pytest.raises(InputError, match="'p_well' is not numeric"):
        _measure(_random(4).astype({"p_well": str}))


def test_numbers_as_labels_are_class_names() -> None:
    table = _random(40)
    numbers = table.assign(label=(table["label"] == "sick").astype(int), p_1=table["p_sick"], p_0=table["p_well"])
    metrics = evaluate_predictions(numbers.drop(columns=["p_sick", "p_well"]), positive="1", unit="image")
    assert metrics["arms"] == _measure(table)["arms"]


def test_the_order_of_rows_has_no_effect() -> None:
    table = pd.concat([_random(40, draw=draw, arm=arm) for draw, arm in enumerate("ab")])
    shuffled = table.sample(frac=1, random_state=0)
    assert _measure(shuffled)["arms"] == _measure(table)["arms"]


def test_a_metric_without_a_value_is_listed_and_null() -> None:
    metrics = _measure(_rows(["sick", "well", "well"], [0.4, 0.3, 0.2]))
    assert set(metrics["undefined"]) == {"model/ppv", "model/mcc"}
    assert metrics["arms"]["model"]["ppv"] == {"value": None, "low": None, "high": None}


def test_several_seeds_give_the_mean_of_each_seeds_metric_not_that_of_the_mean_prediction() -> None:
    # The first seed is right twice, the second once; their mean probabilities (0.65, 0.15) would be right twice.
    seeds = [_rows(["sick", "well"], of_sick, seed=index) for index, of_sick in enumerate([[0.9, 0.1], [0.4, 0.2]])]
    metrics = _measure(pd.concat(seeds))
    assert _value(metrics, "accuracy") == pytest.approx(0.75)
    assert metrics["num_units"] == 2


def test_the_interval_says_how_many_seeds_it_covers() -> None:
    def said(*seeds_of_arm: int) -> str:
        parts = [
            _random(40, draw=100 * arm + index, group=np.arange(40), arm=f"arm {arm}", seed=index)
            for arm, num_seeds in enumerate(seeds_of_arm)
            for index in range(num_seeds)
        ]
        return str(_measure(pd.concat(parts))["interval"])

    assert "2,000 resamples of the 40 groups" in said(1)
    assert "one seed, so they cover the choice of cases, not the chance of training" in said(1, 1)
    assert "the 3 seeds: they cover the choice of cases and the chance of training" in said(3)
    assert "2 to 3 seeds: they cover" in said(2, 3)
    assert "with one seed they leave out the chance of training" in said(1, 3)
    assert "unknown" not in said(3)


def test_seeds_that_come_to_the_same_count_as_one() -> None:
    probe = [_random(arm="probe", seed=seed) for seed in (0, 1, 2)]
    tuned = [_random(draw=seed, arm="tuned", seed=seed) for seed in (0, 1, 2)]
    alone, once, both = (_measure(pd.concat(parts)) for parts in (probe, probe[:1], [*probe, *tuned]))
    assert alone["arms"] == once["arms"]
    assert "one seed, so they cover the choice of cases, not the chance of training" in alone["interval"]
    assert "All seeds come to the same in probe: that counts as one seed." in both["interval"]
    assert "with one seed they leave out the chance of training" in both["interval"]
    assert "same" not in once["interval"] + _measure(pd.concat(tuned))["interval"]


def test_the_interval_says_when_groups_are_unknown() -> None:
    table = _random(40)
    assert _measure(table)["groups_known"] is False
    assert "Groups are unknown: each image is its own" in _measure(table)["interval"]
    stand_in = _measure(table.assign(group=table["unit"]), groups_known=False)
    assert stand_in == _measure(table)
    assert _measure(table.assign(group=table["unit"]))["groups_known"] is True


def test_too_few_groups_are_named_as_the_reason_for_no_intervals() -> None:
    metrics = _measure(_random(40, group=[f"patient {index % 6}" for index in range(40)]))
    assert all(cell["low"] is None and cell["high"] is None for cell in metrics["arms"]["model"].values())
    assert metrics["num_groups"] == 6
    assert "at least 10 groups of each class" in metrics["interval"]


def test_too_few_groups_are_not_blamed_where_a_perfect_classifier_leaves_nothing_to_vary() -> None:
    is_sick = np.arange(60) % 2 > 0
    metrics = _measure(_rows(np.where(is_sick, "sick", "well").tolist(), is_sick * 1.0, group=np.arange(60)))
    assert metrics["arms"]["model"]["accuracy"] == {"value": 1.0, "low": None, "high": None}
    assert "results that vary between resamples" in metrics["interval"]
