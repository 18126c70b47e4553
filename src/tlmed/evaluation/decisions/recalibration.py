"""Maps that make the probabilities of a class right, fitted on scores of units that trained nothing.

The two-parameter map is the default. It shifts and stretches the log-odds, so it keeps the order of units. Fit it on
inner or out-of-fold scores, after aggregation to the unit; never on test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression
from scipy.special import expit

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import Booleans
from tlmed.evaluation.statistics.logistic_fit import fit_intercept, fit_slope_and_intercept, log_odds
from tlmed.evaluation.statistics.one_class import checked_one_class, checked_probabilities_of_one_class

# Of the rarer class; below, the slope of local data is too uncertain to be better than that of the model.
MIN_UNITS_FOR_LOCAL_SLOPE = 100
# Isotonic regression is a step at nearly every unit: with fewer it fits chance.
MIN_UNITS_FOR_ISOTONIC = 1000


@dataclass(frozen=True)
class PlattScaling:
    """Two-parameter recalibration: new log-odds = slope * log-odds + intercept.

    Attributes:
        slope: 1 where the intercept alone was fitted.
        intercept: added to the log-odds.
        prevalence: share of positives among the units it was fitted on: what it is calibrated to.
        num_units: that it was fitted on.
        intercept_only: whether the slope was fixed.
    """

    slope: float
    intercept: float
    prevalence: float
    num_units: int
    intercept_only: bool

    def apply(self, probabilities: ArrayLike) -> Floats:
        """Return the recalibrated (N,) probabilities of the positive class.

        Only those nearer to 0 or 1 than 2^-25 become tied, for `log_odds` bounds them.

        Raises:
            ValueError: probabilities that are missing or outside [0, 1].
        """
        return np.asarray(
            expit(self.slope * log_odds(checked_probabilities_of_one_class(probabilities)) + self.intercept)
        )


def fit_platt(is_positive: ArrayLike, probabilities: ArrayLike) -> PlattScaling:
    """Fit slope and intercept by unpenalised logistic regression of the label on the log-odds.

    Args:
        is_positive: (N,) whether each unit is.
        probabilities: (N,) of being positive.

    Raises:
        ValueError: one class, lengths that differ, probabilities outside [0, 1]; or no map exists that keeps the order
            of units: the classes are perfectly separated, or negative units score higher than positive ones on the
            whole. `fit_platt_intercept` is what can still be fitted then.

    Source: Platt, in: Advances in Large Margin Classifiers, 2000, p. 61, here without its smoothed targets and on
    log-odds, which makes it the logistic recalibration of Cox, Biometrika 1958;45:562.
    """
    positives, numbers = checked_one_class(is_positive, probabilities)
    slopes, intercepts = fit_slope_and_intercept(positives, log_odds(numbers), np.ones((1, len(numbers))))
    slope, intercept = float(slopes[0]), float(intercepts[0])
    if np.isnan(slope):
        raise ValueError(
            "the scores separate the classes perfectly or not at all, so no slope fits best; fit the intercept alone, "
            "or on more units"
        )
    if slope <= 0:
        raise ValueError(
            f"negative units score higher than positive ones on the whole (slope {slope:.3g}), so recalibration would "
            "turn their order around; check the labels and which class is the positive one"
        )
    return PlattScaling(slope, intercept, float(positives.mean()), len(numbers), intercept_only=False)


def fit_platt_intercept(is_positive: ArrayLike, probabilities: ArrayLike) -> PlattScaling:
    """Fit the intercept alone, the slope being 1: the mean probability becomes the share of positives.

    Args:
        is_positive: (N,) whether each unit is.
        probabilities: (N,) of being positive.

    Raises:
        ValueError: one class, lengths that differ, or probabilities outside [0, 1].

    Source: updating method 1 of Steyerberg et al., Stat Med 2004;23:2567.
    """
    positives, numbers = checked_one_class(is_positive, probabilities)
    intercept = fit_intercept(positives, log_odds(numbers), np.ones((1, len(numbers))))[0]
    return PlattScaling(1.0, float(intercept), float(positives.mean()), len(numbers), intercept_only=True)


def fit_platt_locally(is_positive: ArrayLike, probabilities: ArrayLike) -> PlattScaling:
    """Fit a delivered model to local data: the intercept alone below 100 units in the rarer class, else both.

    Args and refusals are those of `fit_platt` and `fit_platt_intercept`.

    Source: that small local samples bear an intercept alone, Steyerberg et al., Stat Med 2004;23:2567, and Vergouwe et
    al., Stat Med 2017;36:4529; 100 of the rarer class as the least for validation, Vergouwe et al., J Clin Epidemiol
    2005;58:475.
    """
    positives, numbers = checked_one_class(is_positive, probabilities)
    fit = fit_platt_intercept if _num_units_of_rarer_class(positives) < MIN_UNITS_FOR_LOCAL_SLOPE else fit_platt
    return fit(positives, numbers)


@dataclass(frozen=True)
class IsotonicMap:
    """Recalibration by a rising curve, straight between its knots and level beyond them.

    Attributes:
        probabilities: of the knots, rising.
        shares: of positives at the knots, never falling; may be 0 and 1.
        prevalence: share of positives among the units it was fitted on: what it is calibrated to.
        num_units: that it was fitted on.
    """

    probabilities: tuple[float, ...]
    shares: tuple[float, ...]
    prevalence: float
    num_units: int

    def apply(self, probabilities: ArrayLike) -> Floats:
        """Return the recalibrated (N,) probabilities of the positive class; units may become tied.

        Raises:
            ValueError: probabilities that are missing or outside [0, 1].
        """
        numbers = checked_probabilities_of_one_class(probabilities)
        return np.asarray(np.interp(numbers, self.probabilities, self.shares))


def fit_isotonic(is_positive: ArrayLike, probabilities: ArrayLike) -> IsotonicMap:
    """Fit the rising curve of least squared error.

    Args:
        is_positive: (N,) whether each unit is.
        probabilities: (N,) of being positive.

    Raises:
        ValueError: fewer than 1,000 units, one class, lengths that differ, or probabilities outside [0, 1].

    Source: Zadrozny & Elkan, KDD 2002, p. 694; 1,000 units, Niculescu-Mizil & Caruana, ICML 2005.
    """
    positives, numbers = checked_one_class(is_positive, probabilities)
    if len(numbers) < MIN_UNITS_FOR_ISOTONIC:
        raise ValueError(
            f"isotonic recalibration needs at least {MIN_UNITS_FOR_ISOTONIC:,} units, and here are {len(numbers):,}; "
            "take the two-parameter one"
        )
    knots, knot_of_unit, num_at_knot = np.unique(numbers, return_inverse=True, return_counts=True)
    shares = np.bincount(knot_of_unit, weights=positives) / num_at_knot
    rising = isotonic_regression(shares, weights=num_at_knot).x
    # Between equal neighbours a knot says nothing.
    inside = (rising[1:-1] == rising[:-2]) & (rising[1:-1] == rising[2:])
    kept = np.concatenate([[True], ~inside, [True]])[: len(knots)]
    return IsotonicMap(tuple(knots[kept].tolist()), tuple(rising[kept].tolist()), float(positives.mean()), len(numbers))


def _num_units_of_rarer_class(positives: Booleans) -> int:
    return int(min(positives.sum(), (~positives).sum()))
