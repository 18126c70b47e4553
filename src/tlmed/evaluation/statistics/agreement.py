"""Agreement of predicted with true grades, where classes have an order."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.statistics.array_checks import check_length, checked_classes


def quadratic_weighted_kappa(labels: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """Return 1 minus the mean squared distance of the grades over that expected by chance.

    kappa = 1 - sum_ij (i - j)^2 O_ij / sum_ij (i - j)^2 E_ij, O the confusion matrix, E the product of its margins.

    Args:
        labels: (N,) indices of the true classes, in their order.
        predicted: (N,) indices of the predicted ones.
        num_classes: K, whether or not every class occurs.

    Raises:
        ValueError: lengths that differ, no class indices, or one same class throughout, which leaves kappa undefined.

    Source: Cohen, Psychol Bull 1968;70:213, with the weights of Fleiss & Cohen, Educ Psychol Meas 1973;33:613.
    """
    true = checked_classes(labels, num_classes, "labels")
    called = checked_classes(predicted, num_classes, "predicted")
    check_length(len(called), len(true), "predicted")
    # The margins' product has E (i - j)^2 = var(i) + var(j) + (difference of means)^2.
    by_chance = true.var() + called.var() + (true.mean() - called.mean()) ** 2
    if by_chance == 0:
        raise ValueError("kappa is undefined: all units are of one class and predicted to be")
    return float(1 - np.mean((true - called) ** 2) / by_chance)
