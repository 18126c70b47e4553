"""Figures of one arm on a fixed test set, each with the interval that fits it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlmed.evaluation.auroc import auroc, auroc_intervals
from tlmed.evaluation.calibration import CALIBRATION_METRICS, calibration_error
from tlmed.evaluation.calibration_intervals import Linearised, interval_of_linearised, linearise_calibration
from tlmed.evaluation.figure_cells import NO_VARIATION, Cell, Conditions, Part, too_few_groups
from tlmed.evaluation.intervals import Estimate, bootstrap_by_group
from tlmed.evaluation.metrics import Floats, Integers, Metric, Scored
from tlmed.evaluation.multi_reader import mean_over_readers, reader_aurocs
from tlmed.evaluation.prevalence import weights_at_prevalence
from tlmed.evaluation.shares import SHARES_OF_SEVERAL_CLASSES, SHARES_OF_TWO_CLASSES, estimate_share

_NO_RESAMPLES = (
    "more than 5 % of the resamples have no value, too few groups are mainly of one class, or the value lies outside"
)


def estimate_on_fixed_test(parts: Sequence[Part], groups: Integers, conditions: Conditions) -> dict[str, Cell]:
    """Return every figure of an arm, averaged over its seeds.

    Shares: `shares.estimate_share`. AUROC of two classes: logit DeLong or Obuchowski, several seeds as random readers
    after Obuchowski & Rockette. Calibration: `calibration_intervals`. The calibration error has a range in place of an
    interval. All other figures: `estimate_composites`.

    Args:
        parts: the same N units, scored by each seed.
        groups: (N,) the group of each unit, 0, 1, ...
        conditions: how figures are to be stated.
    """
    of_seeds = [part.scored for part in parts]
    too_few = too_few_groups(of_seeds[0], groups, conditions.classes)
    two_classes = of_seeds[0].num_classes == 2
    cells = {"ece": estimate_calibration_error(parts, [groups] * len(parts))}
    for name in share_names(conditions):
        cells[name] = estimate_share(name, of_seeds, groups, too_few)
    if two_classes:
        cells["auroc"] = _auroc(of_seeds, groups, too_few)
        cells |= _calibration(of_seeds, groups, conditions, too_few)
    composites = {name: metric for name, metric in conditions.metrics.items() if name not in cells}
    cells |= estimate_composites(composites, parts, groups, too_few)
    return {name: conditions.completed(name, cells[name], parts) for name in conditions.metrics}


def share_names(conditions: Conditions) -> list[str]:
    """Return which figures are plain shares of units; re-weighted ones are not."""
    names = SHARES_OF_TWO_CLASSES if len(conditions.classes) == 2 else SHARES_OF_SEVERAL_CLASSES
    return [name for name in names if not conditions.is_reweighted(name)]


def estimate_calibration_error(parts: Sequence[Part], groups: Sequence[Integers]) -> Cell:
    """Return the mean calibration error and the mean ends of its ranges if the probabilities were right.

    Args:
        parts: units.
        groups: of the units of each part.
    """
    errors = [calibration_error(part.scored, of_part) for part, of_part in zip(parts, groups, strict=True)]
    value, low, high = (float(np.mean([getattr(one, end) for one in errors])) for end in ("value", "low", "high"))
    return Cell(value, range_if_calibrated=(low, high))


def estimate_composites(
    metrics: dict[str, Metric], parts: Sequence[Part], groups: Integers, too_few: str | None, *, remark: str = ""
) -> dict[str, Cell]:
    """Return figures that are not simple shares, with percentile intervals of resampled groups (and seeds).

    Args:
        metrics: by name.
        parts: the same units, scored by each seed.
        groups: (N,) the group of each unit.
        too_few: the sentence where groups are too few for any interval.
        remark: to be added to the method.
    """
    estimates = bootstrap_by_group(metrics, [part.scored for part in parts], groups)
    method = ("bootstrap by group" if len(parts) == 1 else "bootstrap of groups and seeds") + remark
    cells = {}
    for name, estimate in estimates.items():
        perfect = estimate.value in (0.0, 1.0)
        cells[name] = _cell(estimate, method, too_few, NO_VARIATION if perfect else _NO_RESAMPLES)
    return cells


def _auroc(of_seeds: Sequence[Scored], groups: Integers, too_few: str | None) -> Cell:
    positive = of_seeds[0].positive
    is_positive = of_seeds[0].labels == positive
    scores = np.stack([one.probabilities[:, positive] for one in of_seeds])
    if too_few is not None:
        return Cell(_mean_auroc(is_positive, scores), too_few=too_few)
    value, covariance = (array[0] for array in reader_aurocs(is_positive, scores[None, :, :], groups))
    varies = bool(np.abs(covariance).max() > 0 or np.ptp(value) > 0)
    if len(scores) > 1 and varies:
        mean = mean_over_readers(value, covariance[:, 0])
        return Cell(mean.value, mean.low, mean.high, "Obuchowski-Rockette, seeds as random readers")
    (estimate,) = auroc_intervals(is_positive, scores[:1], groups)
    clustered = int(groups.max()) + 1 < len(groups)
    method = "logit Obuchowski" if clustered else "logit DeLong"
    return Cell(estimate.value, estimate.low, estimate.high, method if varies else "Newcombe, all cases told apart")


def _mean_auroc(is_positive: np.ndarray, scores: Floats) -> float:
    return float(np.mean([auroc(is_positive, row) for row in scores]))


def _calibration(
    of_seeds: Sequence[Scored], groups: Integers, conditions: Conditions, too_few: str | None
) -> dict[str, Cell]:
    """Each figure under its own weights: those of the stated prevalence, where it depends on that."""
    ones = np.ones((1, len(groups)))
    linearised: dict[bool, list[dict[str, Linearised]]] = {}
    cells = {}
    for name in CALIBRATION_METRICS:
        reweighted = conditions.is_reweighted(name)
        if reweighted not in linearised:
            weights = ones
            if reweighted and conditions.prevalence is not None:
                weights = weights_at_prevalence(of_seeds[0], ones, conditions.prevalence)
            linearised[reweighted] = [linearise_calibration(one, groups, weights[0]) for one in of_seeds]
        estimate = interval_of_linearised([one[name] for one in linearised[reweighted]])
        cells[name] = _cell(estimate, "delta method by group", too_few, NO_VARIATION)
    return cells


def _cell(estimate: Estimate, method: str, too_few: str | None, no_interval: str) -> Cell:
    """A cell with limits and their method, or with the reason why there are none."""
    if estimate.value is None:
        return Cell(None)
    if too_few is not None:
        return Cell(estimate.value, too_few=too_few)
    if estimate.low is None:
        return Cell(estimate.value, no_interval=no_interval)
    return Cell(estimate.value, estimate.low, estimate.high, method)
