from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import kstest
from sklearn import calibration as reference
from sklearn.metrics import brier_score_loss

from tlmed.evaluation.calibration import CALIBRATION_METRICS, calibration_curve, calibration_error
from tlmed.evaluation.intervals import bootstrap_by_group
from tlmed.evaluation.metrics import Scored, brier
from tlmed.evaluation.statistics.one_class import score_one_class
from tlmed.evaluation.statistics.proportions import wilson_interval


def _measure(scored: Scored) -> dict[str, float]:
    ones = np.ones((1, len(scored.labels)))
    return {name: float(metric(scored, ones)[0]) for name, metric in CALIBRATION_METRICS.items()}


def _calibrated(seed: int, num_units: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    probabilities = generator.beta(0.7, 0.7, num_units)
    return generator.random(num_units) < probabilities, probabilities


def test_slope_and_intercepts_by_hand() -> None:
    # Claimed 0.2 and 0.8; seen 1 of 3 and 2 of 3: log-odds of log 2 where log 4 was claimed.
    scored = score_one_class([1, 0, 0, 1, 1, 0], [0.2, 0.2, 0.2, 0.8, 0.8, 0.8])
    assert _measure(scored) == pytest.approx(
        {"calibration_slope": 0.5, "calibration_intercept": 0.0, "calibration_in_the_large": 0.0}, abs=1e-10
    )


def test_probabilities_that_are_too_high_have_a_large_below_zero() -> None:
    # Claimed 0.5, seen 1 of 4.
    scored = score_one_class([1, 0, 0, 0], [0.5] * 4)
    assert _measure(scored)["calibration_in_the_large"] == pytest.approx(-np.log(3))
    assert np.isnan(_measure(scored)["calibration_slope"])


def test_the_other_class_as_positive_has_the_same_slope_and_the_opposite_intercepts() -> None:
    is_positive, probabilities = _calibrated(0, 80)
    of_one, of_other = (
        _measure(Scored(is_positive.astype(int), np.stack([1 - probabilities, probabilities], axis=1), positive))
        for positive in (1, 0)
    )
    assert of_one["calibration_slope"] == pytest.approx(of_other["calibration_slope"])
    for name in ("calibration_intercept", "calibration_in_the_large"):
        assert of_one[name] == pytest.approx(-of_other[name])


def test_a_known_distortion_is_found() -> None:
    is_positive, probabilities = _calibrated(1, 40_000)
    distorted = expit(2.0 * logit(probabilities) + 1.0)
    found = _measure(score_one_class(is_positive, distorted))
    assert found["calibration_slope"] == pytest.approx(0.5, abs=0.02)
    assert found["calibration_intercept"] == pytest.approx(-0.5, abs=0.04)


def test_they_take_part_in_the_bootstrap_by_group() -> None:
    is_positive, probabilities = _calibrated(2, 120)
    scored = score_one_class(is_positive, probabilities)
    estimates = bootstrap_by_group(CALIBRATION_METRICS, [scored], np.arange(120), num_resamples=200)
    for name, value in _measure(scored).items():
        estimate = estimates[name]
        assert estimate.value == pytest.approx(value)
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low < value < estimate.high


def test_the_brier_score_of_one_class_is_scikit_learns() -> None:
    is_positive, probabilities = _calibrated(3, 90)
    expected = brier_score_loss(is_positive, probabilities)
    assert brier(score_one_class(is_positive, probabilities), np.ones((1, 90)))[0] == pytest.approx(expected, abs=1e-14)


def test_more_than_two_classes_are_refused() -> None:
    scored = Scored(np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    for metric in CALIBRATION_METRICS.values():
        with pytest.raises(ValueError, match="of one class"):
            metric(scored, np.ones((1, 3)))


def _slow_error(confidence: np.ndarray, is_right: np.ndarray) -> float:
    total = 0.0
    for lower in range(15):
        inside = (confidence > lower / 15) & (confidence <= (lower + 1) / 15)
        if inside.any():
            total += abs(is_right[inside].mean() - confidence[inside].mean()) * inside.sum()
    return total / len(confidence)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_range_of_the_calibration_error_is_that_of_labels_drawn_from_the_probabilities(num_classes: int) -> None:
    generator = np.random.default_rng(num_classes)
    probabilities = generator.dirichlet(np.ones(num_classes), 60)
    labels = generator.integers(num_classes, size=60)
    found = calibration_error(Scored(labels, probabilities, 1 if num_classes == 2 else None), num_simulations=2000)
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    assert found.value == pytest.approx(_slow_error(confidence, predicted == labels))
    cumulative = probabilities.cumsum(axis=1)
    simulated = [
        _slow_error(confidence, (generator.random((60, 1)) > cumulative).sum(axis=1) == predicted) for _ in range(400)
    ]
    # Two quantiles of simulations; the error itself is about 0.15.
    assert [found.low, found.high] == pytest.approx(np.quantile(simulated, [0.025, 0.975]), abs=0.02)
    assert found.p_value == pytest.approx(np.mean(np.array(simulated) >= found.value), abs=0.08)


def test_right_probabilities_have_a_p_value_that_is_uniform_and_wrong_ones_a_small_one() -> None:
    p_values = []
    for seed in range(100):
        is_positive, probabilities = _calibrated(seed, 50)
        p_values.append(calibration_error(score_one_class(is_positive, probabilities), num_simulations=100).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.01
    is_positive, probabilities = _calibrated(0, 400)
    distorted = score_one_class(is_positive, expit(3 * logit(probabilities)))
    found = calibration_error(distorted, num_simulations=999)
    assert found.value > found.high
    assert found.p_value == pytest.approx(1 / 1000)


def test_groups_widen_the_range_of_the_calibration_error() -> None:
    is_positive, probabilities = _calibrated(5, 400)
    scored = score_one_class(is_positive, probabilities)
    alone, own, grouped = (calibration_error(scored, of) for of in (None, np.arange(400), np.arange(400) // 8))
    assert alone == own
    assert grouped.value == alone.value
    assert grouped.high > 1.3 * alone.high


def test_the_simulations_are_repeatable_and_not_too_few() -> None:
    scored = score_one_class(*_calibrated(6, 30))
    assert calibration_error(scored, seed=1) == calibration_error(scored, seed=1)
    with pytest.raises(ValueError, match="100 or more, not 9"):
        calibration_error(scored, num_simulations=9)
    with pytest.raises(ValueError, match="groups has 2 values for 30 units"):
        calibration_error(scored, [0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_scikit_learns_with_bins_of_equal_size(seed: int) -> None:
    is_positive, probabilities = _calibrated(seed, 97)
    probabilities = probabilities.round(2)
    points = calibration_curve(is_positive, probabilities, num_points=7)
    observed, claimed = reference.calibration_curve(is_positive, probabilities, n_bins=7, strategy="quantile")
    assert [point.observed.value for point in points] == pytest.approx(observed)
    assert [point.mean_probability for point in points] == pytest.approx(claimed)
    assert sum(point.num_units for point in points) == 97


def test_the_curve_by_hand() -> None:
    first, second = calibration_curve([0, 1, 1, 1], [0.1, 0.3, 0.6, 0.8], num_points=2)
    assert (first.mean_probability, first.num_units) == (pytest.approx(0.2), 2)
    assert first.observed == wilson_interval(1, 2)
    assert (second.mean_probability, second.num_units) == (pytest.approx(0.7), 2)
    assert second.observed == wilson_interval(2, 2)


def test_equal_probabilities_stay_in_one_point_of_the_curve() -> None:
    (point,) = calibration_curve([0, 1, 1], [0.4, 0.4, 0.4])
    assert (point.num_units, point.observed.value) == (3, pytest.approx(2 / 3))


def test_groups_widen_a_point_and_one_group_alone_has_no_interval() -> None:
    is_positive, probabilities = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 3), np.tile([0.2, 0.8], 12)
    alone = calibration_curve(is_positive, probabilities, num_points=2)
    grouped = calibration_curve(is_positive, probabilities, np.arange(24) // 4, num_points=2)
    for without, of_groups in zip(alone, grouped, strict=True):
        assert without.observed.low is not None and of_groups.observed.low is not None
        assert of_groups.observed.low < without.observed.low
    one_each = calibration_curve([0, 1, 0, 1], [0.1, 0.2, 0.8, 0.9], ["a", "a", "b", "b"], num_points=2)
    assert [point.observed.low for point in one_each] == [None, None]
    with pytest.raises(ValueError, match="num_points must be 1 or more"):
        calibration_curve([0, 1], [0.2, 0.3], num_points=0)
