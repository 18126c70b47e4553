"""Loss functions that strategies share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlmed.recipe.training import TrainingSettings


def cross_entropy(settings: TrainingSettings, class_weights: Tensor | None) -> nn.CrossEntropyLoss:
    """The loss with the stage's label smoothing and, where asked for, class weights."""
    return nn.CrossEntropyLoss(weight=class_weights, label_smoothing=settings.label_smoothing)


def inverse_frequency(labels: Tensor, num_classes: int) -> Tensor:
    """Return (K,) weights N / (K * n_k), whose mean over the images is one (scikit-learn's "balanced")."""
    counts = torch.bincount(labels, minlength=num_classes).clamp(min=1)
    return len(labels) / (num_classes * counts.to(torch.float32))
