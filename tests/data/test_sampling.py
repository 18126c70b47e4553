from __future__ import annotations

import numpy as np
from scipy import stats

from tlmed.data.sampling import balanced_order, shuffled_order

# Two classes; a patient with eight images beside some with one; patient 7 has images of both classes.
LABELS = np.array([0] * 12 + [2] * 3)
GROUPS = np.array([4] * 8 + [5, 6, 7, 7] + [7, 9, 9])


def frequencies(labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    orders = [balanced_order(labels, groups, 0, epoch) for epoch in range(400)]
    return np.bincount(np.concatenate(orders), minlength=len(labels))


def test_shuffled_shows_every_image_once_in_an_order_of_its_epoch() -> None:
    assert sorted(shuffled_order(20, 0, 0)) == list(range(20))
    assert not np.array_equal(shuffled_order(20, 0, 0), shuffled_order(20, 0, 1))
    assert not np.array_equal(shuffled_order(20, 0, 0), shuffled_order(20, 1, 0))


def test_balanced_draws_class_then_group_then_image() -> None:
    expected = np.array([1 / 2 / 4 / 8] * 8 + [1 / 2 / 4] * 2 + [1 / 2 / 4 / 2] * 2 + [1 / 2 / 2] + [1 / 2 / 2 / 2] * 2)
    counts = frequencies(LABELS, GROUPS)
    assert counts.sum() == 400 * 15
    assert stats.chisquare(counts, expected * counts.sum()).pvalue > 0.01
    assert stats.chisquare(frequencies(LABELS, None), expected * counts.sum()).pvalue < 1e-6  # the test can fail


def test_without_groups_each_image_is_its_own() -> None:
    counts = frequencies(LABELS, None)
    assert stats.chisquare(counts, np.repeat([1 / 24, 1 / 6], [12, 3]) * counts.sum()).pvalue > 0.01


def test_balanced_depends_on_seed_and_epoch_alone() -> None:
    one = balanced_order(LABELS, GROUPS, 3, 5)
    assert np.array_equal(one, balanced_order(LABELS, GROUPS, 3, 5))
    assert not np.array_equal(one, balanced_order(LABELS, GROUPS, 3, 6))
    assert not np.array_equal(one, balanced_order(LABELS, GROUPS, 4, 5))
