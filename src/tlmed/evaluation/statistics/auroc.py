"""AUROC by ranks: its variance and interval, and the covariance of several on the same units, with groups or not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm, rankdata, t

from tlmed.evaluation.intervals import Estimate
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import (
    Booleans,
    check_level,
    checked_numbers,
    checked_positives,
    group_index,
    sum_by_group,
)


@dataclass(frozen=True, eq=False)
class AurocCovariance:
    """AUROCs of K scores of the same units.

    Attributes:
        values: (K,) the AUROCs.
        covariance: (K, K) of them over the choice of groups.
    """

    values: Floats
    covariance: Floats


def auroc(is_positive: ArrayLike, scores: ArrayLike) -> float:
    """Return the probability that a positive unit scores above a negative one, ties counted half.

    Raises:
        ValueError: one class, lengths that differ, or scores that are missing.

    Source: the Mann-Whitney statistic from mid-ranks, Bamber, J Math Psychol 1975;12:387.
    """
    numbers = checked_numbers(scores, "scores")
    positives = checked_positives(is_positive, len(numbers))
    return float(placements(positives, numbers[None, :])[0].mean())


def auroc_interval(
    is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> Estimate:
    """Return the AUROC and its interval over the choice of groups.

    On the logit scale, where the standard error is sqrt(V) / (A (1 - A)), V the variance of `auroc_covariance`. The
    quantile is Student's t with Satterthwaite's degrees of freedom for the parts that positives and negatives add to V.
    Where V tells nothing (a perfect separation, or all scores the same) the limits are Newcombe's, with the number of
    groups in each class as the sample sizes; so the width is never zero.

    Args:
        is_positive: (N,) whether each unit is.
        scores: (N,) any numbers; only their order counts.
        groups: (N,) the group of each unit; without, each unit is its own.
        level: of confidence.

    Raises:
        ValueError: one class, fewer than two groups with units of a class, lengths that differ, scores or groups that
            are missing, or a level outside (0, 1).

    Source: logit, Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2; degrees of freedom,
    Satterthwaite, Biometrics Bull 1946;2:110; without variance, method 5 of Newcombe, Stat Med 2006;25:559.
    """
    return auroc_intervals(is_positive, np.asarray(scores)[None, ...], groups, level=level)[0]


def auroc_intervals(
    is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> list[Estimate]:
    """Return the AUROC of each of (K, N) scores of the same units and its interval; see `auroc_interval`."""
    check_level(level)
    sums = _sum_deviations(is_positive, scores, groups)
    parts = np.stack(
        [(sums.positives**2).sum(axis=1) * sums.factors[0], (sums.negatives**2).sum(axis=1) * sums.factors[1]]
    )
    variances = parts.sum(axis=0) + 2 * sums.factors[2] * (sums.positives * sums.negatives).sum(axis=1)
    inner = (variances > 0) & (sums.values > 0) & (sums.values < 1)
    freedom = np.ones(len(inner))
    squares = (parts[:, inner] ** 2 / (np.array(sums.num_holding)[:, None] - 1)).sum(axis=0)
    freedom[inner] = parts[:, inner].sum(axis=0) ** 2 / squares
    quantiles = t.ppf((1 + level) / 2, freedom)
    return [
        _logit_interval(value, quantile * math.sqrt(variance))
        if is_inner
        else _newcombe_interval(value, sums.num_holding, float(norm.ppf((1 + level) / 2)))
        for value, variance, quantile, is_inner in zip(
            sums.values.tolist(), variances.tolist(), quantiles.tolist(), inner.tolist(), strict=True
        )
    ]


def logit_auroc_interval(value: float, variance: float, *, degrees_of_freedom: float, level: float = 0.95) -> Estimate:
    """Return the interval of an AUROC, or a mean of several, from its variance: symmetric on the logit scale.

    Args:
        value: above 0 and below 1.
        variance: above 0.
        degrees_of_freedom: of the variance, for Student's t.
        level: of confidence.

    Raises:
        ValueError: a value, variance or level out of its range.

    Source: Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2.
    """
    check_level(level)
    if not (0 < value < 1 and variance > 0):
        raise ValueError(f"an AUROC of {value:g} with a variance of {variance:g} has no interval on the logit scale")
    return _logit_interval(value, float(t.ppf((1 + level) / 2, degrees_of_freedom)) * math.sqrt(variance))


def auroc_covariance(is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> AurocCovariance:
    """Return the AUROCs of K scores of the same units and their covariance, in O(K N log N).

    With x_g the sum over the M positive units of group g of their placement minus A, y_g the same over the N negative
    ones, and I_1, I_0 and I the number of groups with positives, with negatives and at all:
    V = I_1 / (I_1 - 1) sum x_g^2 / M^2 + I_0 / (I_0 - 1) sum y_g^2 / N^2 + 2 I / (I - 1) sum x_g y_g / (M N),
    and products of two scores for covariances. With one unit a group it is DeLong's.

    Args:
        is_positive: (N,) whether each unit is.
        scores: (K, N) of each unit.
        groups: (N,) the group of each unit; without, each unit is its own.

    Raises:
        ValueError: one class, fewer than two groups with units of a class, lengths that differ, scores or groups that
            are missing.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837; by ranks, Sun & Xu, IEEE Signal Process Lett
    2014;21:1389; with groups, Obuchowski, Biometrics 1997;53:567.
    """
    sums = _sum_deviations(is_positive, scores, groups)
    of_positives, of_negatives, of_both = sums.factors
    covariance = of_positives * sums.positives @ sums.positives.T + of_negatives * sums.negatives @ sums.negatives.T
    shared = of_both * sums.positives @ sums.negatives.T
    return AurocCovariance(sums.values, covariance + shared + shared.T)


def placements(positives: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """Return (K, M) shares of the negatives that each positive unit beats, (K, N) of positives that beat each negative.

    Ties count half; the mean of either is the AUROC. Args are checked ones: (M + N,) booleans, (K, M + N) scores.

    Source: structural components, DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837, equations 4 and 5.
    """
    ranks = rankdata(scores, axis=1)
    above = ranks[:, positives] - rankdata(scores[:, positives], axis=1)
    below = ranks[:, ~positives] - rankdata(scores[:, ~positives], axis=1)
    return above / below.shape[1], 1 - below / above.shape[1]


@dataclass(frozen=True, eq=False)
class _Deviations:
    """By group, how far placements lie from the AUROC.

    Attributes:
        values: (K,) AUROCs.
        positives: (K, G) sums over the positive units of a group, divided by the number of all positive units.
        negatives: (K, G) sums over the negative ones, divided by their number.
        num_holding: groups with a positive unit, with a negative unit.
    """

    values: Floats
    positives: Floats
    negatives: Floats
    num_holding: tuple[int, int]

    @property
    def factors(self) -> tuple[float, float, float]:
        """I / (I - 1) of the groups with positives, of those with negatives, and of all."""
        first, second, third = (count / (count - 1) for count in (*self.num_holding, self.positives.shape[1]))
        return first, second, third


def _sum_deviations(is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None) -> _Deviations:
    numbers = checked_numbers(scores, "scores", num_axes=2)
    positives = checked_positives(is_positive, numbers.shape[1])
    group_of_unit = group_index(groups, len(positives))
    num_holding = len(np.unique(group_of_unit[positives])), len(np.unique(group_of_unit[~positives]))
    if min(num_holding) < 2:
        which = "positive" if num_holding[0] < 2 else "negative"
        raise ValueError(f"all {which} units are of one group; a variance needs two groups or more of each class")
    num_groups = int(group_of_unit.max()) + 1
    of_positives, of_negatives = placements(positives, numbers)
    values = of_positives.mean(axis=1)
    x = sum_by_group(of_positives - values[:, None], group_of_unit[positives], num_groups) / positives.sum()
    y = sum_by_group(of_negatives - values[:, None], group_of_unit[~positives], num_groups) / (~positives).sum()
    return _Deviations(values, x, y, num_holding)


def _logit_interval(value: float, half_width: float) -> Estimate:
    """From the half width on the scale of the AUROC to one on the logit scale."""
    logit, scaled = math.log(value / (1 - value)), half_width / (value * (1 - value))
    return Estimate(value, _expit(logit - scaled), _expit(logit + scaled))


def _newcombe_interval(value: float, sizes: tuple[int, int], quantile: float) -> Estimate:
    """The AUROCs T at which |A - T| = z sqrt(V(T)), V that of Hanley & McNeil with both sizes evened out."""

    def deviation(true_value: float, of: float) -> float:
        exceeding = (1 - true_value) / (2 - true_value) + true_value / (1 + true_value)
        variance = true_value * (1 - true_value) * (1 + (sum(sizes) / 2 - 1) * exceeding) / (sizes[0] * sizes[1])
        return of - true_value - quantile * math.sqrt(variance)

    def lower_limit(of: float) -> float:
        # T = 1 always solves it for A = 1; the limit is the other solution.
        return 0.0 if of == 0 else float(brentq(deviation, 0.0, min(of, 1 - 1e-9), args=(of,), xtol=1e-12))

    return Estimate(value, lower_limit(value), 1 - lower_limit(1 - value))


def _expit(logit: float) -> float:
    # Beyond 700 exp overflows.
    return 1 / (1 + math.exp(min(-logit, 700.0)))
