"""Figures of one arm on a fixed test set, each with the interval that fits it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlmed.evaluation.calibration import CALIBRATION_METRICS, calibration_error
from tlmed.evaluation.estimates.calibration_intervals import Linearised, interval_of_linearised, linearise_calibration
from tlmed.evaluation.estimates.composite_intervals import bounds_of_composite, composite_interval
from tlmed.evaluation.estimates.figure_cells import (
    NO_VARIATION,
    Cell,
    Conditions,
    Part,
    num_groups_of_smallest_class,
    too_few_groups,
    values_of,
)
from tlmed.evaluation.estimates.shares import SHARES_OF_SEVERAL_CLASSES, SHARES_OF_TWO_CLASSES, estimate_share
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS, Estimate, are_enough_to_resample, resample_by_group
from tlmed.evaluation.metrics import Integers, Metric, Scored
from tlmed.evaluation.statistics.auroc import auroc, auroc_intervals, logit_auroc_interval
from tlmed.evaluation.statistics.jackknife import jackknife_covariance, leave_one_group_out_aurocs
from tlmed.evaluation.statistics.multi_reader import variance_over_readers
from tlmed.evaluation.statistics.prevalence import weights_at_prevalence

_OFTEN_UNDEFINED = "more than 5 % of the resamples have no value"


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
        cells["auroc"] = estimate_auroc(of_seeds, groups, too_few)
        cells |= _calibration(of_seeds, groups, conditions, too_few)
    composites = {name: metric for name, metric in conditions.metrics.items() if name not in cells}
    cells |= estimate_composites(composites, parts, groups, too_few)
    return {name: conditions.completed(name, cells[name], parts) for name in conditions.metrics}


def share_names(conditions: Conditions) -> list[str]:
    """Return which figures are plain shares of units; re-weighted ones are not."""
    names = SHARES_OF_TWO_CLASSES if len(conditions.classes) == 2 else SHARES_OF_SEVERAL_CLASSES
    return [name for name in names if not conditions.is_reweighted(name)]


def estimate_auroc(of_seeds: Sequence[Scored], groups: Integers, too_few: str | None) -> Cell:
    """Return the AUROC of two classes, averaged over seeds, and its interval.

    One seed: `auroc.auroc_intervals`. Several are random readers, as by Obuchowski & Rockette with Hillis' degrees of
    freedom, but with limits on the logit scale and no more degrees of freedom than the smaller class has groups: by
    simulation (benchmarks/seed_coverage.py) plain limits hold the truth too seldom near 1 and with few groups.

    Args:
        of_seeds: the same units, scored by each seed.
        groups: (N,) the group of each unit, 0, 1, ...
        too_few: the sentence where groups are too few for any interval.
    """
    positive = of_seeds[0].positive
    is_positive = of_seeds[0].labels == positive
    scores = np.stack([one.probabilities[:, positive] for one in of_seeds])
    values = [auroc(is_positive, row) for row in scores]
    value = float(np.mean(values))
    if too_few is not None:
        return Cell(value, too_few=too_few)
    if len(scores) > 1:
        covariance = jackknife_covariance(leave_one_group_out_aurocs(is_positive, scores, groups))
        variance, freedom = variance_over_readers(values, covariance)
        if variance > 0 and 0 < value < 1:
            # The variance over cases rests on the groups of the smaller class.
            freedom = min(freedom, num_groups_of_smallest_class(of_seeds[0], groups) - 1.0)
            mean = logit_auroc_interval(value, variance, degrees_of_freedom=freedom)
            return _cell(mean, "logit Obuchowski-Rockette, seeds as random readers", None, NO_VARIATION)
    # Several seeds come here only if they do not vary, so that any of them stands for all.
    estimate = auroc_intervals(is_positive, scores[:1], groups)[0]
    tells_nothing = value in (0.0, 1.0) or np.ptp(scores) == 0
    method = "logit Obuchowski" if int(groups.max()) + 1 < len(groups) else "logit DeLong"
    return Cell(value, estimate.low, estimate.high, "Newcombe" if tells_nothing else method)


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
    metrics: dict[str, Metric],
    parts: Sequence[Part],
    groups: Integers,
    too_few: str | None,
    *,
    remark: str = "",
    level: float = 0.95,
) -> dict[str, Cell]:
    """Return figures that are no simple shares, with the intervals of `composite_interval`.

    Args:
        metrics: by name.
        parts: the same units, scored by each seed.
        groups: (N,) the group of each unit.
        too_few: the sentence where groups are too few for any interval.
        remark: to be added to the method.
        level: of confidence.
    """
    of_seeds = [part.scored for part in parts]
    values = {name: values_of(metric, parts) for name, metric in metrics.items()}
    if too_few is None and not are_enough_to_resample(of_seeds[0], groups):
        too_few = f"too few groups are mainly of one class; resampling by class needs {MIN_GROUPS_IN_A_CLASS}"
    if too_few is not None:
        return {
            name: Cell(None) if np.isnan(one).any() else Cell(float(one.mean()), too_few=too_few)
            for name, one in values.items()
        }
    num_classes, num_groups = of_seeds[0].num_classes, num_groups_of_smallest_class(of_seeds[0], groups)
    resampled = resample_by_group(metrics, of_seeds, groups, generator=np.random.default_rng(0))
    seeds = ", seeds as random readers" if len(parts) > 1 else ""
    cells = {}
    for name, by_seed in resampled.items():
        bounds = bounds_of_composite(name, num_classes)
        estimate = composite_interval(values[name], by_seed, bounds=bounds, num_groups=num_groups, level=level)
        reason = _OFTEN_UNDEFINED if np.isnan(by_seed).any() else NO_VARIATION
        cells[name] = _cell(estimate, f"logit, bootstrap by group{seeds}{remark}", None, reason)
    return cells


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
