"""Confidence intervals of shares, such as sensitivity and accuracy, without and with groups; never of zero width."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from tlmed.evaluation.intervals import Estimate
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import check_length, check_level, checked_booleans, group_index


def wilson_interval(num_successes: int, num_trials: int, *, level: float = 0.95) -> Estimate:
    """Return a share and its interval where the trials are independent.

    The limits are the shares P at which |p - P| = z sqrt(P (1 - P) / n).

    Raises:
        ValueError: no trials, more successes than trials, or a level outside (0, 1).

    Source: Wilson, J Am Stat Assoc 1927;22:209; recommended by Newcombe, Stat Med 1998;17:857.
    """
    check_level(level)
    if num_trials < 1 or not 0 <= num_successes <= num_trials:
        raise ValueError(
            f"{num_successes} successes in {num_trials} trials: there must be trials, and no more successes"
        )
    share = num_successes / num_trials
    low, high = _score_limits(np.array([share]), float(num_trials), float(norm.ppf((1 + level) / 2)))
    return Estimate(share, float(low[0]), float(high[0]))


def clustered_wilson_interval(successes: ArrayLike, groups: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Return the share of successes among all units and its interval where the units of a group are alike.

    Wilson's interval with n / D in place of the number of units n, D the design effect (see `design_effect`), and with
    the quantile of Student's t with G - 1 degrees of freedom in place of the normal one, because D is itself estimated
    from G groups. With one unit a group it is Wilson's interval itself.

    Args:
        successes: (N,) whether each unit is one.
        groups: (N,) the group of each unit.
        level: of confidence.

    Raises:
        ValueError: lengths that differ, units without a group, fewer than two groups, or a level outside (0, 1).

    Source: effective sample size and its degrees of freedom, Korn & Graubard, Surv Methodol 1998;24:193; in Wilson's
    interval, Franco, Little, Louis & Slud, J Surv Stat Methodol 2019;7:334.
    """
    counts, sizes = _counts_and_sizes(successes, groups)
    low, high = clustered_wilson_limits(counts[None, :], sizes, level=level)
    return Estimate(float(counts.sum() / sizes.sum()), float(low[0]), float(high[0]))


def clustered_wilson_limits(counts: Floats, sizes: Floats, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the (K,) lower and upper limits of K shares in the same groups; see `clustered_wilson_interval`.

    Args:
        counts: (K, G) successes in each group.
        sizes: (G,) units of each group.
        level: of confidence.

    Raises:
        ValueError: fewer than two groups with several units, or a level outside (0, 1).
    """
    check_level(level)
    num_units, num_groups = sizes.sum(), len(sizes)
    share = counts.sum(axis=1) / num_units
    probability = (1 + level) / 2
    if num_groups == num_units:
        return _score_limits(share, num_units, float(norm.ppf(probability)))
    if num_groups < 2:
        raise ValueError("an interval needs two groups or more: one group does not show how groups differ")
    return _score_limits(share, num_units / _design_effects(counts, sizes), float(t.ppf(probability, num_groups - 1)))


def effective_wilson_interval(
    share: float, num_trials: float, *, degrees_of_freedom: float, level: float = 0.95
) -> Estimate:
    """Return Wilson's interval of a share whose variance P (1 - P) / n is as if from n trials, n not whole.

    Args:
        share: from 0 to 1.
        num_trials: n, the share's P (1 - P) divided by its estimated variance.
        degrees_of_freedom: of that variance, for Student's t in place of the normal quantile.
        level: of confidence.

    Raises:
        ValueError: no trials, a share outside [0, 1], or a level outside (0, 1).

    Source: Korn & Graubard, Surv Methodol 1998;24:193; in Wilson's interval, Franco, Little, Louis & Slud, J Surv Stat
    Methodol 2019;7:334.
    """
    check_level(level)
    if not num_trials > 0 or not 0 <= share <= 1:
        raise ValueError(f"a share of {share:g} in {num_trials:g} trials: it must be from 0 to 1, and trials above 0")
    low, high = _score_limits(np.array([share]), num_trials, float(t.ppf((1 + level) / 2, degrees_of_freedom)))
    return Estimate(share, float(low[0]), float(high[0]))


def design_effect(successes: ArrayLike, groups: ArrayLike) -> float:
    """Return how many times the variance of a share is that of as many independent units.

    The variance is that of a ratio of totals over groups, G / (G - 1) sum_g (x_g - n_g p)^2 / n^2 with x_g successes
    among the n_g units of group g; independent units have p (1 - p) / (n - 1). The quotient is kept between 1 (units of
    a group no more alike than others) and sum_g n_g^2 / n (all units of a group the same), which is also the answer
    where all units are successes or none are, for these tell nothing about likeness.

    Raises:
        ValueError: lengths that differ, or units without a group.

    Source: ratio estimator, Cochran, Sampling Techniques, 1977, section 9A.1; design effect of clustered binary data,
    Rao & Scott, Biometrics 1992;48:577; its upper end, Kish, Survey Sampling, 1965, an intra-group correlation of 1.
    """
    counts, sizes = _counts_and_sizes(successes, groups)
    return float(_design_effects(counts[None, :], sizes)[0])


def _counts_and_sizes(successes: ArrayLike, groups: ArrayLike) -> tuple[Floats, Floats]:
    """(G,) successes and (G,) units of each group."""
    succeeded = checked_booleans(successes, "successes")
    check_length(np.size(groups), len(succeeded), "groups")
    group_of_unit = group_index(groups, len(succeeded))
    counts = np.bincount(group_of_unit[succeeded], minlength=int(group_of_unit.max()) + 1)
    return counts.astype(np.float64), np.bincount(group_of_unit).astype(np.float64)


def _design_effects(counts: Floats, sizes: Floats) -> Floats:
    """(K, G) successes and (G,) units -> (K,)."""
    num_units, num_groups = sizes.sum(), len(sizes)
    largest = (sizes**2).sum() / num_units
    share = counts.sum(axis=1) / num_units
    tells = (share > 0) & (share < 1) & (num_groups > 1)
    residuals = counts - sizes * share[:, None]
    variance = num_groups / max(num_groups - 1, 1) * (residuals**2).sum(axis=1) / num_units**2
    independent = np.where(tells, share * (1 - share), 1.0) / max(num_units - 1, 1)
    return np.asarray(np.where(tells, np.clip(variance / independent, 1.0, largest), largest))


def _score_limits(share: Floats, num_trials: Floats | float, quantile: float) -> tuple[Floats, Floats]:
    squared = quantile**2
    centre = (share + squared / (2 * num_trials)) / (1 + squared / num_trials)
    spread = np.sqrt(share * (1 - share) / num_trials + squared / (4 * num_trials**2))
    half_width = quantile * spread / (1 + squared / num_trials)
    # At 0 and 1 a limit is the share itself, but for rounding.
    low = np.where(share == 0, 0.0, np.maximum(centre - half_width, 0.0))
    high = np.where(share == 1, 1.0, np.minimum(centre + half_width, 1.0))
    return np.asarray(low), np.asarray(high)
