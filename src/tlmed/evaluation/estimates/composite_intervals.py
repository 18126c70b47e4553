"""Intervals of figures that are no simple share, such as F1, from how they vary over resampled groups."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t

from tlmed.evaluation.intervals import MAX_UNDEFINED_SHARE, Estimate
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.multi_reader import variance_over_readers

_FROM_MINUS_1_TO_1 = ("mcc", "quadratic_weighted_kappa", "auroc_difference")


def bounds_of_composite(name: str, num_classes: int) -> tuple[float, float]:
    """Return the least and the greatest value that a figure can take."""
    if name in _FROM_MINUS_1_TO_1:
        return -1.0, 1.0
    return (0.0, 2.0) if name == "brier" and num_classes > 2 else (0.0, 1.0)


def composite_interval(
    values: Floats, resampled: Floats, *, bounds: tuple[float, float], num_groups: int, level: float = 0.95
) -> Estimate:
    """Return the mean over seeds and its interval, from the standard error over resamples.

    One seed: the variance of the resamples. Several: their covariance is that over the choice of cases in the analysis
    of `multi_reader.mean_over_readers`, so that seeds count as random readers. The limits are symmetric on the logit
    scale of the figure's place between its bounds (from -1 to 1 that is Fisher's z), with the quantile of Student's t.
    By simulation these limits hold the truth more often than percentiles of the resamples, above all for AUPRC, whose
    resamples are biased upwards (benchmarks/seed_coverage.py --composites).

    There are no limits where more than 5 % of the resamples have no value, or none differs from the others.

    Args:
        values: (S,) of each seed.
        resampled: (R, S), NaN where a resample has no value.
        bounds: least and greatest value of the figure.
        num_groups: of the smallest class; the variance rests on them, so that t has at most one degree less.
        level: of confidence.

    Source: standard error, Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6; logit for AUPRC,
    Boyd, Eng & Page, ECML PKDD 2013, LNCS 8190:451; several seeds, Hillis, Stat Med 2007;26:596.
    """
    if np.isnan(values).any():
        return Estimate(None, None, None)
    value, span = float(values.mean()), bounds[1] - bounds[0]
    defined = resampled[~np.isnan(resampled).any(axis=1)]
    place = (value - bounds[0]) / span
    if len(defined) < (1 - MAX_UNDEFINED_SHARE) * len(resampled) or not 0 < place < 1:
        return Estimate(value, None, None)
    covariance = np.atleast_2d(np.cov(defined, rowvar=False))
    variance, freedom = float(covariance[0, 0]), num_groups - 1.0
    if len(values) > 1:
        variance, of_readers = variance_over_readers(values, covariance)
        freedom = min(of_readers, freedom)
    # Resamples that agree but for rounding have no width.
    if variance < 1e-20:
        return Estimate(value, None, None)
    half_width = float(t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance) / span / (place * (1 - place))
    low, high = (bounds[0] + span * float(expit(logit(place) + sign * half_width)) for sign in (-1, 1))
    return Estimate(value, low, high)
