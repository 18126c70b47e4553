"""Classifiers without settings to choose, for probes and baselines: trained on some rows, asked about the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlmed.evaluation.metrics import Floats, Integers


def predict_by_forest(
    features: Floats, labels: Integers, is_trained: NDArray[np.bool_], num_classes: int, seed: int, *, num_trees: int
) -> Floats:
    """(M, K) class probabilities of the rows that are not trained on, by a forest of extremely randomised trees.

    Args:
        features: (N, F).
        labels: (N,) class index.
        is_trained: (N,) whether to train on a row.
        num_classes: K; a class that is not trained on has probability 0.
        seed: of the forest.
        num_trees: in it.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(num_trees, min_samples_leaf=2, class_weight="balanced", random_state=seed)
    forest.fit(features[is_trained], labels[is_trained])
    probabilities = np.zeros((int((~is_trained).sum()), num_classes))
    probabilities[:, forest.classes_] = forest.predict_proba(features[~is_trained])
    return probabilities


def predict_by_neighbour(features: Floats, labels: Integers, is_trained: NDArray[np.bool_], num_classes: int) -> Floats:
    """(M, K) scores that sum to 1: the higher, the nearer the most alike picture of a class.

    Brightness and contrast do not count. Arguments as in `predict_by_forest`.
    """
    from scipy.spatial.distance import cdist

    pictures = features - features.mean(axis=1, keepdims=True)
    pictures /= np.maximum(np.linalg.norm(pictures, axis=1, keepdims=True), 1e-9)
    closeness = np.zeros((int((~is_trained).sum()), num_classes))
    for index in np.unique(labels[is_trained]):
        others = pictures[is_trained & (labels == index)]
        closeness[:, index] = np.exp(-cdist(pictures[~is_trained], others).min(axis=1))
    return np.asarray(closeness / closeness.sum(axis=1, keepdims=True))
