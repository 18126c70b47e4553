"""Whether probabilities are what they claim to be: of units called 80 % ill, are 80 % ill.

Slope, intercept and Brier score lead. The expected calibration error is above zero even for perfect probabilities, the
more so the fewer the units, so it stands beside the range that perfect ones would give here and never with an interval.

Slope and intercepts are of log-odds, which 0 and 1 do not have. Of decisions in place of probabilities, all of them 0
or 1, they do not exist; a few such probabilities are taken as next to it, see `logistic_fit.log_odds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.intervals import Estimate
from tlmed.evaluation.metrics import Floats, Metric, Scored, Weights, ece
from tlmed.evaluation.statistics.array_checks import group_index
from tlmed.evaluation.statistics.logistic_fit import fit_intercept, fit_slope_and_intercept, is_bounded, log_odds
from tlmed.evaluation.statistics.one_class import checked_one_class, positive_class
from tlmed.evaluation.statistics.proportions import clustered_wilson_interval

_WEIGHTS_AT_ONCE = 2_000_000


def calibration_slope(scored: Scored, weights: Weights) -> Floats:
    """Slope of the logistic regression of the label on the log-odds: 1 is right, below 1 the probabilities are extreme.

    NaN where it does not exist: the log-odds part the classes perfectly, all units are of one class, or all
    probabilities are 0 or 1.

    Raises:
        ValueError: more than two classes.

    Source: Cox, Biometrika 1958;45:562; as a measure, Van Calster et al., BMC Med 2019;17:230.
    """
    return _fit_both(scored, weights, "the calibration slope")[0]


def calibration_intercept(scored: Scored, weights: Weights) -> Floats:
    """Intercept that belongs to the `calibration_slope`, of the same regression; 0 is right where the slope is 1.

    NaN where the slope does not exist.

    Raises:
        ValueError: more than two classes.

    Source: Cox, Biometrika 1958;45:562.
    """
    return _fit_both(scored, weights, "the calibration intercept")[1]


def calibration_in_the_large(scored: Scored, weights: Weights) -> Floats:
    """Intercept when the slope is fixed at 1: 0 is right, above 0 the probabilities are too low on the whole.

    What to add to all log-odds for the mean probability to be the share of positives. NaN with units of one class, and
    where all probabilities are 0 or 1.

    Raises:
        ValueError: more than two classes.

    Source: Van Calster et al., BMC Med 2019;17:230; Steyerberg, Clinical Prediction Models, 2019, chapter 15.
    """
    is_positive, probabilities = positive_class(scored, "calibration-in-the-large")
    if is_bounded(probabilities).all():
        return np.full(len(weights), np.nan)
    return fit_intercept(is_positive, log_odds(probabilities), weights)


CALIBRATION_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "calibration_slope": calibration_slope,
        "calibration_intercept": calibration_intercept,
        "calibration_in_the_large": calibration_in_the_large,
    }
)


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error, and what it would be if the probabilities were right.

    Attributes:
        value: of these units.
        low: 2.5 % quantile of the simulations of perfect calibration.
        high: 97.5 % quantile of them.
        p_value: chance of a value at least as large under perfect calibration.
    """

    value: float
    low: float
    high: float
    p_value: float


def calibration_error(
    scored: Scored, groups: ArrayLike | None = None, *, num_simulations: int = 2000, seed: int = 0
) -> CalibrationError:
    """Return `metrics.ece` beside its range under perfect calibration.

    Each simulation keeps the probabilities and draws anew whether each predicted class is true, with its probability.
    The units of a group share one draw, as if fully alike: the range is then the widest that groups can make it.

    Args:
        scored: the units.
        groups: (N,) the group of each unit; without, each unit is its own.
        num_simulations: of perfect calibration.
        seed: of the simulations.

    Raises:
        ValueError: groups that do not fit, or fewer than 100 simulations.

    Source: consistency resampling, Bröcker & Smith, Weather Forecast 2007;22:651; of the calibration error,
    Vaicenavicius et al., AISTATS 2019; p-value, Davison & Hinkley, Bootstrap Methods, 1997, section 4.2.
    """
    if num_simulations < 100:
        raise ValueError(f"num_simulations must be 100 or more, not {num_simulations}")
    num_units = len(scored.labels)
    group_of_unit = group_index(groups, num_units)
    value = float(ece(scored, np.ones((1, num_units)))[0])
    # Each unit twice, once with its predicted class as the true one and once with another; weights pick which.
    labels = np.concatenate([scored.predicted, (scored.predicted + 1) % scored.num_classes])
    both = Scored(labels, np.tile(scored.probabilities, (2, 1)), scored.positive)
    confidence = scored.probabilities[np.arange(num_units), scored.predicted]
    generator = np.random.default_rng(seed)
    simulated = np.empty(num_simulations)
    step = max(1, _WEIGHTS_AT_ONCE // (2 * num_units))
    for start in range(0, num_simulations, step):
        stop = min(start + step, num_simulations)
        drawn = generator.random((stop - start, int(group_of_unit.max()) + 1))[:, group_of_unit]
        is_true = drawn < confidence
        simulated[start:stop] = ece(both, np.concatenate([is_true, ~is_true], axis=1))
    low, high = np.quantile(simulated, [0.025, 0.975])
    num_as_large = int((simulated >= value - 1e-12).sum())
    return CalibrationError(value, float(low), float(high), (1 + num_as_large) / (1 + num_simulations))


@dataclass(frozen=True)
class CurvePoint:
    """Units of similar probability.

    Attributes:
        mean_probability: what the classifier claimed.
        observed: the share of positives among them and its 95 % interval, None where all units are of one group.
        num_units: in this point.
    """

    mean_probability: float
    observed: Estimate
    num_units: int


def calibration_curve(
    is_positive: ArrayLike, probabilities: ArrayLike, groups: ArrayLike | None = None, *, num_points: int = 10
) -> list[CurvePoint]:
    """Return the points of a reliability diagram, by rising probability, each of about as many units.

    Equal probabilities stay together, so that there may be fewer points than asked for.

    Args:
        is_positive: (N,) whether each unit is.
        probabilities: (N,) of being positive.
        groups: (N,) the group of each unit; without, each unit is its own.
        num_points: at most.

    Raises:
        ValueError: one class, lengths that differ, probabilities outside [0, 1], or no points.

    Source: Murphy & Winkler, J R Stat Soc C 1977;26:41; bins of equal size, Nguyen & O'Connor, EMNLP 2015; interval,
    see `clustered_wilson_interval`.
    """
    positives, numbers = checked_one_class(is_positive, probabilities)
    group_of_unit = group_index(groups, len(numbers))
    if num_points < 1:
        raise ValueError(f"num_points must be 1 or more, not {num_points}")
    inner_edges = np.quantile(numbers, np.linspace(0, 1, num_points + 1))[1:-1]
    point_of_unit = np.searchsorted(inner_edges, numbers)
    points = []
    for point in np.unique(point_of_unit):
        chosen = point_of_unit == point
        observed = _observed_share(positives[chosen], group_of_unit[chosen])
        points.append(CurvePoint(float(numbers[chosen].mean()), observed, int(chosen.sum())))
    return points


def _fit_both(scored: Scored, weights: Weights, what: str) -> tuple[Floats, Floats]:
    is_positive, probabilities = positive_class(scored, what)
    if is_bounded(probabilities).all():
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    return fit_slope_and_intercept(is_positive, log_odds(probabilities), weights)


def _observed_share(positives: np.ndarray, group_of_unit: np.ndarray) -> Estimate:
    if len(positives) > 1 and len(np.unique(group_of_unit)) < 2:
        return Estimate(float(positives.mean()), None, None)
    return clustered_wilson_interval(positives, group_of_unit)
