"""Logistic regression on features, its penalty chosen by cross-validation, as the weight and bias of a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

# C of scikit-learn: the inverse of the penalty, on the sum of the losses. On standardised features this reaches from
# "hardly more than the class frequencies" to "hardly any penalty" for a few hundred images.
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
# Where no choice is possible: the middle of the grid.
FIXED_C = 1e-1
_MAX_FOLDS = 5
_TOLERANCE, _MAX_ITERATIONS = 1e-6, 10_000


@dataclass(frozen=True)
class LinearHead:
    """What was solved for.

    Attributes:
        weight: (K, D) float64, of features as they come: the standardisation is folded in.
        bias: (K,) float64.
        c: the inverse penalty that was used.
        num_folds: of the cross-validation that chose it; 0 where `FIXED_C` was taken.
        held_out_losses: mean cross-entropy of held-out images, by value of C; empty where `FIXED_C` was taken.
    """

    weight: np.ndarray
    bias: np.ndarray
    c: float
    num_folds: int
    held_out_losses: dict[float, float]

    def card(self) -> dict[str, object]:
        """Return what a stage's card says of it, JSON-able."""
        losses = {f"{c:g}": round(loss, 6) for c, loss in self.held_out_losses.items()}
        return {
            "c": self.c,
            "num_folds": self.num_folds,
            "num_features": self.weight.shape[1],
            "held_out_losses": losses,
        }

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return (N, K) float64 logits of features (N, D)."""
        logits: np.ndarray = features.astype(np.float64) @ self.weight.T + self.bias
        return logits


def solve_head(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, class_weights: bool = False
) -> LinearHead:
    """Solve L2-penalised multinomial logistic regression on standardised features.

    C is the value of `GRID` with the lowest cross-entropy over the held-out images of a cross-validation by group,
    stratified by class; of equal ones the smallest, which is the strongest penalty. It has five folds, or as many as
    leave every class in every training part, and where not even two do, C is `FIXED_C`. Where patients are unknown and
    each image is its own group, images of one patient in two folds favour too weak a penalty.

    Args:
        features: (N, D).
        labels: (N,) class indices 0 to K - 1, each of which occurs.
        groups: (N,) codes; the result depends on them as a partition, and on the order of the rows.
        class_weights: weigh images by inverse class frequency, as scikit-learn's "balanced".
    """
    values = features.astype(np.float64)
    folds = _folds(labels, groups)
    losses = {c: _held_out_loss(values, labels, folds, c, class_weights) for c in GRID} if folds else {}
    # `min` returns the first of equal ones, and the grid rises.
    chosen = min(losses, key=lambda c: losses[c]) if losses else FIXED_C
    weight, bias = _fit(values, labels, chosen, class_weights)
    return LinearHead(weight, bias, chosen, len(folds), losses)


def mean_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over images of the negative log probability of the true class."""
    log_likelihood = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float(-log_likelihood[np.arange(len(labels)), labels].mean())


def _folds(labels: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to fit and the rows held out of every fold; empty where the groups are too few."""
    groups_of_rarest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    for num_folds in range(min(_MAX_FOLDS, groups_of_rarest), 1, -1):
        folds = list(StratifiedGroupKFold(num_folds).split(labels, labels, groups))
        if all(len(np.unique(labels[fitted])) == len(np.unique(labels)) and len(held) for fitted, held in folds):
            return folds
    return []


def _held_out_loss(
    features: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    c: float,
    class_weights: bool,
) -> float:
    num_images, total = 0, 0.0
    for fitted, held_out in folds:
        weight, bias = _fit(features[fitted], labels[fitted], c, class_weights)
        logits = features[held_out] @ weight.T + bias
        total += mean_cross_entropy(logits, labels[held_out]) * len(held_out)
        num_images += len(held_out)
    return total / num_images


def _fit(features: np.ndarray, labels: np.ndarray, c: float, class_weights: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (K, D) and bias (K,) for features that are not standardised."""
    scaler = StandardScaler().fit(features)
    solver = LogisticRegression(
        C=c, class_weight="balanced" if class_weights else None, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS
    ).fit(scaler.transform(features), labels)
    weight, bias = solver.coef_, solver.intercept_
    if len(weight) == 1:
        # Of two classes it has one row, the difference; half of it each way gives the same two probabilities.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scaler.scale_
    return weight, bias - weight @ scaler.mean_
