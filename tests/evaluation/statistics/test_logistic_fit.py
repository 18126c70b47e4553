from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from tlmed.evaluation.statistics.logistic_fit import (
    SMALLEST_PROBABILITY,
    fit_intercept,
    fit_slope_and_intercept,
    is_bounded,
    log_odds,
)


def _random(seed: int, num_units: int = 200) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    generator = np.random.default_rng(seed)
    x = generator.normal(1.0, 2.0, num_units)
    return generator.random(num_units) < expit(0.6 * x - 1.0), x, generator


def test_slope_and_intercept_by_hand() -> None:
    # One of four at -1, three of four at 1: the log-odds are -log 3 and log 3.
    x = np.repeat([-1.0, 1.0], 4)
    is_positive = np.array([1, 0, 0, 0, 1, 1, 1, 0], dtype=bool)
    slope, intercept = fit_slope_and_intercept(is_positive, x, np.ones((1, 8)))
    assert slope == pytest.approx(np.log(3), abs=1e-12)
    assert intercept == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_each_weighting_is_unpenalised_logistic_regression(seed: int) -> None:
    is_positive, x, generator = _random(seed)
    weights = np.stack([np.ones(len(x)), generator.integers(0, 4, len(x)), generator.random(len(x)) * 1e-3])
    slopes, intercepts = fit_slope_and_intercept(is_positive, x, weights)
    for row, slope, intercept in zip(weights, slopes, intercepts, strict=True):
        solver = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        # The sum of the weights has to be that of units, or the solver's tolerance is not met.
        solver.fit(x[:, None], is_positive, sample_weight=row / row.mean())
        assert slope == pytest.approx(solver.coef_[0, 0], abs=1e-10)
        assert intercept == pytest.approx(solver.intercept_[0], abs=1e-10)


def test_the_intercept_alone_makes_the_mean_probability_the_share_of_positives() -> None:
    is_positive, x, generator = _random(3)
    weights = generator.integers(0, 3, (5, len(x)))
    intercepts = fit_intercept(is_positive, x, weights)
    for row, intercept in zip(weights, intercepts, strict=True):
        assert np.average(expit(x + intercept), weights=row) == pytest.approx(np.average(is_positive, weights=row))
    assert fit_intercept(np.array([1, 1, 1, 0], dtype=bool), np.zeros(4), np.ones((1, 4))) == pytest.approx(np.log(3))


def test_the_intercept_of_log_odds_that_are_all_far_from_0_is_found() -> None:
    # Little curvature anywhere but near the solution: 1 of 20 is positive where half are called ill for certain.
    x = np.tile([-17.3, 17.3], 10)
    is_positive = np.arange(20) == 0
    weights = np.stack([np.ones(20), np.where(is_positive, 0.5, 3.0)])
    intercepts = fit_intercept(is_positive, x, weights)
    for row, intercept in zip(weights, intercepts, strict=True):
        assert np.average(expit(x + intercept), weights=row) == pytest.approx(np.average(is_positive, weights=row))


@pytest.mark.parametrize(
    "x",
    [[-2.0, -1.0, 1.0, 2.0], [2.0, 1.0, -1.0, -2.0], [-1.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5]],
    ids=["separated", "backwards", "touching", "all the same"],
)
def test_no_slope_is_made_up_where_none_is_finite(x: list[float]) -> None:
    is_positive = np.array([0, 0, 1, 1], dtype=bool)
    assert np.isnan(fit_slope_and_intercept(is_positive, np.array(x), np.ones((1, 4)))).all()


def test_only_the_resamples_without_a_slope_are_nan() -> None:
    is_positive = np.array([0, 0, 1, 1, 0, 1], dtype=bool)
    x = np.array([-2.0, -1.0, 1.0, 2.0, 1.5, -1.5])
    weights = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0]])
    assert np.isnan(fit_slope_and_intercept(is_positive, x, weights)[0]).tolist() == [False, True, True]
    assert np.isnan(fit_intercept(is_positive, x, weights)).tolist() == [False, False, True]


@pytest.mark.parametrize("gap", [1e-3, 1e-5])
def test_classes_that_all_but_part_have_a_steep_slope(gap: float) -> None:
    # Two units of each class far off, and one of each out of order by the gap.
    x = np.array([-9.0, -8.0, gap, 8.0, 9.0, 0.0])
    is_positive = np.array([0, 0, 0, 1, 1, 1], dtype=bool)
    slope, intercept = fit_slope_and_intercept(is_positive, x, np.ones((1, 6)))
    residuals = is_positive - expit(slope * x + intercept)
    assert np.isfinite(slope).all()
    assert residuals.sum() == pytest.approx(0.0, abs=1e-9)
    assert (residuals * x).sum() == pytest.approx(0.0, abs=1e-9)


def test_log_odds_are_finite_and_the_same_for_either_class() -> None:
    probabilities = np.array([0.0, 1e-30, 0.2, 0.5, 1.0])
    values = log_odds(probabilities)
    assert values == pytest.approx(-log_odds(1 - probabilities))
    assert values[2] == pytest.approx(np.log(0.25))
    assert is_bounded(probabilities).tolist() == [True, True, False, False, True]
    assert values[0] == values[1] == pytest.approx(np.log(SMALLEST_PROBABILITY), abs=1e-6)
