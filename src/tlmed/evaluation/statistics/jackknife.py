"""Covariance of figures by leaving out one group at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.array_checks import (
    Booleans,
    checked_numbers,
    checked_positives,
    group_index,
    sum_by_group,
)
from tlmed.evaluation.statistics.auroc import placements


def jackknife_covariance(leave_one_out: ArrayLike) -> Floats:
    """Return the (K, K) covariance of K figures: (G - 1) / G sum_g (f_g - mean f) (f_g - mean f)'.

    Args:
        leave_one_out: (G, K) the figures without each of the groups.

    Raises:
        ValueError: fewer than two groups, or figures that are missing.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5, with groups as the units.
    """
    figures = checked_numbers(leave_one_out, "leave_one_out", num_axes=2)
    if len(figures) < 2:
        raise ValueError("a jackknife needs two groups or more")
    deviations = figures - figures.mean(axis=0)
    return np.asarray((len(figures) - 1) / len(figures) * deviations.T @ deviations)


def leave_one_group_out_aurocs(is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> Floats:
    """Return (G, K) AUROCs of K scores without the units of each of the G groups, in O(K N log N).

    The groups are in order of appearance.

    Args:
        is_positive: (N,) whether each unit is.
        scores: (K, N) of each unit.
        groups: (N,) the group of each unit; without, each unit is its own.

    Raises:
        ValueError: one class, a group without which a class has no units, lengths that differ, scores or groups that
            are missing.
    """
    numbers = checked_numbers(scores, "scores", num_axes=2)
    positives = checked_positives(is_positive, numbers.shape[1])
    group_of_unit = group_index(groups, len(positives))
    num_groups = int(group_of_unit.max()) + 1
    positives_left = positives.sum() - np.bincount(group_of_unit, weights=positives, minlength=num_groups)
    negatives_left = (~positives).sum() - np.bincount(group_of_unit, weights=~positives, minlength=num_groups)
    if min(positives_left.min(), negatives_left.min()) == 0:
        raise ValueError("all units of a class are of one group, which cannot be left out; give more groups")
    of_positives, of_negatives = placements(positives, numbers)
    wins_of_positives = of_positives * (~positives).sum()
    wins_over_negatives = of_negatives * positives.sum()
    wins = wins_of_positives.sum(axis=1, keepdims=True)
    lost = sum_by_group(wins_of_positives, group_of_unit[positives], num_groups)
    lost += sum_by_group(wins_over_negatives, group_of_unit[~positives], num_groups)
    # Pairs inside the group are in both sums.
    lost -= _wins_inside_groups(positives, numbers, group_of_unit, num_groups)
    return np.asarray(((wins - lost) / (positives_left * negatives_left)).T)


def _wins_inside_groups(positives: Booleans, scores: Floats, group_of_unit: Integers, num_groups: int) -> Floats:
    """(K, G) number of pairs of one group in which the positive unit scores above the negative one, ties half."""
    sizes = np.bincount(group_of_unit, minlength=num_groups)
    num_positives = np.bincount(group_of_unit, weights=positives, minlength=num_groups)
    units_before = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    num_values = scores.shape[1]
    # Ranks by group, then score: within a group they are its own ranks plus the units of the groups before it.
    ranks = rankdata(group_of_unit * num_values + rankdata(scores, method="dense", axis=1) - 1, axis=1)
    rank_sums = sum_by_group((ranks - units_before[group_of_unit]) * positives, group_of_unit, num_groups)
    return np.asarray(rank_sums - num_positives * (num_positives + 1) / 2)
