from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from tlmed.evaluation.intervals import Estimate
from tlmed.evaluation.statistics.proportions import (
    clustered_wilson_interval,
    clustered_wilson_limits,
    design_effect,
    effective_wilson_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (0, 20), (1, 29), (15, 148), (81, 263), (7, 7)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(successes: int, trials: int, level: float) -> None:
    estimate = wilson_interval(successes, trials, level=level)
    reference = binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert estimate.value == successes / trials
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson_interval(successes, trials)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_between_0_and_1(level: float) -> None:
    for interval in (
        lambda: wilson_interval(1, 2, level=level),
        lambda: clustered_wilson_interval([1, 0, 1], [0, 0, 1], level=level),
    ):
        with pytest.raises(ValueError, match="confidence level"):
            interval()


def test_one_unit_a_group_is_plain_wilson() -> None:
    successes = np.arange(30) % 4 > 0
    assert clustered_wilson_interval(successes, np.arange(30)[::-1]) == wilson_interval(22, 30)


def test_groups_of_equal_units_count_once() -> None:
    """Every unit five times over, in its group: as many trials as groups, but for t instead of the normal quantile."""
    successes = np.arange(30) % 4 > 0
    estimate = clustered_wilson_interval(np.repeat(successes, 5), np.repeat(np.arange(30), 5))
    # The level at which the normal quantile is the t quantile that belongs to 95 %.
    level = 2 * norm.cdf(t.ppf(0.975, 29)) - 1
    plain = wilson_interval(22, 30, level=level)
    assert design_effect(np.repeat(successes, 5), np.repeat(np.arange(30), 5)) == pytest.approx(5.0)
    assert (estimate.low, estimate.high) == pytest.approx((plain.low, plain.high))


def test_the_design_effect_by_hand() -> None:
    """Groups of 2, 3 and 1 units with 2, 1 and 1 successes: p = 4/6, residuals 2/3, -1, 1/3.

    Variance 3/2 (4/9 + 1 + 1/9) / 36 = 7/108; independent (2/3)(1/3)/5 = 2/45; quotient 35/24.
    """
    assert design_effect([1, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 2]) == pytest.approx(35 / 24)


def test_the_limits_solve_the_score_equation() -> None:
    successes, groups = [1, 1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 1, 2, 2]
    estimate = clustered_wilson_interval(successes, groups)
    effective = 7 / design_effect(successes, groups)
    for limit in (estimate.low, estimate.high):
        assert limit is not None
        distance = abs(5 / 7 - limit) / np.sqrt(limit * (1 - limit) / effective)
        assert distance == pytest.approx(t.ppf(0.975, 2))


def test_the_design_effect_stays_between_independence_and_identity() -> None:
    # Each group has one of each: less variance between groups than chance gives.
    assert design_effect([1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2]) == 1.0
    # Two groups, all or nothing: G / (G - 1) alone would exceed the number of images a group.
    assert design_effect([1, 1, 0, 0], [0, 0, 1, 1]) == 2.0


@pytest.mark.parametrize("value", [0, 1])
def test_all_or_none_still_has_a_width(value: int) -> None:
    estimate = clustered_wilson_interval([value] * 12, np.repeat([0, 1, 2, 3], 3))
    assert estimate.value == value
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.high - estimate.low > 0.5  # as four trials, not twelve
    assert (estimate.low, estimate.high)[value] == value


def test_one_group_of_several_units_has_no_interval() -> None:
    with pytest.raises(ValueError, match="two groups or more"):
        clustered_wilson_interval([1, 0], ["a", "a"])


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="groups has 1 values for 2 units"):
        clustered_wilson_interval([1, 0], ["a"])


def test_many_shares_at_once_are_each_by_itself() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 6, size=25)
    groups = np.repeat(np.arange(25), sizes)
    rows = generator.random((6, len(groups))) < np.array([0.0, 0.2, 0.5, 0.8, 0.95, 1.0])[:, None]
    counts = np.stack([np.bincount(groups, weights=row) for row in rows])
    low, high = clustered_wilson_limits(counts, sizes.astype(float))
    for row, one_low, one_high in zip(rows, low, high, strict=True):
        assert clustered_wilson_interval(row, groups) == Estimate(row.mean(), one_low, one_high)


def test_an_effective_number_of_trials_gives_wilsons_interval_with_students_quantile() -> None:
    wilson = wilson_interval(18, 20)
    same = effective_wilson_interval(0.9, 20, degrees_of_freedom=1e9)
    assert (same.low, same.high) == pytest.approx((wilson.low, wilson.high))
    few = effective_wilson_interval(0.9, 12.5, degrees_of_freedom=7)
    for limit in (few.low, few.high):
        assert limit is not None
        assert abs(0.9 - limit) == pytest.approx(t.ppf(0.975, 7) * np.sqrt(limit * (1 - limit) / 12.5))
    assert effective_wilson_interval(1.0, 5, degrees_of_freedom=4).high == 1.0
    for share, num_trials in ((0.5, 0.0), (1.2, 5.0), (-0.1, 5.0)):
        with pytest.raises(ValueError, match="it must be from 0 to 1, and trials above 0"):
            effective_wilson_interval(share, num_trials, degrees_of_freedom=4)
