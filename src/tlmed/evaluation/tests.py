"""Tests of two arms on the same units: decisions, scores, and figures of repeated splits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, chi2, norm, t

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import (
    Booleans,
    check_length,
    check_level,
    checked_booleans,
    checked_numbers,
    group_index,
)
from tlmed.evaluation.statistics.auroc import auroc_covariance


@dataclass(frozen=True)
class Comparison:
    """A difference of two arms, the first minus the second, and its test.

    Attributes:
        difference: of the figure that is compared.
        low: lower limit, None where the test gives none.
        high: upper limit, None together with `low`.
        statistic: what `method` refers to its distribution.
        degrees_of_freedom: of the statistic; infinite where it is normal.
        p_value: two-sided.
        method: its name, which says "approximate" where it is.
    """

    difference: float
    low: float | None
    high: float | None
    statistic: float
    degrees_of_freedom: float
    p_value: float
    method: str


@dataclass(frozen=True)
class McNemar:
    """Which of two arms is right where only one is.

    Attributes:
        only_first: units on which the first arm alone is right.
        only_second: units on which the second alone is right.
        exact_p: never below its level, but cautious.
        mid_p: less cautious, close to its level.
    """

    only_first: int
    only_second: int
    exact_p: float
    mid_p: float


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike, groups: ArrayLike | None = None) -> McNemar:
    """Test whether one arm is right more often than the other, on one decision a group and arm.

    Of the n units on which one arm alone is right, as many are the first's as heads in n throws of a coin. The exact
    two-sided p is twice the smaller tail, at most 1; the mid-p counts the observed number half: p - f(observed), and
    1 - f / 2 where both are alike, f the binomial probability. Without such units both are 1.

    Args:
        first_correct: (N,) whether the first arm is right.
        second_correct: (N,) whether the second is.
        groups: (N,) only to make sure that none has several units; for these see `clustered_mcnemar`.

    Raises:
        ValueError: lengths that differ, or a group with several units.

    Source: McNemar, Psychometrika 1947;12:153; mid-p, Fagerland, Lydersen & Laake, BMC Med Res Methodol 2013;13:91.
    """
    first, second = _checked_decisions(first_correct, second_correct)
    if group_index(groups, len(first)).max() + 1 < len(first):
        raise ValueError("some groups have several units, which are not independent; use the clustered McNemar test")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    smaller, num_discordant = min(only_first, only_second), only_first + only_second
    probability = float(binom.pmf(smaller, num_discordant, 0.5))
    exact = min(1.0, 2 * float(binom.cdf(smaller, num_discordant, 0.5)))
    mid = 1 - probability / 2 if only_first == only_second else exact - probability
    if num_discordant == 0:
        exact = mid = 1.0
    return McNemar(only_first, only_second, exact, mid)


def clustered_mcnemar(
    first_correct: ArrayLike, second_correct: ArrayLike, groups: ArrayLike, *, level: float = 0.95
) -> Comparison:
    """Compare the shares of all units that two arms are right on, where the units of a group are alike.

    With d_g the units of group g on which the first alone is right minus those on which the second alone is, the
    statistic is (G - 1) / G (sum d_g)^2 / sum d_g^2, chi-square with one degree of freedom. The limits are those of a
    ratio of totals over groups, without the hypothesis. The statistic needs some groups in which the arms differ; with
    fewer than ten, prefer `permutation.permutation_test`.

    Args:
        first_correct: (N,) whether the first arm is right.
        second_correct: (N,) whether the second is.
        groups: (N,) the group of each unit.
        level: of confidence.

    Raises:
        ValueError: lengths that differ, units without a group, fewer than two groups, or arms that differ on no unit.

    Source: Obuchowski, Stat Med 1998;17:1495, in the form of Yang, Sun & Hardin, Biom J 2010;52:638; limits, ratio
    estimator, Cochran, Sampling Techniques, 1977, section 9A.1.
    """
    check_level(level)
    first, second = _checked_decisions(first_correct, second_correct)
    group_of_unit = group_index(groups, len(first))
    sizes = np.bincount(group_of_unit)
    by_group = np.bincount(group_of_unit, weights=first.astype(np.float64) - second)
    num_groups, num_units = len(sizes), len(first)
    if num_groups < 2:
        raise ValueError("the clustered McNemar test needs two groups or more")
    if not by_group.any():
        raise ValueError("the arms are right on equally many units of every group, so there is nothing to test")
    statistic = float((num_groups - 1) / num_groups * by_group.sum() ** 2 / (by_group**2).sum())
    difference = float(by_group.sum() / num_units)
    squares = ((by_group - sizes * difference) ** 2).sum()
    error = math.sqrt(num_groups / (num_groups - 1) * squares) / num_units
    half_width = float(norm.ppf((1 + level) / 2)) * error
    low, high = (difference - half_width, difference + half_width) if error > 0 else (None, None)
    p_value = float(chi2.sf(statistic, 1))
    return Comparison(difference, low, high, statistic, 1.0, p_value, "clustered McNemar test (Obuchowski 1998)")


def compare_aurocs(
    is_positive: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    folds: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """Compare the AUROCs of two fixed models on the same held-out units.

    z = (A_1 - A_2) / sqrt(V_11 + V_22 - 2 V_12), with the covariance of `auroc_covariance`: DeLong's, and Obuchowski's
    where groups have several units.

    Args:
        is_positive: (N,) whether each unit is.
        first: (N,) scores of the first model.
        second: (N,) scores of the second.
        groups: (N,) the group of each unit; without, each unit is its own.
        folds: (N,) the fold of each unit, where there are folds.
        level: of confidence.

    Raises:
        ValueError: scores of several folds, AUROCs that differ without variance, and what `auroc_covariance` refuses.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837; Obuchowski, Biometrics 1997;53:567.
    """
    check_level(level)
    if folds is not None and group_index(folds, np.size(is_positive)).max() > 0:
        raise ValueError(
            "the scores are of several folds, each of another model with a scale of its own: pooled, they are no one "
            "classifier's. Compute AUROC within each fold and average, and compare by the corrected resampled t test"
        )
    check_length(np.size(second), np.size(first), "second")
    both = auroc_covariance(is_positive, np.stack([np.asarray(first), np.asarray(second)]), groups)
    difference = float(both.values[0] - both.values[1])
    variance = float(both.covariance[0, 0] + both.covariance[1, 1] - 2 * both.covariance[0, 1])
    repeated = group_index(groups, np.size(first)).max() + 1 < np.size(first)
    method = "clustered DeLong test (Obuchowski 1997)" if repeated else "DeLong test"
    if variance <= 1e-15:
        if abs(difference) > 1e-12:
            raise ValueError("the AUROCs differ, but leave no variance to test it by; use the permutation test")
        return Comparison(0.0, None, None, 0.0, math.inf, 1.0, method)
    z = difference / math.sqrt(variance)
    half_width = float(norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    p_value = 2 * float(norm.sf(abs(z)))
    return Comparison(difference, difference - half_width, difference + half_width, z, math.inf, p_value, method)


def corrected_resampled_t_test(
    differences: ArrayLike, *, num_train: float, num_test: float, level: float = 0.95
) -> Comparison:
    """Compare two arms over repeated splits of the same data, such as repeats of k folds.

    t = mean / sqrt((1 / J + n_test / n_train) s^2) with J - 1 degrees of freedom, s^2 the variance of the J
    differences. The second term stands for what they share by training on overlapping data; it is a rule of thumb, so
    the result is approximate and its method says so.

    Args:
        differences: (J,) first arm minus second on each split, for k folds and r repeats k r of them.
        num_train: units or groups in training, on each split or on average.
        num_test: in test.
        level: of confidence.

    Raises:
        ValueError: fewer than two splits, splits that do not differ, no units, or differences that are missing.

    Source: Nadeau & Bengio, Mach Learn 2003;52:239; for repeated folds, Bouckaert & Frank, PAKDD 2004, LNCS 3056:3.
    """
    check_level(level)
    numbers = checked_numbers(differences, "differences")
    error = _resampled_error(numbers, num_train, num_test)
    difference, degrees_of_freedom = float(numbers.mean()), len(numbers) - 1
    half_width = float(t.ppf((1 + level) / 2, degrees_of_freedom)) * error
    return Comparison(
        difference,
        difference - half_width,
        difference + half_width,
        difference / error,
        degrees_of_freedom,
        2 * float(t.sf(abs(difference) / error, degrees_of_freedom)),
        "corrected resampled t test (Nadeau & Bengio 2003), approximate",
    )


def corrected_half_width(figures: ArrayLike, *, num_train: float, num_test: float, level: float = 0.95) -> float:
    """Return the half width of the approximate interval of one arm's mean figure over repeated splits.

    t sqrt((1 / J + n_test / n_train) s^2) with J - 1 degrees of freedom, as `corrected_resampled_t_test` has it.

    Args:
        figures: (J,) of each split, for k folds and r repeats k r of them.
        num_train: units or groups in training, on each split or on average.
        num_test: in test.
        level: of confidence.

    Raises:
        ValueError: as `corrected_resampled_t_test`.

    Source: Nadeau & Bengio, Mach Learn 2003;52:239; for repeated folds, Bouckaert & Frank, PAKDD 2004, LNCS 3056:3.
    """
    check_level(level)
    numbers = checked_numbers(figures, "figures")
    return float(t.ppf((1 + level) / 2, len(numbers) - 1)) * _resampled_error(numbers, num_train, num_test)


def splits_vary(figures: Floats) -> bool:
    """Return whether figures of splits differ by more than rounding, so that there is a variance to go by."""
    return not np.allclose(figures, figures[0], rtol=1e-12, atol=1e-15)


def _resampled_error(figures: Floats, num_train: float, num_test: float) -> float:
    """Standard error of the mean of (J,) figures of splits that share training data."""
    if min(num_train, num_test) < 1:
        raise ValueError(f"each split needs units to train and to test on, not {num_train} and {num_test}")
    if len(figures) < 2:
        raise ValueError("one split does not show how splits differ; give the figures of two or more")
    if not splits_vary(figures):
        raise ValueError("all splits give the same, so there is no variance to test by")
    return math.sqrt((1 / len(figures) + num_test / num_train) * float(figures.var(ddof=1)))


def _checked_decisions(first_correct: ArrayLike, second_correct: ArrayLike) -> tuple[Booleans, Booleans]:
    first = checked_booleans(first_correct, "first_correct")
    second = checked_booleans(second_correct, "second_correct")
    check_length(len(second), len(first), "second_correct")
    return first, second
