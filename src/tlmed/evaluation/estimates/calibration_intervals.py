"""Intervals of calibration slope, intercept and calibration-in-the-large, by group, without resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import t

from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.intervals import Estimate
from tlmed.evaluation.metrics import Floats, Integers, Scored
from tlmed.evaluation.statistics.array_checks import sum_by_group
from tlmed.evaluation.statistics.logistic_fit import fit_intercept, fit_slope_and_intercept, is_bounded, log_odds
from tlmed.evaluation.statistics.multi_reader import variance_over_readers
from tlmed.evaluation.statistics.one_class import positive_class


@dataclass(frozen=True, eq=False)
class Linearised:
    """A figure, and how far each group moves it from what it would be without: their sum is 0.

    Attributes:
        value: NaN where it does not exist.
        deviations: (G,).
    """

    value: float
    deviations: Floats


def linearise_calibration(scored: Scored, groups: Integers, weights: Floats) -> dict[str, Linearised]:
    """Return the three figures of `calibration.CALIBRATION_METRICS` with the deviations by group.

    The deviation of group g is H^-1 sum_{i in g} w_i (y_i - p_i) x_i, H = sum_i w_i p_i (1 - p_i) x_i x_i', of the
    logistic regression with fitted p_i.

    Args:
        scored: N units of two classes.
        groups: (N,) the group of each, 0, 1, ...
        weights: (N,) how often each counts.

    Source: Liang & Zeger, Biometrika 1986;73:13, with independence as the working correlation.
    """
    is_positive, probabilities = positive_class(scored, "calibration")
    num_groups = int(groups.max()) + 1
    missing = np.full((2, num_groups), np.nan)
    if is_bounded(probabilities).all():
        return {name: Linearised(np.nan, missing[0]) for name in CALIBRATION_METRICS}
    offered = log_odds(probabilities)
    slopes, intercepts = fit_slope_and_intercept(is_positive, offered, weights[None, :])
    (in_the_large,) = fit_intercept(is_positive, offered, weights[None, :])
    ones = np.ones((len(offered), 1))
    both = np.concatenate([ones, offered[:, None]], axis=1)
    of_both = missing
    if not np.isnan(slopes[0]):
        fitted = expit(intercepts[0] + slopes[0] * offered)
        of_both = _deviations(both, is_positive - fitted, fitted, weights, groups, num_groups)
    fitted = expit(in_the_large + offered)
    (of_level,) = _deviations(ones, is_positive - fitted, fitted, weights, groups, num_groups)
    return {
        "calibration_slope": Linearised(float(slopes[0]), of_both[1]),
        "calibration_intercept": Linearised(float(intercepts[0]), of_both[0]),
        "calibration_in_the_large": Linearised(float(in_the_large), of_level),
    }


def interval_of_linearised(of_seeds: Sequence[Linearised], *, level: float = 0.95) -> Estimate:
    """Return the mean over seeds and its interval, over the choice of groups and, with several seeds, of those.

    The covariance of the seeds over the choice of groups is G / (G - 1) sum_g d_g d_g', d_g their deviations. One seed
    has G - 1 degrees of freedom; several are random readers, see `multi_reader.mean_over_readers`. No limits where a
    figure does not exist or does not vary.

    Source: Liang & Zeger, Biometrika 1986;73:13; several seeds, Hillis, Stat Med 2007;26:596.
    """
    values = np.array([one.value for one in of_seeds])
    if np.isnan(values).any():
        return Estimate(None, None, None)
    deviations = np.stack([one.deviations for one in of_seeds])
    num_groups = deviations.shape[1]
    covariance = num_groups / (num_groups - 1) * deviations @ deviations.T
    variance, freedom = float(covariance[0, 0]), num_groups - 1.0
    if len(values) > 1:
        variance, of_readers = variance_over_readers(values, covariance)
        freedom = min(of_readers, freedom)
    value = float(values.mean())
    if variance == 0:
        return Estimate(value, None, None)
    half_width = float(t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    return Estimate(value, value - half_width, value + half_width)


def _deviations(
    design: Floats, residuals: Floats, fitted: Floats, weights: Floats, groups: Integers, num_groups: int
) -> Floats:
    """(N, P) design -> (P, G)."""
    curvature = (design * (weights * fitted * (1 - fitted))[:, None]).T @ design
    scores = sum_by_group((design * (weights * residuals)[:, None]).T, groups, num_groups)
    return np.asarray(np.linalg.solve(curvature, scores))
