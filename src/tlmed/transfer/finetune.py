"""Full fine-tuning: every parameter learns."""

from __future__ import annotations

from torch import Tensor, nn

from tlmed.data.loaders import Batch
from tlmed.models.classifier import Classifier
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.transfer.loss import cross_entropy
from tlmed.transfer.optim import decay_groups
from tlmed.transfer.strategy import ParameterGroup


class Finetune:
    """Trains backbone and head with cross-entropy."""

    def __init__(self, _: StrategySettings, training: TrainingSettings, class_weights: Tensor | None) -> None:
        self._weight_decay = training.weight_decay
        self._criterion = cross_entropy(training, class_weights)

    def prepare(self, classifier: Classifier) -> None:
        """Let everything learn."""
        classifier.requires_grad_(True)
        classifier.train()

    def param_groups(self, classifier: Classifier) -> list[ParameterGroup]:
        """Two groups: with weight decay and without."""
        return decay_groups(classifier, self._weight_decay)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of the batch."""
        loss: Tensor = self._criterion.to(batch.labels.device)(model(batch.images), batch.labels)
        return loss
