"""What a strategy is: it says what is trained and what is minimised; the loop does the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from tlmed.data.loaders import Batch
from tlmed.models.classifier import Classifier


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share an optimiser setting.

    Attributes:
        parameters: by name.
        learning_rate_factor: multiplies the schedule's rate.
        weight_decay: of this group.
    """

    parameters: dict[str, nn.Parameter]
    weight_decay: float
    learning_rate_factor: float = 1.0


class Strategy(Protocol):
    """One way to train a classifier on a domain. One class in one file; `strategies.py` names them all."""

    def prepare(self, classifier: Classifier) -> None:
        """Freeze what is not trained, and set modes; called before training and again before each epoch."""

    def param_groups(self, classifier: Classifier) -> list[ParameterGroup]:
        """Every parameter that requires a gradient, each in exactly one group."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar to minimise; `model` maps images (B, C, H, W) to logits (B, K)."""
