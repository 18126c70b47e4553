"""Probabilities that are calibrated to one prevalence, for use at another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import check_length, checked_probabilities
from tlmed.evaluation.statistics.one_class import check_between_0_and_1, checked_probabilities_of_one_class

_SUM_TOLERANCE = 1e-6


def shift_to_prevalence(probabilities: ArrayLike, *, calibrated_to: float, prevalence: float) -> Floats:
    """Return the (N,) probabilities of the positive class at another prevalence.

    The log-odds move by logit(prevalence) - logit(calibrated_to). This holds where the ill look as the ill did and the
    healthy as the healthy did, and only their shares differ; 0 and 1 stay.

    Args:
        probabilities: (N,) of being positive, calibrated.
        calibrated_to: the prevalence that they are calibrated to.
        prevalence: where they are to be used.

    Raises:
        ValueError: probabilities outside [0, 1], or a prevalence outside (0, 1).

    Source: Elkan, IJCAI 2001, theorem 2; Saerens, Latinne & Decaestecker, Neural Comput 2002;14:21, section 2.
    """
    numbers = checked_probabilities_of_one_class(probabilities)
    check_between_0_and_1(calibrated_to, "the prevalence calibrated to")
    check_between_0_and_1(prevalence, "the prevalence")
    both = np.stack([1 - numbers, numbers], axis=1)
    return _shift(both, np.array([1 - calibrated_to, calibrated_to]), np.array([1 - prevalence, prevalence]))[:, 1]


def shift_to_class_shares(
    probabilities: ArrayLike, *, calibrated_to: Sequence[float], class_shares: Sequence[float]
) -> Floats:
    """Return the (N, K) probabilities where the classes have other shares; see `shift_to_prevalence`.

    Args:
        probabilities: (N, K), calibrated.
        calibrated_to: the K shares that they are calibrated to.
        class_shares: the K shares where they are to be used.

    Raises:
        ValueError: probabilities outside [0, 1] or rows that do not sum to 1; shares outside (0, 1), that do not sum to
            1, or of another number of classes.

    Source: Saerens, Latinne & Decaestecker, Neural Comput 2002;14:21, section 2.
    """
    numbers = checked_probabilities(probabilities)
    num_classes = numbers.shape[1]
    return _shift(numbers, checked_shares(calibrated_to, num_classes), checked_shares(class_shares, num_classes))


def checked_shares(shares: Sequence[float], num_classes: int) -> Floats:
    """Return (K,) shares of the classes.

    Raises:
        ValueError: another number of classes, shares outside (0, 1), or that do not sum to 1.
    """
    check_length(len(shares), num_classes, "class shares")
    for share in shares:
        check_between_0_and_1(share, "each class share")
    if abs(sum(shares) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"class shares must sum to 1, not {sum(shares):.6g}")
    return np.array(shares, dtype=np.float64)


def _shift(probabilities: Floats, from_shares: Floats, to_shares: Floats) -> Floats:
    """(N, K) probabilities, (K,) shares -> (N, K)."""
    weighted = probabilities * to_shares / from_shares
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))
