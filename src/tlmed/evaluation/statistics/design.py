"""What a design can tell before anything is trained: the difference of two arms that it would detect."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scipy.optimize import brentq
from scipy.stats import norm, t

from tlmed.errors import name_some
from tlmed.evaluation.intervals import MIN_FOLDS, MIN_GROUPS_IN_A_CLASS
from tlmed.evaluation.statistics.array_checks import check_level
from tlmed.evaluation.statistics.one_class import check_between_0_and_1

# Measured on the 95 patients of COVID-CT's test split: five arms, three seeds, two presets (docs/results.md), by
# Obuchowski's covariances. Of two arms 0.70 to 0.98, the same whether they share the seed or not; of two seeds of one
# arm 0.89 to 0.98.
CORRELATION_OF_ARMS = 0.82
CORRELATION_OF_SEEDS = 0.95
# By how much seeds differ beyond what other cases would change, as a share of an AUROC's variance over cases: on the
# average of the pairs of arms; -0.05 to 0.19.
TRAINING_VARIANCE = 0.03


def auroc_variance(auroc: float, num_positives: float, num_negatives: float) -> float:
    """Return the variance of an AUROC that is expected of so many independent positives and negatives, on average.

    Raises:
        ValueError: an AUROC outside (0, 1), or less than one of a class.

    Source: Hanley & McNeil, Radiology 1982;143:29, with negative exponential distributions of the scores.
    """
    check_between_0_and_1(auroc, "the AUROC")
    if min(num_positives, num_negatives) < 1:
        raise ValueError(f"{num_positives:g} positives and {num_negatives:g} negatives: there must be some of each")
    return sum(_variance_parts(auroc, num_positives, num_negatives))


def detectable_difference(
    num_positive_groups: int,
    num_negative_groups: int,
    *,
    auroc: float = 0.8,
    correlation: float = CORRELATION_OF_ARMS,
    num_seeds: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """Return the true difference in AUROC of two arms, tested on the same units, that is found with this power.

    Found means a two-sided p-value below alpha. With one seed that is DeLong's test, of these two models; with several
    it is Obuchowski and Rockette's with seeds as random readers, of what training makes of the arms. Many seeds change
    little, for they add no patients.

    Groups count as one unit each, which is cautious where they hold several units that differ. A difference above
    2 (1 - auroc) cannot exist; then the design detects none.

    Args:
        num_positive_groups: in test, that hold a positive unit; with folds, in all.
        num_negative_groups: likewise.
        auroc: half way between the arms.
        correlation: of the two arms' AUROCs over the choice of cases.
        num_seeds: of each arm.
        power: chance of finding it.
        alpha: two-sided.

    Raises:
        ValueError: no groups of a class, no seeds, or a share outside (0, 1).

    Source: variance of the difference, Hanley & McNeil, Radiology 1983;148:839; sample sizes for two correlated areas,
    Obuchowski & McClish, Stat Med 1997;16:1529; with several readers, Hillis, Obuchowski & Berbaum, Acad Radiol
    2011;18:129.
    """
    check_level(1 - alpha)
    check_between_0_and_1(power, "the power")
    check_between_0_and_1(correlation, "the correlation of the arms")
    if num_seeds < 1:
        raise ValueError(f"there must be one seed or more, not {num_seeds}")
    variance = auroc_variance(auroc, num_positive_groups, num_negative_groups)
    if num_seeds == 1:
        of_difference, freedom = 2 * (1 - correlation), math.inf
    else:
        # Mean square of arms x seeds, and what seeds of an arm share with each other and not with the other arm.
        by_seed = 1 - CORRELATION_OF_SEEDS + TRAINING_VARIANCE
        error = by_seed + num_seeds * max(CORRELATION_OF_SEEDS - correlation, 0.0)
        of_difference, freedom = 2 * error / num_seeds, error**2 / (by_seed**2 / (num_seeds - 1))
    return _noncentrality(power, alpha, freedom) * math.sqrt(of_difference * variance)


def detectable_difference_over_folds(
    num_positive_groups: int,
    num_negative_groups: int,
    *,
    num_folds: int,
    num_repeats: int = 1,
    auroc: float = 0.8,
    correlation: float = CORRELATION_OF_ARMS,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """Return the true difference in AUROC of two arms, tested over folds, that is found with this power.

    Found means that 0 lies outside the interval of the mean difference within folds after Nadeau & Bengio, which takes
    its standard error to be sqrt((1 / J + 1 / (k - 1)) s^2) with J - 1 degrees of freedom, of k folds and J = k x
    repeats, s^2 the variance of the difference on the groups of one fold. That is wider than the interval of one test
    set of all groups. By simulation the difference is found in 79 to 97 % of the cases: it is cautious.

    With the few groups of a fold much of an AUROC's variance is that of single pairs, which arms hardly share; the
    correlation is of the rest, and the variances are those of AUROCs that lie the difference apart.

    Infinite where no difference that can exist is found, and where J is below 5, for there is no interval then.

    Args:
        num_positive_groups: in all folds together, that hold a positive unit.
        num_negative_groups: likewise.
        num_folds: of each repeat.
        num_repeats: that part the groups anew; seeds on the same folds are one.
        auroc: half way between the arms.
        correlation: of the two arms' AUROCs over the choice of cases, on many of them.
        power: chance of finding it.
        alpha: two-sided.

    Raises:
        ValueError: fewer groups of a class than folds, fewer than two folds, no repeats, or a share outside (0, 1).

    Source: the test, Nadeau & Bengio, Mach Learn 2003;52:239; variances, Hanley & McNeil, Radiology 1982;143:29, parted
    as a U statistic's into that of single units and of pairs, Hoeffding, Ann Math Stat 1948;19:293.
    """
    check_level(1 - alpha)
    check_between_0_and_1(power, "the power")
    check_between_0_and_1(correlation, "the correlation of the arms")
    if num_folds < 2 or num_repeats < 1:
        raise ValueError(f"{num_folds} folds and {num_repeats} repeats: there must be two folds and one repeat or more")
    check_between_0_and_1(auroc, "the AUROC")
    sizes = num_positive_groups / num_folds, num_negative_groups / num_folds
    if min(sizes) < 1:
        raise ValueError(f"{sizes[0]:g} positives and {sizes[1]:g} negatives a fold: there must be some of each")
    num_splits = num_folds * num_repeats
    largest = 2 * min(auroc, 1 - auroc) - 1e-9
    if num_splits < MIN_FOLDS:
        return math.inf
    factor = _noncentrality(power, alpha, num_splits - 1) * math.sqrt(1 / num_splits + 1 / (num_folds - 1))

    def excess(difference: float) -> float:
        of_first, of_second = (_variance_parts(auroc + half, *sizes) for half in (difference / 2, -difference / 2))
        shared = 2 * correlation * math.sqrt(of_first[0] * of_second[0])
        return difference - factor * math.sqrt(sum(of_first) + sum(of_second) - shared)

    return float(brentq(excess, 0.0, largest)) if excess(largest) > 0 else math.inf


def too_few_groups(num_groups_by_class: Mapping[str, int]) -> str | None:
    """Return the sentence that warns of classes with fewer than 10 groups in test; None where there is none.

    Args:
        num_groups_by_class: how many groups of test hold each class.
    """
    few = {label: number for label, number in num_groups_by_class.items() if number < MIN_GROUPS_IN_A_CLASS}
    if not few:
        return None
    named = name_some(f"{number} of {label}" for label, number in few.items())
    return (
        f"test holds fewer than {MIN_GROUPS_IN_A_CLASS} groups of a class ({named}): too few for an interval or a "
        "comparison; add patients, or, where test was split off, test every group once: `protocol: {split: kfold}`"
    )


def _variance_parts(auroc: float, num_positives: float, num_negatives: float) -> tuple[float, float]:
    """An AUROC's variance by what each unit adds, and by what each pair of units adds beyond that."""
    of_negative = auroc / (2 - auroc) - auroc**2  # two positives share it
    of_positive = 2 * auroc**2 / (1 + auroc) - auroc**2  # two negatives share it
    of_pair = auroc * (1 - auroc) - of_positive - of_negative
    return of_positive / num_positives + of_negative / num_negatives, of_pair / (num_positives * num_negatives)


def _noncentrality(power: float, alpha: float, freedom: float) -> float:
    """The true difference over its standard error at which a two-sided t-test has the power.

    Source: normal approximation of the noncentral t, Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.10.
    """
    quantile = float(t.ppf(1 - alpha / 2, freedom))
    return quantile * (1 - 1 / (4 * freedom)) + float(norm.ppf(power)) * math.sqrt(1 + quantile**2 / (2 * freedom))
