"""Whether acting on the probabilities does more good than treating everyone or no one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.metrics import Floats, Metric, Scored, Weights
from tlmed.evaluation.statistics.array_checks import check_length, checked_numbers
from tlmed.evaluation.statistics.one_class import check_between_0_and_1, positive_class, score_one_class

_DEFAULT_THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit, in true positives a unit, by the probability from which one would act.

    Attributes:
        thresholds: (T,) probabilities; p says that one missed case weighs as much as (1 - p) / p needless treatments.
        model: (T,) of treating units whose probability is at least the threshold.
        treat_all: (T,) of treating every unit.
        treat_none: (T,) zeros.
    """

    thresholds: Floats
    model: Floats
    treat_all: Floats
    treat_none: Floats


def decision_curve(
    is_positive: ArrayLike,
    probabilities: ArrayLike,
    thresholds: ArrayLike = _DEFAULT_THRESHOLDS,
    weights: ArrayLike | None = None,
) -> DecisionCurve:
    """Return the net benefit of the model, of treating all and of treating none.

    Args:
        is_positive: (N,) whether each unit is.
        probabilities: (N,) of being positive, calibrated.
        thresholds: (T,) probabilities; by default 0.01 to 0.99.
        weights: (N,) how often each unit counts, as `prevalence.weights_at_prevalence` gives for another prevalence; by
            default once.

    Raises:
        ValueError: one class, lengths that differ, probabilities outside [0, 1], thresholds outside (0, 1), or weights
            that are negative or all zero.

    Source: Vickers & Elkin, Med Decis Making 2006;26:565.
    """
    scored = score_one_class(is_positive, probabilities)
    num_units = len(scored.labels)
    counts = np.ones(num_units) if weights is None else checked_numbers(weights, "weights")
    check_length(len(counts), num_units, "weights")
    if (counts < 0).any() or not counts.any():
        raise ValueError("weights must not be negative, and some must be above 0")
    at = checked_numbers(thresholds, "thresholds")
    model = _net_benefits(scored, counts[None, :], at)[0]
    everyone = score_one_class(is_positive, np.ones(num_units))
    return DecisionCurve(at, model, _net_benefits(everyone, counts[None, :], at)[0], np.zeros(len(at)))


def net_benefit_at(threshold: float) -> Metric:
    """Return the metric: true positives less false positives x p / (1 - p), of all units, p the threshold.

    Units whose probability is at least p are treated.

    Raises:
        ValueError: a threshold outside (0, 1); and once it is called, more than two classes.

    Source: Vickers & Elkin, Med Decis Making 2006;26:565.
    """
    check_between_0_and_1(threshold, "the threshold")

    def net_benefit(scored: Scored, weights: Weights) -> Floats:
        return _net_benefits(scored, weights, np.array([threshold]))[:, 0]

    return net_benefit


def _net_benefits(scored: Scored, weights: Weights, thresholds: Floats) -> Floats:
    """(R, N) weights, (T,) thresholds -> (R, T), NaN where a row has no weight."""
    for threshold in thresholds:
        check_between_0_and_1(threshold, "each threshold")
    is_positive, probabilities = positive_class(scored, "net benefit")
    worth = np.where(is_positive[:, None], 1.0, -thresholds / (1 - thresholds))
    gains = np.where(probabilities[:, None] >= thresholds, worth, 0.0)
    counts = np.asarray(weights, dtype=np.float64)
    totals = np.broadcast_to(counts.sum(axis=1, keepdims=True), (len(counts), len(thresholds)))
    return np.asarray(np.divide(counts @ gains, totals, out=np.full(totals.shape, np.nan), where=totals > 0))
