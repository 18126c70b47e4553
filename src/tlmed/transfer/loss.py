"""Loss functions that strategies share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tlmed.data.loaders import Batch
from tlmed.recipe.training import TrainingSettings


def cross_entropy(settings: TrainingSettings, class_weights: Tensor | None) -> nn.CrossEntropyLoss:
    """The loss with the stage's label smoothing and, where asked for, class weights."""
    return nn.CrossEntropyLoss(weight=class_weights, label_smoothing=settings.label_smoothing)


def batch_loss(criterion: nn.CrossEntropyLoss, logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean loss of a batch, mixed or not, as a scalar.

    A mixed image counts towards two labels in its shares (Zhang et al. 2018). The sum is divided by that of the class
    weights, taken in the same shares, as torch divides where each image has one label.

    Args:
        criterion: from `cross_entropy`.
        logits: (B, K) of the batch's images.
        batch: with the labels.
    """
    if batch.partner_labels is None or batch.shares is None:
        loss: Tensor = criterion(logits, batch.labels)
        return loss
    labels = torch.cat([batch.labels, batch.partner_labels])
    shares = torch.cat([batch.shares, 1 - batch.shares])
    losses = functional.cross_entropy(
        logits.repeat(2, 1),
        labels,
        weight=criterion.weight,
        label_smoothing=criterion.label_smoothing,
        reduction="none",
    )
    weights = shares if criterion.weight is None else shares * criterion.weight[labels]
    return (shares * losses).sum() / weights.sum()


def inverse_frequency(labels: Tensor, num_classes: int) -> Tensor:
    """Return (K,) weights N / (K * n_k), whose mean over the images is one (scikit-learn's "balanced")."""
    counts = torch.bincount(labels, minlength=num_classes).clamp(min=1)
    return len(labels) / (num_classes * counts.to(torch.float32))
