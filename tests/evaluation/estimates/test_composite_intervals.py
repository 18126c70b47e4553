from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from tlmed.evaluation.estimates.composite_intervals import bounds_of_composite, composite_interval
from tlmed.evaluation.intervals import Estimate


def _resampled(num_seeds: int = 1, spread: float = 0.05) -> np.ndarray:
    generator = np.random.default_rng(0)
    shared = generator.normal(size=(1000, 1))
    return np.asarray(0.8 + spread * (0.8 * shared + 0.6 * generator.normal(size=(1000, num_seeds))))


def test_one_seed_has_limits_that_are_symmetric_on_the_logit_scale() -> None:
    resampled = _resampled()
    interval = composite_interval(np.array([0.8]), resampled, bounds=(0.0, 1.0), num_groups=20)
    half_width = t.ppf(0.975, 19) * resampled.std(ddof=1) / (0.8 * 0.2)
    for limit, sign in ((interval.low, -1), (interval.high, 1)):
        assert limit is not None
        assert math.log(limit / (1 - limit)) == pytest.approx(math.log(4) + sign * half_width)


def test_from_minus_1_to_1_the_scale_is_fishers_z() -> None:
    resampled = _resampled() - 0.5
    interval = composite_interval(np.array([0.3]), resampled, bounds=(-1.0, 1.0), num_groups=20)
    half_width = t.ppf(0.975, 19) * resampled.std(ddof=1) / (1 - 0.3**2)
    assert interval.high == pytest.approx(math.tanh(math.atanh(0.3) + half_width))
    assert interval.low == pytest.approx(math.tanh(math.atanh(0.3) - half_width))


def test_seeds_are_random_readers_with_the_covariance_of_the_resamples() -> None:
    resampled, values = _resampled(3), np.array([0.78, 0.8, 0.85])
    interval = composite_interval(values, resampled, bounds=(0.0, 1.0), num_groups=20)
    covariance = np.cov(resampled.T)
    cov2 = (covariance.sum() - np.trace(covariance)) / 6
    error = values.var(ddof=1) + 3 * cov2
    freedom = min(error**2 / (values.var(ddof=1) ** 2 / 2), 19)
    value = values.mean()
    half_width = t.ppf(0.975, freedom) * math.sqrt(error / 3) / (value * (1 - value))
    assert interval.high == pytest.approx(1 / (1 + (1 - value) / value * math.exp(-half_width)))


def test_limits_stay_within_the_bounds() -> None:
    interval = composite_interval(np.array([0.95]), _resampled(spread=0.1), bounds=(0.0, 1.0), num_groups=10)
    assert interval.low is not None
    assert interval.high is not None
    assert 0 < interval.low < 0.95 < interval.high < 1
    assert bounds_of_composite("mcc", 2) == bounds_of_composite("quadratic_weighted_kappa", 3) == (-1.0, 1.0)
    assert (bounds_of_composite("brier", 2), bounds_of_composite("brier", 3)) == ((0.0, 1.0), (0.0, 2.0))
    assert bounds_of_composite("auprc", 2) == (0.0, 1.0)


def test_what_does_not_exist_or_vary_or_is_often_undefined_has_no_limits() -> None:
    def estimate(values: list[float], resampled: np.ndarray) -> Estimate:
        return composite_interval(np.array(values), resampled, bounds=(0.0, 1.0), num_groups=20)

    assert estimate([0.8, math.nan], _resampled(2)) == Estimate(None, None, None)
    assert estimate([0.8], np.full((1000, 1), 0.8)) == Estimate(0.8, None, None)
    assert estimate([1.0], np.ones((1000, 1))) == Estimate(1.0, None, None)
    often, seldom = _resampled(), _resampled()
    often[:60], seldom[:40] = math.nan, math.nan
    assert estimate([0.8], often) == Estimate(0.8, None, None)
    assert estimate([0.8], seldom).low is not None
