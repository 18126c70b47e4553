from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import permutation_test as scipy_permutation_test
from sklearn.metrics import roc_auc_score

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.permutation import permutation_test


def _mean_difference(first: Floats, second: Floats) -> float:
    return float(first.mean() - second.mean())


def test_all_swaps_of_single_units_are_scipys() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 5, size=(2, 9)).astype(float)
    test = permutation_test(_mean_difference, first, second, range(9))
    reference = scipy_permutation_test(
        (first, second), lambda a, b: a.mean() - b.mean(), permutation_type="samples", n_resamples=math.inf
    )
    assert test.exact
    assert test.num_permutations == 2**8
    assert test.p_value == pytest.approx(reference.pvalue)


def test_whole_groups_are_swapped() -> None:
    """Against every choice of groups whose rows are exchanged, for a figure that is no sum over units."""
    generator = np.random.default_rng(1)
    groups = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 4])
    labels = np.array([0, 1, 0, 1, 1, 0, 1, 0, 0, 1])
    first, second = generator.normal(size=(2, 10)) + labels

    def area_difference(ours: Floats, theirs: Floats) -> float:
        return float(roc_auc_score(labels, ours) - roc_auc_score(labels, theirs))

    test = permutation_test(area_difference, first, second, groups)
    extremes = []
    for chosen in itertools.product([False, True], repeat=5):
        swap = np.array(chosen)[groups]
        value = area_difference(np.where(swap, second, first), np.where(swap, first, second))
        extremes.append(abs(value) >= abs(test.difference) - 1e-12)
    assert test.p_value == pytest.approx(np.mean(extremes))


def test_random_swaps_come_near_all_swaps() -> None:
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), 3)
    first = generator.normal(size=36)
    second = first + 0.3 + generator.normal(size=12)[groups]
    exact = permutation_test(_mean_difference, first, second, groups, num_permutations=2**11)
    drawn = permutation_test(_mean_difference, first, second, groups, num_permutations=2**11 - 1)
    assert (exact.exact, drawn.exact) == (True, False)
    assert drawn.p_value == pytest.approx(exact.p_value, abs=4 * math.sqrt(0.25 / 2047))
    assert drawn == permutation_test(_mean_difference, first, second, groups, num_permutations=2**11 - 1)


def test_a_random_p_is_never_zero() -> None:
    test = permutation_test(_mean_difference, np.ones(40), np.zeros(40), range(40), num_permutations=99)
    assert test.p_value == 1 / 100


def test_several_seeds_of_a_unit_stay_together() -> None:
    first, second = np.random.default_rng(3).normal(size=(2, 6, 4))
    by_seed = permutation_test(_mean_difference, first, second, range(6))
    averaged = permutation_test(_mean_difference, first.mean(axis=1), second.mean(axis=1), range(6))
    assert by_seed.p_value == averaged.p_value
    assert by_seed.difference == pytest.approx(averaged.difference)


def test_wrong_input_is_named() -> None:
    values = np.arange(4.0)
    with pytest.raises(ValueError, match="must have the same shape"):
        permutation_test(_mean_difference, values, values[:3], range(4))
    with pytest.raises(ValueError, match="turn its sign"):
        permutation_test(lambda a, b: abs(_mean_difference(a, b)), values, values + 1, range(4))
    with pytest.raises(ValueError, match="groups has 3 values for 4 units"):
        permutation_test(_mean_difference, values, values, range(3))
    with pytest.raises(ValueError, match="1 or more"):
        permutation_test(_mean_difference, values, values, range(4), num_permutations=0)
