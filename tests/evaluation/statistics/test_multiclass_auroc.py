from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from tlmed.evaluation.statistics.multiclass_auroc import hand_till_auroc, one_vs_rest_auroc


@pytest.mark.parametrize("num_classes", [3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_both_are_scikit_learns(num_classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), generator.integers(num_classes, size=90) // 2])
    inclination = generator.dirichlet(np.ones(num_classes), size=len(labels)) + 0.3 * np.eye(num_classes)[labels]
    probabilities = inclination / inclination.sum(axis=1, keepdims=True)
    for ours, strategy in ((hand_till_auroc, "ovo"), (one_vs_rest_auroc, "ovr")):
        reference = roc_auc_score(labels, probabilities, multi_class=strategy, average="macro")
        assert ours(labels, probabilities) == pytest.approx(reference, abs=1e-12)


def test_pairs_with_ties_by_hand() -> None:
    """Every pair of units of two classes, ties half, as Hand & Till count them."""
    labels = np.array([0, 0, 1, 1, 2, 2])
    probabilities = np.array([[5, 3, 2], [2, 4, 4], [2, 4, 4], [4, 4, 2], [1, 3, 6], [3, 3, 4]]) / 10
    areas = []
    for i, j in itertools.permutations(range(3), 2):
        of, against = probabilities[labels == i, i], probabilities[labels == j, i]
        areas.append(np.mean([(a > b) + 0.5 * (a == b) for a in of for b in against]))
    assert hand_till_auroc(labels, probabilities) == pytest.approx(np.mean(areas), abs=1e-12)


def test_only_hand_till_ignores_how_frequent_classes_are() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    inclination = generator.dirichlet([1, 1, 1], size=60) + 0.3 * np.eye(3)[labels]
    probabilities = inclination / inclination.sum(axis=1, keepdims=True)
    more = np.concatenate([np.arange(60), np.tile(np.arange(40, 60), 4)])
    assert hand_till_auroc(labels[more], probabilities[more]) == pytest.approx(hand_till_auroc(labels, probabilities))
    assert one_vs_rest_auroc(labels[more], probabilities[more]) != pytest.approx(
        one_vs_rest_auroc(labels, probabilities), abs=1e-3
    )


@pytest.mark.parametrize("measure", [hand_till_auroc, one_vs_rest_auroc])
def test_wrong_input_is_named(measure: Callable[[ArrayLike, ArrayLike], float]) -> None:
    with pytest.raises(ValueError, match="class 2 has no units"):
        measure([0, 1, 0], np.full((3, 3), 1 / 3))
    with pytest.raises(ValueError, match="must sum to 1"):
        measure([0, 1, 2], np.full((3, 3), 0.3))
    with pytest.raises(ValueError, match="from 0 to 1"):
        measure([0, 1], [[1.5, -0.5], [0.5, 0.5]])
    with pytest.raises(ValueError, match="labels has 2 values for 3 units"):
        measure([0, 1], np.full((3, 2), 0.5))
