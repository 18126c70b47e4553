from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from tests.evaluation.haemorrhage import IS_POOR, S100B, WFNS
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.auroc import (
    auroc,
    auroc_covariance,
    auroc_interval,
    auroc_intervals,
    logit_auroc_interval,
)


def _units(seed: int, num_units: int = 70, num_groups: int = 18) -> tuple[Integers, Floats, Integers]:
    """Classes, two tied scores, and groups of one to many units, some of both classes."""
    generator = np.random.default_rng(seed)
    groups = generator.integers(num_groups, size=num_units)
    labels = (generator.random(num_units) < 0.2 + 0.5 * (groups % 2)).astype(np.int64)
    scores = generator.integers(0, 6, size=(2, num_units)) + 2.0 * labels
    return labels, scores, groups


def _slow_covariance(labels: Integers, scores: Floats, groups: Integers) -> Floats:
    """Obuchowski's formulas pair by pair, in her terms: S10, S01 and S11."""
    cases, controls = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    names = sorted(set(groups.tolist()))
    x, y = np.zeros((len(scores), len(names))), np.zeros((len(scores), len(names)))
    for row, of_units in enumerate(scores):
        beats = [[(of_units[i] > of_units[j]) + 0.5 * (of_units[i] == of_units[j]) for j in controls] for i in cases]
        kernel = np.array(beats, dtype=float)
        for i, case in enumerate(cases):
            x[row, names.index(groups[case])] += kernel[i].mean() - kernel.mean()
        for j, control in enumerate(controls):
            y[row, names.index(groups[control])] += kernel[:, j].mean() - kernel.mean()
    i10, i01, i = len(set(groups[cases])), len(set(groups[controls])), len(names)
    s10 = i10 / ((i10 - 1) * len(cases)) * x @ x.T
    s01 = i01 / ((i01 - 1) * len(controls)) * y @ y.T
    s11 = i / (i - 1) * x @ y.T
    return np.asarray(s10 / len(cases) + s01 / len(controls) + (s11 + s11.T) / (len(cases) * len(controls)))


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_scikit_learns(seed: int) -> None:
    labels, scores, _ = _units(seed)
    assert auroc(labels, scores[0]) == pytest.approx(roc_auc_score(labels, scores[0]), abs=1e-12)


def test_delong_as_published_by_proc() -> None:
    """The values that pROC's own tests hold for its data set of 113 patients (pROC 1.18, tests/testthat)."""
    both = auroc_covariance(IS_POOR, np.stack([WFNS, S100B]))
    assert both.covariance[0, 0] == pytest.approx(0.00146991470882363, rel=1e-12)
    assert both.covariance[1, 1] == pytest.approx(0.00266868245717244, rel=1e-12)
    assert both.covariance[0, 1] == pytest.approx(0.00119615567376754, rel=1e-12)
    assert round(float(both.values[1]), 4) == 0.7314


@pytest.mark.parametrize("seed", range(5))
def test_clustered_covariance_is_that_of_a_slow_implementation(seed: int) -> None:
    labels, scores, groups = _units(seed)
    fast = auroc_covariance(labels, scores, groups)
    np.testing.assert_allclose(fast.covariance, _slow_covariance(labels, scores, groups), rtol=1e-10)
    np.testing.assert_allclose(fast.values, [auroc(labels, row) for row in scores], rtol=1e-12)


def test_one_unit_a_group_is_delong() -> None:
    """By the sample covariance of the placements of positives and of negatives, as DeLong et al. write it."""
    labels, scores, _ = _units(3)
    cases, controls = scores[:, labels == 1], scores[:, labels == 0]
    kernel = (cases[:, :, None] > controls[:, None, :]) + 0.5 * (cases[:, :, None] == controls[:, None, :])
    expected = np.cov(kernel.mean(axis=2)) / cases.shape[1] + np.cov(kernel.mean(axis=1)) / controls.shape[1]
    names = [f"patient {index}" for index in range(len(labels))]
    np.testing.assert_allclose(auroc_covariance(labels, scores).covariance, expected, rtol=1e-10)
    np.testing.assert_allclose(auroc_covariance(labels, scores, names).covariance, expected, rtol=1e-10)


def test_copies_of_a_unit_in_its_group_tell_nothing_new() -> None:
    labels, scores, _ = _units(4)
    once = auroc_covariance(labels, scores)
    copied = auroc_covariance(np.repeat(labels, 7), np.repeat(scores, 7, axis=1), np.repeat(np.arange(len(labels)), 7))
    np.testing.assert_allclose(copied.covariance, once.covariance, rtol=1e-10)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_is_symmetric_on_the_logit_scale(grouped: bool) -> None:
    labels, scores, groups = _units(1)
    by = groups if grouped else np.arange(len(labels))
    estimate = auroc_interval(labels, scores[0], by)
    assert estimate.low is not None
    assert estimate.high is not None
    value, low, high = (np.log(x / (1 - x)) for x in (estimate.value, estimate.low, estimate.high))
    assert value - low == pytest.approx(high - value)
    # The variances of means of placements, each with its own degrees of freedom: Satterthwaite's for two samples.
    area = auroc(labels, scores[0])
    above = [[(a > b) + 0.5 * (a == b) for b in scores[0][labels == 0]] for a in scores[0][labels == 1]]
    kernel = np.array(above, dtype=float) - area
    parts, sizes = [], []
    for axis, of_class in ((1, 1), (0, 0)):
        sums = np.bincount(by[labels == of_class], weights=kernel.mean(axis=axis))
        count = len(set(by[labels == of_class]))
        parts.append(count / (count - 1) * (sums**2).sum() / (labels == of_class).sum() ** 2)
        sizes.append(count)
    freedom = sum(parts) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    error = np.sqrt(_slow_covariance(labels, scores, by)[0, 0]) / (area * (1 - area))
    assert high - value == pytest.approx(t.ppf(0.975, freedom) * error)


@pytest.mark.parametrize(
    ("scores", "value"), [([1, 2, 3, 4, 5, 6], 1.0), ([6, 5, 4, 3, 2, 1], 0.0), ([1, 1, 1, 1, 1, 1], 0.5)]
)
def test_no_variance_still_has_a_width(scores: list[int], value: float) -> None:
    """Newcombe's limits with 3 groups of each class, solved by a grid instead of a root finder."""
    estimate = auroc_interval([0, 0, 0, 1, 1, 1], scores)
    grid = np.linspace(0, 1, 200_001)[1:-1]
    variance = grid * (1 - grid) * (1 + 2 * ((1 - grid) / (2 - grid) + grid / (1 + grid))) / 9
    within = grid[np.abs(value - grid) <= 1.959963984540054 * np.sqrt(variance)]
    assert estimate.value == value
    assert (estimate.low, estimate.high) == pytest.approx((within.min(), within.max()), abs=2e-5)


def test_without_variance_groups_count_not_units() -> None:
    by_group = auroc_interval([0] * 6 + [1] * 6, range(12), np.repeat([0, 1, 2, 3], 3))
    assert by_group == auroc_interval([0, 0, 1, 1], range(4))


def test_many_scores_at_once_are_each_by_itself() -> None:
    labels, scores, groups = _units(2)
    rows = np.vstack([scores, labels, 1 - labels, np.zeros(len(labels))])
    assert auroc_intervals(labels, rows, groups) == [auroc_interval(labels, row, groups) for row in rows]


def test_a_higher_level_is_wider() -> None:
    labels, scores, groups = _units(2)
    inner, outer = (auroc_interval(labels, scores[0], groups, level=level) for level in (0.8, 0.99))
    assert inner.low is not None
    assert outer.low is not None
    assert outer.low < inner.low


def test_a_hundred_thousand_units_take_no_time() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(100_000) < 0.5
    scores = generator.normal(size=100_000) + labels
    start = time.process_time()
    auroc_interval(labels, scores, generator.integers(20_000, size=100_000))
    assert time.process_time() - start < 1.0  # pairs would be 2.5e9


@pytest.mark.parametrize("kind", ["positive", "negative"])
def test_a_class_of_one_group_has_no_variance(kind: str) -> None:
    labels = [1, 1, 0, 0] if kind == "positive" else [0, 0, 1, 1]
    with pytest.raises(ValueError, match=f"all {kind} units are of one group"):
        auroc_interval(labels, [1, 2, 3, 4], ["a", "a", "b", "c"])


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="all units are of one class"):
        auroc([1, 1], [0.2, 0.3])
    with pytest.raises(ValueError, match="1 of 2 values are missing"):
        auroc([1, 0], [np.nan, 0.3])
    with pytest.raises(ValueError, match="is_positive has 3 values for 2 units"):
        auroc_interval([1, 0, 1], [0.1, 0.3])
    with pytest.raises(ValueError, match="units have no group"):
        auroc_interval([1, 0, 1], [0.1, 0.3, 0.2], ["a", None, "b"])
    with pytest.raises(ValueError, match="confidence level"):
        auroc_interval([1, 0, 1, 0], [1, 2, 3, 4], level=95)


def test_the_logit_interval_of_a_mean_is_symmetric_on_the_logit_scale() -> None:
    interval = logit_auroc_interval(0.9, 0.0016, degrees_of_freedom=12)
    assert interval.low is not None
    assert interval.high is not None
    half_width = t.ppf(0.975, 12) * 0.04 / (0.9 * 0.1)
    for limit, sign in ((interval.low, -1), (interval.high, 1)):
        assert np.log(limit / (1 - limit)) == pytest.approx(np.log(9) + sign * half_width)
    for value, variance in ((1.0, 0.01), (0.0, 0.01), (0.9, 0.0)):
        with pytest.raises(ValueError, match="has no interval on the logit scale"):
            logit_auroc_interval(value, variance, degrees_of_freedom=12)
