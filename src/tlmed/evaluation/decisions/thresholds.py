"""Operating points: the score from which a unit is called positive, so that sensitivity or specificity reach a target.

The scores must be inner or out-of-fold ones, aggregated to the unit: a threshold that is chosen on test makes the
sensitivity and specificity there too good, and no correction takes that back. A unit is positive when its score is at
least the threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta

from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.array_checks import check_level, checked_numbers, checked_positives, group_index
from tlmed.evaluation.statistics.one_class import check_between_0_and_1

Aim = Literal["sensitivity", "specificity"]
_AIMS: tuple[Aim, ...] = ("sensitivity", "specificity")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what it came to on the scores it was chosen on.

    Attributes:
        threshold: a unit is positive when its score is at least this.
        aim: what the target is of.
        target: that the aim had to reach.
        assured: whether its lower limit had to reach it, not only its value.
        level: one-sided confidence of the lower limit.
        lower_limit: of the aim.
        sensitivity: on these scores.
        specificity: on these scores.
        num_positives: units.
        num_negatives: units.
    """

    threshold: float
    aim: Aim
    target: float
    assured: bool
    level: float
    lower_limit: float
    sensitivity: float
    specificity: float
    num_positives: int
    num_negatives: int


def aim(
    is_positive: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    of: Aim,
    target: float,
    level: float = 0.95,
) -> OperatingPoint:
    """Return the threshold at which sensitivity (or specificity) on these scores just reaches the target.

    In new patients it falls short about every second time; `assure` guards against that. Of all thresholds that reach
    the target it is the one with the best of the other: the highest for sensitivity, the lowest for specificity. It
    lies half way between two scores, so that rounding does not decide.

    Args:
        is_positive: (N,) whether each unit is.
        scores: (N,) inner or out-of-fold ones, never those of test; higher means more likely positive.
        groups: (N,) the group of each unit; without, each unit is its own.
        of: what the target is of, sensitivity or specificity.
        target: to be reached.
        level: one-sided confidence of the lower limit that is told beside.

    Raises:
        ValueError: one class, lengths that differ, scores that are missing or all the same, a target or level outside
            (0, 1), or a target that only calling all units positive (or none) reaches.
    """
    return _choose(is_positive, scores, groups, of, target, level, assured=False)


def assure(
    is_positive: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    of: Aim,
    target: float,
    level: float = 0.95,
) -> OperatingPoint:
    """Return the threshold at which the lower one-sided limit of sensitivity (or specificity) reaches the target.

    Where each unit is its own group, at least 95 of 100 thresholds that are chosen so reach the target in the
    population that the scores come from, whatever the scores' distribution: a threshold at the k-th lowest of n
    positives has a sensitivity that follows Beta(n - k + 1, k), and Clopper and Pearson's lower limit is the 5 %
    quantile of that, so choosing the threshold by the same scores is accounted for. With groups the n units count as
    n^2 / sum n_g^2, which is what they are worth if all units of a group are alike; then the limit is an approximation,
    on the safe side where they are less alike. It holds for the model whose scores these are.

    Args and choice among thresholds are those of `aim`.

    Raises:
        ValueError: as `aim`, or too few units of the class: "needs at least n positives".

    Source: tolerance limits, Wilks, Ann Math Stat 1941;12:91; Clopper & Pearson, Biometrika 1934;26:404; with the
    effective sample size, Korn & Graubard, Surv Methodol 1998;24:193; n^2 / sum n_g^2, Kish, Survey Sampling, 1965.
    """
    return _choose(is_positive, scores, groups, of, target, level, assured=True)


def num_needed_to_assure(target: float, *, level: float = 0.95) -> int:
    """Return the least number of independent units of a class that can assure a target: all of them must be right.

    The least n with target^n <= 1 - level; 59 for 95 % at 95 % confidence.

    Raises:
        ValueError: a target or level outside (0, 1).

    Source: Wilks, Ann Math Stat 1941;12:91.
    """
    check_between_0_and_1(target, "the target")
    check_level(level)
    num_units = max(1, math.floor(math.log(1 - level) / math.log(target)) - 1)
    while target**num_units > 1 - level:
        num_units += 1
    return num_units


def _choose(
    is_positive: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None,
    of: Aim,
    target: float,
    level: float,
    *,
    assured: bool,
) -> OperatingPoint:
    numbers = checked_numbers(scores, "scores")
    positives = checked_positives(is_positive, len(numbers))
    if of not in _AIMS:
        raise ValueError(f"a threshold is for {' or '.join(_AIMS)}, not for {of!r}")
    check_between_0_and_1(target, f"the target of {of}")
    check_level(level)
    steps = np.unique(numbers)
    if len(steps) < 2:
        raise ValueError("all scores are the same, so no threshold parts the units")
    # Between neighbouring scores; calling all units positive, or none, is no candidate.
    num_missed = _num_below(steps[1:], numbers[positives])
    sensitivities = (positives.sum() - num_missed) / positives.sum()
    specificities = _num_below(steps[1:], numbers[~positives]) / (~positives).sum()
    of_class = positives if of == "sensitivity" else ~positives
    effective = _effective_number(group_index(groups, len(numbers))[of_class])
    if assured:
        _check_enough(of, target, level, int(of_class.sum()), effective)
    reached = sensitivities if of == "sensitivity" else specificities
    limits = _lower_limits(reached, effective, level)
    enough = np.flatnonzero((limits if assured else reached) >= target)
    if not len(enough):
        raise ValueError(_unreachable(of, target, level if assured else None))
    chosen = enough[-1] if of == "sensitivity" else enough[0]
    return OperatingPoint(
        threshold=_half_way(float(steps[chosen]), float(steps[chosen + 1])),
        aim=of,
        target=target,
        assured=assured,
        level=level,
        lower_limit=float(limits[chosen]),
        sensitivity=float(sensitivities[chosen]),
        specificity=float(specificities[chosen]),
        num_positives=int(positives.sum()),
        num_negatives=int((~positives).sum()),
    )


def _num_below(thresholds: Floats, scores: Floats) -> Integers:
    return np.searchsorted(np.sort(scores), thresholds, side="left")


def _effective_number(group_of_unit: Integers) -> float:
    """As how many independent units these count if all units of a group are alike."""
    sizes = np.unique(group_of_unit, return_counts=True)[1]
    return float(len(group_of_unit) ** 2 / (sizes**2).sum())


def _lower_limits(shares: Floats, num_units: float, level: float) -> Floats:
    """Clopper and Pearson's, one-sided, of shares of a number that need not be whole."""
    successes = shares * num_units
    some = successes > 0
    limits = np.zeros(len(shares))
    limits[some] = beta.ppf(1 - level, successes[some], num_units - successes[some] + 1)
    return limits


def _check_enough(of: Aim, target: float, level: float, num_units: int, effective: float) -> None:
    if target**effective <= 1 - level:
        return
    name = "positives" if of == "sensitivity" else "negatives"
    counted = f", which count as {effective:.3g} because some share a group" if effective < num_units else ""
    raise ValueError(
        f"to assure a {of} of {target:g} with {level:.0%} confidence needs at least "
        f"{num_needed_to_assure(target, level=level)} {name}, each of its own group; here are {num_units}{counted}"
    )


def _unreachable(of: Aim, target: float, level: float | None) -> str:
    what = f"a {of} of {target:g}" if level is None else f"a {of} of {target:g} with {level:.0%} confidence"
    trivial = "calling every unit positive" if of == "sensitivity" else "calling no unit positive"
    return f"only {trivial} reaches {what} on these scores; lower the target"


def _half_way(below: float, above: float) -> float:
    """Above the one, at most the other."""
    middle = below + (above - below) / 2
    return middle if middle > below else above
