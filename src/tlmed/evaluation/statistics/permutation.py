"""Whether it matters which arm is which: a test for any figure, by swapping arms for whole groups."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import Booleans, checked_numbers, group_index

NUM_PERMUTATIONS = 9999


@dataclass(frozen=True)
class Permutation:
    """What chance gives when the arms are swapped.

    Attributes:
        difference: of the two arms as they are.
        p_value: two-sided.
        num_permutations: how many swaps it rests on.
        exact: whether these are all there are.
    """

    difference: float
    p_value: float
    num_permutations: int
    exact: bool


def permutation_test(
    statistic: Callable[[Floats, Floats], float],
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    num_permutations: int = NUM_PERMUTATIONS,
    seed: int = 0,
) -> Permutation:
    """Test whether it matters which arm is which, swapping the two for all units of a group together.

    All 2^(G - 1) swaps that differ are taken where they are no more than `num_permutations`; otherwise that many random
    ones, and p = (1 + those at least as extreme) / (1 + all).

    Args:
        statistic: of the first arm's and the second arm's values: the difference of the figure that is compared.
            Swapping its arguments must turn its sign.
        first: (N, ...) values of the first arm, a unit a row: decisions, scores, or the scores of all its seeds.
        second: of the same shape.
        groups: (N,) the group of each unit.
        num_permutations: at most.
        seed: of the random swaps.

    Raises:
        ValueError: shapes that differ, units without a group, values that are missing, or a statistic that is not a
            difference.

    Source: swaps of whole clusters, Gail et al., Stat Med 1996;15:1069; p from random swaps, Phipson & Smyth, Stat Appl
    Genet Mol Biol 2010;9:39.
    """
    ours = checked_numbers(first, "first", num_axes=np.ndim(first))
    theirs = checked_numbers(second, "second", num_axes=np.ndim(second))
    if ours.shape != theirs.shape or ours.ndim < 1:
        raise ValueError(f"first {ours.shape} and second {theirs.shape} must have the same shape, a unit a row")
    if num_permutations < 1:
        raise ValueError("num_permutations must be 1 or more")
    group_of_unit = group_index(groups, len(ours))
    observed = statistic(ours, theirs)
    if not math.isclose(statistic(theirs, ours), -observed, rel_tol=1e-9, abs_tol=1e-12):
        raise ValueError("the statistic must turn its sign when the arms are swapped; give a difference")
    num_groups = int(group_of_unit.max()) + 1
    exact = 2 ** (num_groups - 1) <= num_permutations
    num_extreme = num_taken = 0
    for swap in _all_swaps(num_groups) if exact else _random_swaps(num_groups, num_permutations, seed):
        swapped = swap[group_of_unit].reshape(-1, *[1] * (ours.ndim - 1))
        value = statistic(np.where(swapped, theirs, ours), np.where(swapped, ours, theirs))
        # Sums in another order differ by rounding.
        num_extreme += abs(value) >= abs(observed) * (1 - 1e-9) - 1e-12
        num_taken += 1
    p_value = num_extreme / num_taken if exact else (1 + num_extreme) / (1 + num_taken)
    return Permutation(float(observed), float(p_value), num_taken, exact)


def _all_swaps(num_groups: int) -> Iterator[Booleans]:
    """Yield (G,) whether to swap each group; the first never, for swapping all only turns the sign."""
    for swap in itertools.product((False, True), repeat=num_groups - 1):
        yield np.array((False, *swap))


def _random_swaps(num_groups: int, num_permutations: int, seed: int) -> Iterator[Booleans]:
    generator = np.random.default_rng(seed)
    for _ in range(num_permutations):
        yield generator.random(num_groups) < 0.5
