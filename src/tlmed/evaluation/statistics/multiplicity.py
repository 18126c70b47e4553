"""What several comparisons at once do to p-values and intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import check_level, checked_numbers


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted for their number, in the order given: the chance of any false claim stays below alpha.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below one before it, none exceeds 1.

    Raises:
        ValueError: no p-values, or some outside [0, 1].

    Source: Holm, Scand J Stat 1979;6:65.
    """
    numbers = checked_numbers(p_values, "p_values")
    if numbers.min() < 0 or numbers.max() > 1:
        raise ValueError("p-values must be from 0 to 1")
    order = np.argsort(numbers, kind="stable")
    adjusted = np.empty_like(numbers)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(numbers[order] * np.arange(len(numbers), 0, -1)))
    return adjusted


def bonferroni_level(level: float, num_intervals: int) -> float:
    """Return the level of each of several intervals that together hold at `level`: 1 - (1 - level) / m.

    Raises:
        ValueError: no intervals, or a level outside (0, 1).

    Source: Dunn, J Am Stat Assoc 1961;56:52.
    """
    check_level(level)
    if num_intervals < 1:
        raise ValueError("there must be one interval or more")
    return 1 - (1 - level) / num_intervals
