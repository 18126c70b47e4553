from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t

from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.estimates.calibration_intervals import Linearised, interval_of_linearised, linearise_calibration
from tlmed.evaluation.metrics import Floats, Integers, Scored
from tlmed.evaluation.statistics.one_class import score_one_class


def _scored(num_units: int = 300, draw: int = 0) -> Scored:
    generator = np.random.default_rng(draw)
    log_odds = 1.5 * generator.normal(size=num_units)
    return score_one_class(generator.random(num_units) < expit(0.7 * log_odds + 0.3), expit(log_odds))


def _groups(num_units: int = 300, size: int = 3) -> Integers:
    return np.arange(num_units) // size


def _ones(num_units: int = 300) -> Floats:
    return np.ones(num_units)


def test_values_are_those_of_the_metrics_and_deviations_sum_to_nothing() -> None:
    scored = _scored()
    linearised = linearise_calibration(scored, _groups(), _ones())
    assert linearised.keys() == CALIBRATION_METRICS.keys()
    for name, one in linearised.items():
        assert one.value == pytest.approx(CALIBRATION_METRICS[name](scored, np.ones((1, 300)))[0], abs=1e-12)
        assert one.deviations.shape == (100,)
        assert one.deviations.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", CALIBRATION_METRICS)
def test_a_deviation_is_what_a_little_less_weight_of_the_group_takes_away(name: str) -> None:
    scored, groups, step = _scored(), _groups(), 1e-5
    deviations = linearise_calibration(scored, groups, _ones())[name].deviations
    weights = np.ones((101, 300))
    weights[1:] -= step * (groups == np.arange(100)[:, None])
    values = CALIBRATION_METRICS[name](scored, weights)
    assert (values[0] - values[1:]) / step == pytest.approx(deviations, rel=1e-3, abs=1e-6)


def test_a_group_of_weight_two_is_a_group_that_stands_there_twice() -> None:
    scored, groups = _scored(60), _groups(60)
    rows = np.concatenate([np.arange(60), np.arange(6)])
    twice = Scored(scored.labels[rows], scored.probabilities[rows], 1)
    by_weight = linearise_calibration(scored, groups, np.where(groups < 2, 2.0, 1.0))
    by_copy = linearise_calibration(twice, groups[rows], np.ones(66))
    for name, one in by_weight.items():
        assert one.value == pytest.approx(by_copy[name].value)
        assert one.deviations == pytest.approx(by_copy[name].deviations)


def test_one_seed_has_the_sandwich_interval() -> None:
    scored = _scored()
    interval = interval_of_linearised([linearise_calibration(scored, np.arange(300), _ones())["calibration_slope"]])
    slope, intercept = (
        float(CALIBRATION_METRICS[f"calibration_{name}"](scored, np.ones((1, 300)))[0])
        for name in ("slope", "intercept")
    )
    offered = np.log(scored.probabilities[:, 1] / scored.probabilities[:, 0])
    design = np.stack([np.ones(300), offered], axis=1)
    fitted = expit(intercept + slope * offered)
    bread = np.linalg.inv(design.T * (fitted * (1 - fitted)) @ design)
    meat = design.T * (scored.labels - fitted) ** 2 @ design
    error = math.sqrt(300 / 299 * (bread @ meat @ bread)[1, 1])
    assert interval.value == pytest.approx(slope)
    assert interval.high == pytest.approx(slope + t.ppf(0.975, 299) * error)


def test_images_of_a_group_that_are_copies_add_nothing() -> None:
    scored = _scored(100)
    fourfold = Scored(scored.labels.repeat(4), scored.probabilities.repeat(4, axis=0), 1)
    single = linearise_calibration(scored, np.arange(100), np.ones(100))
    copied = linearise_calibration(fourfold, np.arange(100).repeat(4), np.ones(400))
    for name, one in single.items():
        first, second = interval_of_linearised([one]), interval_of_linearised([copied[name]])
        assert (first.low, first.high) == pytest.approx((second.low, second.high))


def test_intervals_cover_the_true_slope() -> None:
    covered = 0
    for draw in range(300):
        interval = interval_of_linearised(
            [linearise_calibration(_scored(200, draw), np.arange(200), np.ones(200))["calibration_slope"]]
        )
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 0.7 <= interval.high
    assert 0.91 < covered / 300 < 0.985


def test_seeds_that_differ_widen_the_interval() -> None:
    one = Linearised(1.0, np.array([0.1, -0.1, 0.05, -0.05]))
    other = Linearised(1.4, one.deviations)
    alone, both, same = (interval_of_linearised(seeds) for seeds in ([one], [one, other], [one, one]))
    assert both.value == pytest.approx(1.2)
    # Equal seeds vary by their cases alone: Cov2 is the variance of one.
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high))
    variance = 4 / 3 * float((one.deviations**2).sum())
    error = 0.08 + 2 * variance
    freedom = min(error**2 / 0.08**2, 3)
    assert both.high == pytest.approx(1.2 + t.ppf(0.975, freedom) * math.sqrt(error / 2))


@pytest.mark.parametrize("draw", range(20))
def test_probabilities_of_0_and_1_end_in_no_error(draw: int) -> None:
    generator = np.random.default_rng(draw)
    num_units = int(generator.integers(4, 30))
    probabilities = np.where(
        generator.random(num_units) < 0.9, generator.integers(0, 2, num_units), generator.random(num_units)
    ).astype(np.float64)
    scored = score_one_class(np.arange(num_units) % 2 > 0, probabilities)
    weights = np.where(scored.labels == 1, 0.1, 1.9)
    linearised = linearise_calibration(scored, np.arange(num_units), weights)
    for name, one in linearised.items():
        expected = CALIBRATION_METRICS[name](scored, weights[None, :])[0]
        assert one.value == pytest.approx(expected, nan_ok=True)
        assert np.isnan(one.deviations).all() or np.isfinite(one.deviations).all()


def test_what_does_not_exist_or_vary_has_no_limits() -> None:
    parted = score_one_class(np.arange(20) > 9, np.linspace(0.1, 0.9, 20))
    linearised = linearise_calibration(parted, np.arange(20), np.ones(20))
    assert interval_of_linearised([linearised["calibration_slope"]]).value is None
    assert interval_of_linearised([linearised["calibration_in_the_large"]]).low is not None
    still = interval_of_linearised([Linearised(1.0, np.zeros(5))])
    assert (still.value, still.low, still.high) == (1.0, None, None)
