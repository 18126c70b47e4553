from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, t

from tlmed.evaluation.estimates.shares import SHARES_OF_TWO_CLASSES, count_shares, estimate_share
from tlmed.evaluation.metrics import METRICS, Integers, Scored
from tlmed.evaluation.statistics.proportions import clustered_wilson_interval


def _scored(labels: Integers, correct: np.ndarray) -> Scored:
    called = np.where(correct, labels, 1 - labels)
    return Scored(labels, np.where(np.eye(2)[called] > 0, 0.8, 0.2), 1)


def _seeds(num_seeds: int, num_groups: int = 40, num_units: int = 100, draw: int = 0) -> tuple[list[Scored], Integers]:
    generator = np.random.default_rng(draw)
    groups = np.arange(num_units) % num_groups
    labels = (groups % 2).astype(np.int64)
    alike = generator.random(num_groups)[groups]
    return [_scored(labels, alike + 0.5 * generator.random(num_units) > 0.35) for _ in range(num_seeds)], groups


def test_counts_by_group_are_those_written_out() -> None:
    # Labels 1 1 0 0 1 0; called 1 0 0 1 1 0; groups 0 0 0 1 1 2.
    scored = _scored(np.array([1, 1, 0, 0, 1, 0]), np.array([1, 0, 1, 0, 1, 1]) > 0)
    groups = np.array([0, 0, 0, 1, 1, 2])
    expected = {
        "accuracy": ([2, 1, 1], [3, 2, 1]),
        "sensitivity": ([1, 1, 0], [2, 1, 0]),
        "specificity": ([1, 0, 1], [1, 1, 1]),
        "ppv": ([1, 1, 0], [1, 2, 0]),
        "npv": ([1, 0, 1], [2, 0, 1]),
    }
    for name, (successes, sizes) in expected.items():
        counts = count_shares(name, scored, groups)
        assert (counts.successes.tolist(), counts.sizes.tolist()) == (successes, sizes), name


@pytest.mark.parametrize("name", SHARES_OF_TWO_CLASSES)
def test_one_seed_has_wilsons_interval_and_its_counts(name: str) -> None:
    (scored,), _ = _seeds(1, num_groups=100)
    cell = estimate_share(name, [scored], np.arange(100), None)
    assert cell.value == pytest.approx(METRICS[name](scored, np.ones((1, 100)))[0], abs=1e-12)
    assert cell.numerator is not None
    assert cell.denominator is not None
    wilson = binomtest(cell.numerator, cell.denominator).proportion_ci(method="wilson")
    assert (cell.low, cell.high) == pytest.approx((wilson.low, wilson.high), abs=1e-10)
    assert cell.method == "Wilson"


def test_one_seed_with_groups_has_the_clustered_interval_of_the_units_that_count() -> None:
    (scored,), groups = _seeds(1)
    cell = estimate_share("ppv", [scored], groups, None)
    called = scored.predicted == 1
    expected = clustered_wilson_interval(scored.labels[called] == 1, groups[called])
    assert (cell.value, cell.low, cell.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert cell.method is not None
    assert cell.method.startswith("clustered Wilson")


@pytest.mark.parametrize(
    ("out_of_fold", "method"),
    [
        (False, "Wilson over seeds and groups (Obuchowski-Rockette variance)"),
        (True, "Wilson over repeats and groups (Obuchowski-Rockette variance), of out-of-fold decisions, approximate"),
    ],
)
def test_several_seeds_and_repeats_of_folds_are_random_readers_with_wilsons_limits(
    out_of_fold: bool, method: str
) -> None:
    of_seeds, groups = _seeds(3)
    cell = estimate_share("accuracy", of_seeds, groups, None, out_of_fold=out_of_fold)
    assert cell.method == method
    right = np.stack([one.predicted == one.labels for one in of_seeds])
    shares = right.mean(axis=1)
    without = np.array([right[:, groups != group].mean(axis=1) for group in range(40)])
    deviations = without - without.mean(axis=0)
    covariance = 39 / 40 * deviations.T @ deviations
    cov2 = (covariance.sum() - np.trace(covariance)) / 6
    mean_square = shares.var(ddof=1)
    error = mean_square + 3 * max(cov2, 0)
    freedom = min(error**2 / (mean_square**2 / 2), 39)
    value, quantile = shares.mean(), t.ppf(0.975, freedom)
    num_trials = min(value * (1 - value) / (error / 3), 300)
    centre = (value + quantile**2 / (2 * num_trials)) / (1 + quantile**2 / num_trials)
    spread = math.sqrt(value * (1 - value) / num_trials + quantile**2 / (4 * num_trials**2))
    half_width = quantile * spread / (1 + quantile**2 / num_trials)
    assert (cell.value, cell.low, cell.high) == pytest.approx((value, centre - half_width, centre + half_width))
    assert cell.numerator is None


def test_seeds_that_are_right_throughout_count_as_one_trial_a_group() -> None:
    labels = np.arange(60) % 2
    perfect = _scored(labels, labels >= 0)
    cell = estimate_share("sensitivity", [perfect, perfect], np.arange(60) // 2, None)
    # 30 groups with one positive unit each: n / (n + t^2).
    assert (cell.low, cell.high) == pytest.approx((30 / (30 + t.ppf(0.975, 29) ** 2), 1.0))


def test_one_repeat_of_folds_has_the_interval_of_its_decisions() -> None:
    (scored,), groups = _seeds(1)
    cell = estimate_share("accuracy", [scored], groups, None, out_of_fold=True)
    expected = clustered_wilson_interval(scored.predicted == scored.labels, groups)
    assert (cell.value, cell.low, cell.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert cell.method == "clustered Wilson, of out-of-fold decisions, approximate"


def test_repeats_that_come_to_very_different_shares_have_a_wide_interval() -> None:
    labels = np.arange(120) % 2
    repeats = [_scored(labels, (labels == 0) | (np.arange(120) < most)) for most in (118, 12, 90)]
    cell = estimate_share("sensitivity", repeats, np.arange(120), None, out_of_fold=True)
    assert cell.value == pytest.approx((59 + 6 + 45) / 180)
    assert cell.low is not None and cell.high is not None
    # Wide enough for each of the repeats, which a Wilson interval of 60 trials is not.
    assert cell.low < 6 / 60
    assert cell.high > 0.95


def test_predictive_values_need_enough_groups_of_each_class() -> None:
    (scored,), _ = _seeds(1, num_groups=100)
    for name, has_limits in (("sensitivity", True), ("specificity", True), ("ppv", False), ("npv", False)):
        cell = estimate_share(name, [scored], np.arange(100), "too few patients")
        assert (cell.low is not None) is has_limits, name
        assert (cell.too_few is None) is has_limits, name


def test_a_share_of_nothing_or_of_few_groups_has_no_limits() -> None:
    labels = np.arange(40) % 2
    nobody = _scored(labels, labels == 0)
    undefined = estimate_share("ppv", [nobody], np.arange(40), None)
    assert (undefined.value, undefined.low, undefined.too_few) == (None, None, None)
    few = estimate_share("ppv", [_scored(labels, (labels == 0) | (np.arange(40) < 10))], np.arange(40), None)
    assert (few.value, few.low, few.numerator) == (1.0, None, 5)
    assert few.too_few == "too few groups with units that were called positive: 5; an interval needs 10"
    told = estimate_share("accuracy", [nobody], np.arange(40), "too few patients")
    assert (told.value, told.low, told.too_few) == (0.5, None, "too few patients")


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_with_several_units_a_group_a_share_needs_twenty_groups(num_seeds: int) -> None:
    of_seeds, groups = _seeds(2, num_groups=30)  # of which 10 to 19 hold the positive units
    sensitivity = estimate_share("sensitivity", of_seeds[:num_seeds], groups, None)
    assert sensitivity.value is not None
    assert (sensitivity.low, sensitivity.high) == (None, None)
    assert "an interval needs 20" in str(sensitivity.too_few)
    assert estimate_share("accuracy", of_seeds[:num_seeds], groups, None).low is not None


def test_with_one_unit_a_group_a_share_needs_ten_groups() -> None:
    labels = (np.arange(40) < 12).astype(np.int64)
    assert estimate_share("sensitivity", [_scored(labels, labels == 1)], np.arange(40), None).low is not None
