"""Whether two arms are as good as the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import t


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference is smaller than matters.

    Attributes:
        p_value: the larger of the two one-sided ones.
        low: lower limit of the 1 - 2 alpha interval.
        high: upper limit of it.
        equivalent: whether the p-value is at most alpha, which is when the interval lies within the margin.
    """

    p_value: float
    low: float
    high: float
    equivalent: bool


def two_one_sided_tests(
    difference: float,
    standard_error: float,
    *,
    margin: float,
    degrees_of_freedom: float = math.inf,
    alpha: float = 0.05,
) -> Equivalence:
    """Test whether a difference lies within a margin on both sides; that it is not significant does not show it.

    Two one-sided t tests, of difference > -margin and of difference < margin, must both succeed at alpha.

    Args:
        difference: of the two arms.
        standard_error: of the difference.
        margin: the smallest difference that matters, set beforehand.
        degrees_of_freedom: of the standard error; infinite for a normal one.
        alpha: of each test.

    Raises:
        ValueError: margin, standard error or degrees of freedom not above 0, alpha outside (0, 0.5), or numbers that
            are missing.

    Source: Schuirmann, J Pharmacokinet Biopharm 1987;15:657.
    """
    if not (math.isfinite(difference) and 0 < standard_error < math.inf and 0 < margin < math.inf):
        raise ValueError("difference must be a number; standard error and margin must be above 0")
    if not degrees_of_freedom > 0 or not 0 < alpha < 0.5:
        raise ValueError("degrees of freedom must be above 0, and alpha between 0 and 0.5")
    above = float(t.sf((difference + margin) / standard_error, degrees_of_freedom))
    below = float(t.cdf((difference - margin) / standard_error, degrees_of_freedom))
    half_width = float(t.ppf(1 - alpha, degrees_of_freedom)) * standard_error
    p_value = max(above, below)
    return Equivalence(p_value, difference - half_width, difference + half_width, p_value <= alpha)
