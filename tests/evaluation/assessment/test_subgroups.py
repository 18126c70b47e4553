from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from tlmed.errors import InputError
from tlmed.evaluation.assessment.subgroups import measure_subgroups
from tlmed.evaluation.statistics.auroc import auroc_interval
from tlmed.evaluation.statistics.proportions import wilson_interval


def _units(num_units: int = 120, seed: str = "0", draw: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(draw)
    positive = np.arange(num_units) % 2 == 0
    scores = generator.normal(positive * 1.0)
    names = [f"u{index}" for index in range(num_units)]
    return pd.DataFrame(
        {
            "unit": names,
            "group": names,
            "seed": seed,
            "fold": -1,
            "is_positive": positive,
            "score": scores,
            "called": scores > 0.5,
            "sex": np.where(np.arange(num_units) % 3 == 0, "f", "m"),
            "age": np.linspace(20, 79, num_units).round().astype(int).astype(str),
        }
    )


def test_each_level_has_its_own_figures_at_the_bonferroni_level() -> None:
    units = _units()
    found = measure_subgroups(units, ["sex"])
    assert found["level"] == pytest.approx(1 - 0.05 / 12)
    assert "Exploratory: 12 intervals" in found["note"]
    women, men = found["columns"]["sex"]
    assert (women["value"], women["num_units"], women["num_positives"], women["num_groups"]) == ("f", 40, 20, 40)
    part = units[units["sex"] == "f"]
    assert women["auroc"]["value"] == pytest.approx(roc_auc_score(part["is_positive"], part["score"]))
    interval = auroc_interval(part["is_positive"], part["score"], level=found["level"])
    assert (women["auroc"]["low"], women["auroc"]["high"]) == (interval.low, interval.high)
    of_ill = part[part["is_positive"]]
    wilson = wilson_interval(int(of_ill["called"].sum()), 20, level=found["level"])
    assert women["sensitivity"]["low"] == pytest.approx(wilson.low)
    assert women["sensitivity_difference"]["value"] == pytest.approx(
        women["sensitivity"]["value"] - men["sensitivity"]["value"]
    )
    assert women["auroc_difference"]["low"] == pytest.approx(-men["auroc_difference"]["high"])


def test_the_difference_of_shares_has_newcombes_interval() -> None:
    # Newcombe, Stat Med 1998;17:873, table II: 56/70 less 48/80, method 10: 0.0524 to 0.3339.
    units = pd.DataFrame(
        {
            "unit": [f"u{index}" for index in range(150)],
            "seed": "0",
            "fold": -1,
            "is_positive": True,
            "score": 0.5,
            "called": [True] * 56 + [False] * 14 + [True] * 48 + [False] * 32,
            "side": ["left"] * 70 + ["right"] * 80,
        }
    ).assign(group=lambda table: table["unit"])
    found = measure_subgroups(units, ["side"])
    left = found["columns"]["side"][0]
    z = norm.ppf((1 + found["level"]) / 2)

    def wilson(successes: int, trials: int) -> tuple[float, float]:
        share, square = successes / trials, z * z
        middle, half = (
            share + square / (2 * trials),
            z * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2)),
        )
        return (middle - half) / (1 + square / trials), (middle + half) / (1 + square / trials)

    (low_1, high_1), (low_2, high_2) = wilson(56, 70), wilson(48, 80)
    cell = left["sensitivity_difference"]
    assert cell["value"] == pytest.approx(0.2)
    assert cell["low"] == pytest.approx(0.2 - math.hypot(0.8 - low_1, high_2 - 0.6))
    assert cell["high"] == pytest.approx(0.2 + math.hypot(high_1 - 0.8, 0.6 - low_2))


def test_below_ten_groups_of_a_class_there_is_a_value_and_no_interval() -> None:
    units = _units()
    units["group"] = np.where(units["sex"] == "f", "g" + (units.index // 6 % 9).astype(str), units["group"])
    women = measure_subgroups(units, ["sex"])["columns"]["sex"][0]
    assert women["auroc"]["value"] is not None
    assert women["auroc"]["low"] is None
    assert "9 groups of positives and 9 groups of negatives; an interval needs 10" in women["auroc"]["too_few"]
    assert women["sensitivity_difference"]["low"] is None


def test_numbers_are_cut_at_their_thirds_and_gaps_are_a_level_of_their_own() -> None:
    units = _units()
    units.loc[:5, "age"] = None
    levels = measure_subgroups(units, ["age"])["columns"]["age"]
    assert [level["value"] for level in levels] == ["23 to 41", "42 to 60", "61 to 79", "(missing)"]
    assert sum(level["num_units"] for level in levels) == 120


def test_a_level_without_a_class_has_no_auroc() -> None:
    units = _units().assign(sex=lambda table: np.where(table["is_positive"], "f", "m"))
    women = measure_subgroups(units, ["sex"])["columns"]["sex"][0]
    assert women["auroc"]["value"] is None
    assert women["auroc_difference"]["value"] is None
    assert women["specificity"]["value"] is None


def test_of_several_seeds_values_are_the_mean_and_units_are_counted_once() -> None:
    first, second = _units(draw=0), _units(seed="1", draw=1)
    women = measure_subgroups(pd.concat([first, second], ignore_index=True), ["sex"])["columns"]["sex"][0]
    alone = [measure_subgroups(units, ["sex"])["columns"]["sex"][0]["auroc"]["value"] for units in (first, second)]
    assert women["num_units"] == 40
    assert women["auroc"]["value"] == pytest.approx(np.mean(alone))
    assert women["auroc"]["low"] < women["auroc"]["value"] < women["auroc"]["high"]


def test_under_folds_auroc_is_the_mean_of_those_within_folds() -> None:
    units = _units().assign(fold=np.arange(120) // 2 % 2)
    # A shift between folds would spoil the pooled AUROC and must not change this one.
    shifted = units.assign(score=units["score"] + 10 * units["fold"])
    one, other = (measure_subgroups(table, ["sex"])["columns"]["sex"][0]["auroc"] for table in (units, shifted))
    part = units[units["sex"] == "f"]
    expected = np.mean([roc_auc_score(fold["is_positive"], fold["score"]) for _, fold in part.groupby("fold")])
    assert one["value"] == pytest.approx(expected)
    assert other == pytest.approx(one)


@pytest.mark.parametrize(("column", "sentence"), [("unit", "120 values"), ("seed", "the one value '0'")])
def test_a_column_that_parts_nothing_or_everything_is_refused(column: str, sentence: str) -> None:
    with pytest.raises(InputError, match=f"--subgroup {column}: the column has {sentence}"):
        measure_subgroups(_units(), [column])
