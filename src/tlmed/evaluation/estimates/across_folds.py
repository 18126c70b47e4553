"""Figures of one arm over folds: each unit is scored by the model that was not trained on it.

The models of the folds differ, and so do the scales of their scores. What ranks scores or reads them as probabilities
is therefore computed within each fold and averaged; decisions are pooled. All intervals are approximate, because the
folds' models share most of their training data (Bengio & Grandvalet, J Mach Learn Res 2004;5:1089).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.estimates.figure_cells import Cell, Conditions, Part, too_few_groups, values_of
from tlmed.evaluation.estimates.fixed_split import estimate_calibration_error, estimate_composites, share_names
from tlmed.evaluation.estimates.shares import OF_POOLED_DECISIONS, estimate_share
from tlmed.evaluation.estimates.unit_scores import SeedScores, subset
from tlmed.evaluation.intervals import MIN_FOLDS, num_groups_holding
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.tests import corrected_half_width, splits_vary

_FROM_0_TO_1 = ("auroc", "auprc", "auroc_hand_till")
_NOT_NEGATIVE = (*_FROM_0_TO_1, "brier")
WITHIN_FOLDS = frozenset({*_NOT_NEGATIVE, *CALIBRATION_METRICS})
# The average precision of few cases is too high: below it, by simulation (benchmarks/fold_coverage.py), intervals miss.
_MIN_GROUPS_A_FOLD_FOR_AUPRC = 20
_METHOD = "mean over folds, Nadeau-Bengio, approximate"
_FOLDS_ALIKE = "all folds come to the same, so they do not show how the value varies"


@dataclass(frozen=True)
class Fold(Part):
    """The units that one fold of one seed held out.

    Attributes:
        seed: of the repeat.
        fold: its number.
        members: their indices among all units.
    """

    seed: object
    fold: int
    members: tuple[int, ...]


def split_by_fold(seeds: Sequence[SeedScores]) -> list[Fold]:
    """Return the held-out units of each fold of each seed."""
    return [
        Fold(f"fold {fold} of seed {one.seed}", subset(one.scored, members), one.seed, fold, tuple(members.tolist()))
        for one in seeds
        for fold, members in one.by_fold()
    ]


def estimate_over_folds(seeds: Sequence[SeedScores], groups: Integers, conditions: Conditions) -> dict[str, Cell]:
    """Return every figure of an arm, averaged over its folds and over its seeds, which are the repeats.

    Args:
        seeds: the same N units, each scored by the model of the fold that held it out.
        groups: (N,) the group of each unit, 0, 1, ...
        conditions: how figures are to be stated.
    """
    pooled = [one.part for one in seeds]
    of_seeds = [one.scored for one in seeds]
    folds = split_by_fold(seeds)
    too_few = too_few_groups(of_seeds[0], groups, conditions.classes)
    cells = {"ece": estimate_calibration_error(folds, [groups[list(fold.members)] for fold in folds])}
    for name in share_names(conditions):
        cells[name] = estimate_share(name, of_seeds, groups, too_few, out_of_fold=True)
    for name, metric in conditions.metrics.items():
        if name in WITHIN_FOLDS:
            cells[name] = _within_folds(name, values_of(metric, folds), folds, groups, too_few)
    composites = {name: metric for name, metric in conditions.metrics.items() if name not in cells}
    cells |= estimate_composites(composites, pooled, groups, too_few, remark=OF_POOLED_DECISIONS)
    return {
        name: conditions.completed(name, cells[name], folds if name in WITHIN_FOLDS else pooled)
        for name in conditions.metrics
    }


def mean_over_folds(
    values: Floats,
    folds: Sequence[Fold],
    groups: Integers,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: float = 0.95,
) -> Cell:
    """Return the mean of a figure that is computed within folds, and its interval after Nadeau & Bengio.

    Seeds that part the units alike, as leave-one-source-out does for every seed, test no fold anew: their figures of a
    fold are averaged first, and only folds that differ count as splits.

    Args:
        values: (F,) of each fold of each seed.
        folds: the F folds.
        groups: (N,) the group of each unit.
        bounds: least and greatest value of the figure.
        level: of confidence.
    """
    cell = Cell(float(values.mean()))
    by_members: dict[tuple[int, ...], list[float]] = {}
    for fold, value in zip(folds, values.tolist(), strict=True):
        by_members.setdefault(fold.members, []).append(value)
    of_splits = np.array([np.mean(of_seeds) for of_seeds in by_members.values()])
    if len(of_splits) < MIN_FOLDS:
        return replace(cell, too_few=f"{len(of_splits)} folds in all; an interval needs {MIN_FOLDS}")
    if not splits_vary(of_splits):
        return replace(cell, no_interval=_FOLDS_ALIKE)
    num_test, num_train = num_groups_in_and_out(folds, groups)
    half_width = corrected_half_width(of_splits, num_train=num_train, num_test=num_test, level=level)
    low, high = max(values.mean() - half_width, bounds[0]), min(values.mean() + half_width, bounds[1])
    return cell.with_interval(float(low), float(high), _METHOD)


def num_groups_in_and_out(folds: Sequence[Fold], groups: Integers) -> tuple[float, float]:
    """Return how many groups a fold tests, and on how many its model was trained, on average over folds.

    All groups outside a fold count as trained on.
    """
    num_test = float(np.mean([len(np.unique(groups[list(fold.members)])) for fold in folds]))
    return num_test, float(len(np.unique(groups))) - num_test


def _too_few_in_folds(folds: Sequence[Fold], groups: Integers) -> str | None:
    fewest = min(
        int(num_groups_holding(fold.scored, groups[list(fold.members)])[list(fold.scored.measured_classes)].min())
        for fold in folds
    )
    if fewest >= _MIN_GROUPS_A_FOLD_FOR_AUPRC:
        return None
    return f"too few groups of the class in a fold: {fewest}; an interval needs {_MIN_GROUPS_A_FOLD_FOR_AUPRC}"


def _within_folds(name: str, values: Floats, folds: Sequence[Fold], groups: Integers, too_few: str | None) -> Cell:
    if np.isnan(values).any():
        return Cell(None)
    if name == "auprc":
        too_few = too_few or _too_few_in_folds(folds, groups)
    if too_few is not None:
        return Cell(float(values.mean()), too_few=too_few)
    bounds = (0.0 if name in _NOT_NEGATIVE else -np.inf, 1.0 if name in _FROM_0_TO_1 else np.inf)
    return mean_over_folds(values, folds, groups, bounds=bounds)
