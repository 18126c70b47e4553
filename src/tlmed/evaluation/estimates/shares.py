"""Figures that are shares of units, such as sensitivity: how many of how many, and the interval by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tlmed.evaluation.estimates.figure_cells import Cell, too_few_in_denominator
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS
from tlmed.evaluation.metrics import Floats, Integers, Scored
from tlmed.evaluation.statistics.array_checks import Booleans
from tlmed.evaluation.statistics.jackknife import jackknife_covariance
from tlmed.evaluation.statistics.multi_reader import variance_over_readers
from tlmed.evaluation.statistics.proportions import clustered_wilson_limits, effective_wilson_interval

SHARES_OF_TWO_CLASSES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
SHARES_OF_SEVERAL_CLASSES = ("accuracy",)
OF_POOLED_DECISIONS = ", of out-of-fold decisions, approximate"
_OF_ONE_CLASS = ("sensitivity", "specificity")
# By simulation (benchmarks/coverage.py): with several units a group, 95 % intervals of sensitivity hold the truth in 92
# to 98 % from here on; with 10 groups in up to 98.4 %, wider than need be.
MIN_GROUPS_OF_SEVERAL_UNITS = 20

_DENOMINATORS = {
    "sensitivity": "are positive",
    "specificity": "are negative",
    "ppv": "were called positive",
    "npv": "were called negative",
}


class ShareCounts(NamedTuple):
    """By group, for one seed.

    Attributes:
        successes: (G,) units that are right.
        sizes: (G,) of so many that count.
    """

    successes: Floats
    sizes: Floats


def count_shares(name: str, scored: Scored, groups: Integers) -> ShareCounts:
    """Return the counts of `accuracy`, `sensitivity`, `specificity`, `ppv` or `npv`, the last four of two classes."""
    is_positive, is_called = scored.labels == scored.positive, scored.predicted == scored.positive
    counted: Booleans = {
        "accuracy": np.ones(len(groups), dtype=np.bool_),
        "sensitivity": is_positive,
        "specificity": ~is_positive,
        "ppv": is_called,
        "npv": ~is_called,
    }[name]
    num_groups = int(groups.max()) + 1
    right = counted & (scored.labels == scored.predicted)
    return ShareCounts(
        np.bincount(groups[right], minlength=num_groups).astype(np.float64),
        np.bincount(groups[counted], minlength=num_groups).astype(np.float64),
    )


def estimate_share(
    name: str, of_seeds: Sequence[Scored], groups: Integers, too_few: str | None, *, out_of_fold: bool = False
) -> Cell:
    """Return a share, averaged over seeds, and its interval.

    One seed, or one repeat of folds, whose decisions are pooled: Wilson's interval, by group. Several: Wilson's on the
    effective number of trials that the variance over them and over groups comes to. Out of fold both are approximate,
    for the models of the folds share training data.

    Args:
        name: of the share.
        of_seeds: the same units, scored by each seed.
        groups: (N,) the group of each unit, 0, 1, ...
        too_few: the sentence where groups are too few for any interval.
        out_of_fold: whether each seed is a repeat of folds.
    """
    counts = [count_shares(name, one, groups) for one in of_seeds]
    if any(one.sizes.sum() == 0 for one in counts):
        return Cell(None)
    value = float(np.mean([one.successes.sum() / one.sizes.sum() for one in counts]))
    cell = Cell(value)
    if len(counts) == 1:
        (only,) = counts
        cell = Cell(value, numerator=int(only.successes.sum()), denominator=int(only.sizes.sum()))
    num_holding = min(int((one.sizes > 0).sum()) for one in counts)
    # How many of one class are told rightly does not depend on how many the other has.
    if too_few is None or name in _OF_ONE_CLASS:
        has_several = max(one.sizes.max() for one in counts) > 1
        needed = MIN_GROUPS_OF_SEVERAL_UNITS if has_several else MIN_GROUPS_IN_A_CLASS
        too_few = too_few_in_denominator(num_holding, _DENOMINATORS.get(name, "were tested"), needed=needed)
    if too_few is not None:
        return replace(cell, too_few=too_few)
    if len(counts) > 1:
        limits = _limits_over_seeds(value, counts)
        method = f"Wilson over {'repeats' if out_of_fold else 'seeds'} and groups (Obuchowski-Rockette variance)"
    else:
        limits, method = _limits(only), "Wilson" if only.sizes.max() == 1 else "clustered Wilson"
    return cell.with_interval(*limits, method + (OF_POOLED_DECISIONS if out_of_fold else ""))


def _limits_over_seeds(value: float, counts: Sequence[ShareCounts]) -> tuple[float, float]:
    """The mean over seeds as random readers: covariance of the seeds by leaving out groups, then Wilson's interval."""
    successes, sizes = (np.stack(rows, axis=1) for rows in zip(*counts, strict=True))
    held = sizes.max(axis=1) > 0
    successes, sizes = successes[held], sizes[held]
    shares = successes.sum(axis=0) / sizes.sum(axis=0)
    left = sizes.sum(axis=0) - sizes
    leave_one_out = (successes.sum(axis=0) - successes) / left
    variance, freedom = variance_over_readers(shares, jackknife_covariance(leave_one_out))
    # No more than if all decisions were independent; and where they show no variance, as if all of a group were one.
    if variance > 0:
        num_trials = min(value * (1 - value) / variance, float(sizes.sum()))
    else:
        of_groups = sizes.mean(axis=1)
        num_trials = float(of_groups.sum() ** 2 / (of_groups**2).sum())
    of_mean = effective_wilson_interval(value, num_trials, degrees_of_freedom=min(freedom, len(sizes) - 1))
    assert of_mean.low is not None and of_mean.high is not None  # Wilson's interval always has limits
    return of_mean.low, of_mean.high


def _limits(counts: ShareCounts) -> tuple[float, float]:
    held = counts.sizes > 0
    low, high = clustered_wilson_limits(counts.successes[held][None, :], counts.sizes[held])
    return float(low[0]), float(high[0])
