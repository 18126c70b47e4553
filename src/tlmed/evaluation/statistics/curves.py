"""ROC and precision-recall curves as values on one grid, so that those of several models or resamples can be joined."""

from __future__ import annotations

import numpy as np

from tlmed.evaluation.metrics import Floats, Integers, Scored, Weights

GRID: Floats = np.linspace(0, 1, 201)

_ROUNDING = 1e-9  # of sums of weights, far below the weight of a unit


def sensitivity_by_false_alarms(scored: Scored, weights: Weights) -> Floats:
    """Return (R, 201) sensitivities where 1 - specificity is at most each value of `GRID`.

    The step curve: at each share of false alarms the most that is found, nothing between two steps. NaN in a row whose
    weights leave a class out.

    Args:
        scored: N units of two classes.
        weights: (R, N) of the units; a metric in the sense of `metrics.Metric` but for the further axis.

    Source: Fawcett, Pattern Recognit Lett 2006;27:861.
    """
    found, alarms = _steps(scored, weights)
    found, alarms = (np.pad(_shares(sums), ((0, 0), (1, 0))) for sums in (found, alarms))
    return _by_row(found, _last_not_above(alarms))


def precision_by_recall(scored: Scored, weights: Weights) -> Floats:
    """Return (R, 201) precisions at the highest threshold whose recall is at least each value of `GRID`.

    At recall 0 that is the first threshold which finds anything. No line between two steps: there precision is not
    linear. NaN in a row whose weights leave the positives out.

    Args:
        scored: N units of two classes.
        weights: (R, N) of the units.

    Source: Davis & Goadrich, ICML 2006, on what lies between two steps.
    """
    found, alarms = _steps(scored, weights)
    recall = _shares(found)
    with np.errstate(invalid="ignore"):
        precision = np.where(np.isnan(recall), np.nan, found / (found + alarms))
    return _by_row(precision, _first_that_reaches(recall))


def _steps(scored: Scored, weights: Weights) -> tuple[Floats, Floats]:
    """(R, D) weights of positives and of negatives that score at least as high as each of D scores, falling."""
    if scored.positive is None or scored.num_classes != 2:
        raise ValueError("a curve is of two classes, one of them positive")
    scores = scored.probabilities[:, scored.positive]
    falling = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[falling])), len(scores) - 1)
    is_positive = (scored.labels == scored.positive)[falling]
    ordered = weights[:, falling]
    sums = (np.cumsum(ordered * of_class, axis=1)[:, ends] for of_class in (is_positive, ~is_positive))
    found, alarms = sums
    return found, alarms


def _shares(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / sums[:, -1:])


def _last_not_above(rising: Floats) -> Integers:
    found = [np.searchsorted(row, GRID + _ROUNDING, side="right") - 1 for row in rising]
    return np.stack(found)


def _first_that_reaches(rising: Floats) -> Integers:
    wanted = np.maximum(GRID, 2 * _ROUNDING) - _ROUNDING
    found = [np.minimum(np.searchsorted(row, wanted, side="left"), len(row) - 1) for row in rising]
    return np.stack(found)


def _by_row(values: Floats, chosen: Integers) -> Floats:
    return np.asarray(np.take_along_axis(values, chosen, axis=1))
