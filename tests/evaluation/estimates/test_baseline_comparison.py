from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from tests.evaluation.prediction_rows import in_folds, measure, random_rows, three_classes
from tlmed.errors import InputError
from tlmed.evaluation.estimates.baseline_comparison import compare_with_baselines
from tlmed.evaluation.tests import compare_aurocs, corrected_resampled_t_test


def _compare(predictions: pd.DataFrame, baselines: pd.DataFrame, **settings: Any) -> dict[str, dict[str, Any]]:
    return compare_with_baselines(
        predictions, baselines, **{"arm": "full", "positive": "sick", "unit": "image", **settings}
    )


def _auroc(table: pd.DataFrame) -> float:
    return float(roc_auc_score(table["label"] == "sick", table["p_sick"]))


def test_one_seed_is_compared_by_delongs_test() -> None:
    arm, baseline = random_rows(60, arm="full"), random_rows(60, draw=1, arm="metadata")
    result = _compare(pd.concat([arm, random_rows(60, draw=2, arm="other")]), baseline)
    assert list(result) == ["metadata"]
    test = compare_aurocs(arm["label"] == "sick", arm["p_sick"], baseline["p_sick"])
    cell = result["metadata"]["auroc_difference"]
    assert cell["value"] == pytest.approx(_auroc(arm) - _auroc(baseline))
    assert (cell["low"], cell["high"]) == pytest.approx((test.low, test.high))
    assert (cell["method"], cell["arm"]) == ("DeLong test", "full")
    alone = measure(baseline)["arms"]["metadata"]
    assert {name: one for name, one in result["metadata"].items() if name != "auroc_difference"} == alone


def test_several_seeds_are_compared_as_random_readers_with_the_printed_means() -> None:
    arm = pd.concat([random_rows(60, draw=seed, arm="full", seed=seed) for seed in range(3)])
    baseline = random_rows(60, draw=7, arm="forest", seed=0)
    cell = _compare(arm, baseline)["forest"]["auroc_difference"]
    by_seed = np.array([_auroc(part) for _, part in arm.groupby("seed")])
    assert cell["value"] == pytest.approx(by_seed.mean() - _auroc(baseline))
    differences = by_seed - _auroc(baseline)
    names = baseline["unit"].tolist()
    without = np.array(
        [
            [
                _auroc(part[part["unit"] != name]) - _auroc(baseline[baseline["unit"] != name])
                for _, part in arm.groupby("seed")
            ]
            for name in names
        ]
    )
    deviations = without - without.mean(axis=0)
    covariance = 59 / 60 * deviations.T @ deviations
    cov2 = max((covariance.sum() - np.trace(covariance)) / 6, 0)
    error = differences.var(ddof=1) + 3 * cov2
    freedom = error**2 / (differences.var(ddof=1) ** 2 / 2)
    assert cell["high"] == pytest.approx(differences.mean() + t.ppf(0.975, freedom) * math.sqrt(error / 3))


def test_folds_are_compared_within_each() -> None:
    arm, baseline = in_folds(arm="full"), in_folds(arm="nearest")
    baseline["p_sick"] = np.random.default_rng(5).random(len(baseline))
    baseline["p_well"] = 1 - baseline["p_sick"]
    cell = _compare(arm, baseline)["nearest"]["auroc_difference"]
    differences = [
        _auroc(first) - _auroc(second)
        for (_, first), (_, second) in zip(
            arm.groupby(["seed", "fold"]), baseline.groupby(["seed", "fold"]), strict=True
        )
    ]
    expected = corrected_resampled_t_test(differences, num_train=48, num_test=12)
    assert (cell["value"], cell["low"], cell["high"]) == pytest.approx(
        (expected.difference, expected.low, expected.high)
    )
    assert "approximate" in cell["method"]
    with pytest.raises(InputError, match="nearest was not tested on the units of fold 0 of seed 1"):
        _compare(arm, baseline[baseline["seed"] == 0])
    with pytest.raises(InputError, match="nearest and the arm must both be tested in folds"):
        _compare(arm, random_rows(60, arm="nearest"))


def test_three_classes_are_compared_by_resampling() -> None:
    table = three_classes()
    generator = np.random.default_rng(1)
    baseline = table.assign(arm="metadata", p_a=generator.random(60) / 2, p_b=generator.random(60) / 2)
    baseline["p_c"] = 1 - baseline["p_a"] - baseline["p_b"]
    cell = _compare(table.assign(arm="full"), baseline, positive=None)["metadata"]["auroc_difference"]
    assert cell["low"] < cell["value"] < cell["high"]
    assert cell["method"] == "logit, bootstrap by group"


def test_a_constant_baseline_has_chance_level_and_its_undefined_figures() -> None:
    arm = random_rows(60, arm="full")
    row = _compare(arm, arm.assign(arm="majority", p_sick=0.4, p_well=0.6))["majority"]
    assert row["auroc"]["value"] == 0.5
    assert (row["auroc"]["low"], row["auroc"]["no_interval"]) == (
        None,
        "0.5 by definition: all units have the same score",
    )
    assert row["auroc_difference"]["value"] == pytest.approx(_auroc(arm) - 0.5)
    assert row["auroc_difference"]["low"] is None
    assert "0.5, that of a baseline which gives all units the same score" in row["auroc_difference"]["no_interval"]
    assert row["ppv"]["undefined"] == "nothing was called positive"


@pytest.mark.parametrize("folds", [False, True])
def test_limits_hold_for_all_differences_together_but_that_of_a_constant(folds: bool) -> None:
    draw = in_folds if folds else random_rows
    arm = draw(60, arm="full")
    names = ["metadata", "intensity", "forest"]
    baselines = [
        arm.assign(arm=name, p_sick=np.random.default_rng(number).random(len(arm)))
        .assign(p_well=lambda rows: 1 - rows["p_sick"])
        for number, name in enumerate(names)
    ]  # fmt: skip
    constant = arm.assign(arm="majority", p_sick=0.4, p_well=0.6)
    together = _compare(arm, pd.concat([*baselines, constant]))
    assert list(together) == [*names, "majority"]
    assert "level" not in together["majority"]["auroc_difference"]
    assert together["majority"]["auroc"]["low"] is None
    for name, baseline in zip(names, baselines, strict=True):
        cell, alone = together[name]["auroc_difference"], _compare(arm, baseline)[name]["auroc_difference"]
        assert cell["level"] == pytest.approx(1 - 0.05 / 3)
        assert alone["level"] == 0.95
        quantiles = [
            t.ppf((1 + level) / 2, 9) if folds else norm.ppf((1 + level) / 2) for level in (1 - 0.05 / 3, 0.95)
        ]
        assert (cell["high"] - cell["value"]) / (alone["high"] - alone["value"]) == pytest.approx(
            quantiles[0] / quantiles[1]
        )


def test_below_five_folds_a_difference_has_no_limits() -> None:
    arm = random_rows(60, arm="full", fold=np.arange(60) // 2 % 3)
    baseline = random_rows(60, draw=1, arm="metadata", fold=np.arange(60) // 2 % 3)
    cell = _compare(arm, baseline)["metadata"]["auroc_difference"]
    assert (cell["low"], cell["too_few"]) == (None, "3 folds in all; an interval needs 5")
    assert "level" not in cell


def test_too_few_groups_have_a_difference_without_interval() -> None:
    arm, baseline = random_rows(16, arm="full"), random_rows(16, draw=1, arm="metadata")
    cell = _compare(arm, baseline)["metadata"]["auroc_difference"]
    assert (cell["low"], cell["high"]) == (None, None)
    assert "too few groups" in cell["too_few"]


def test_equal_scores_differ_by_nothing_without_interval() -> None:
    arm = random_rows(60, arm="full")
    cell = _compare(arm, arm.assign(arm="copy"))["copy"]["auroc_difference"]
    assert cell["value"] == pytest.approx(0)
    assert cell["low"] is None
    assert "no_interval" in cell


def test_baselines_of_other_units_classes_or_names_are_refused() -> None:
    arm = random_rows(20, arm="full")
    with pytest.raises(InputError, match=r"no arm 'ful' to compare with baselines.* Did you mean 'full'"):
        _compare(arm, random_rows(20, arm="metadata"), arm="ful")
    with pytest.raises(InputError, match="arm 'metadata', seed 0 lacks 5 units"):
        _compare(arm, random_rows(20, arm="metadata")[5:])
    with pytest.raises(InputError, match="one has the name of the arm 'full'"):
        _compare(arm, arm)
    other = random_rows(20, arm="metadata").rename(columns={"p_well": "p_fine"})
    other["label"] = other["label"].replace("well", "fine")
    with pytest.raises(InputError, match=r"their classes \(sick, fine\) are not those of the arms \(sick, well\)"):
        _compare(arm, other)
