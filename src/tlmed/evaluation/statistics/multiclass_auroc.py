"""AUROC of more than two classes, by its two usual definitions; always name which."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.array_checks import check_length, checked_classes, checked_probabilities
from tlmed.evaluation.statistics.auroc import auroc


def hand_till_auroc(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return Hand & Till's M: the mean over pairs of classes of how well the two are told apart.

    M = 2 / (c (c - 1)) sum_{i<j} (A(i|j) + A(j|i)) / 2, where A(i|j) is the AUROC of the probability of class i among
    the units of i and j alone. It does not depend on how frequent the classes are.

    Args:
        labels: (N,) class indices.
        probabilities: (N, K), rows sum to 1.

    Raises:
        ValueError: a class without units, lengths that differ, labels that are no classes, or no probabilities.

    Source: Hand & Till, Mach Learn 2001;45:171, equation 7.
    """
    true, scores = _checked(labels, probabilities)
    pairs = itertools.combinations(range(scores.shape[1]), 2)
    return float(np.mean([_of_pair(true, scores, first, second) for first, second in pairs]))


def one_vs_rest_auroc(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the plain mean over classes of the AUROC of each against all others (macro average).

    It depends on how frequent the other classes are among the rest.

    Args:
        labels: (N,) class indices.
        probabilities: (N, K), rows sum to 1.

    Raises:
        ValueError: a class without units, lengths that differ, labels that are no classes, or no probabilities.

    Source: Provost & Domingos, CeDER Working Paper IS-00-04, 2001, here without weights.
    """
    true, scores = _checked(labels, probabilities)
    return float(np.mean([auroc(true == index, scores[:, index]) for index in range(scores.shape[1])]))


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Integers, Floats]:
    scores = checked_probabilities(probabilities)
    true = checked_classes(labels, scores.shape[1], "labels")
    check_length(len(true), len(scores), "labels")
    absent = np.setdiff1d(np.arange(scores.shape[1]), true)
    if len(absent):
        raise ValueError(f"class {absent[0]} has no units; leave its column out and say so, or test on units of it")
    return true, scores


def _of_pair(true: Integers, scores: Floats, first: int, second: int) -> float:
    either = np.isin(true, (first, second))
    is_first = true[either] == first
    return (auroc(is_first, scores[either, first]) + auroc(~is_first, scores[either, second])) / 2
