"""Full fine-tuning: every parameter learns."""

from __future__ import annotations

from torch import Tensor, nn

from tlmed.data.loaders import Batch
from tlmed.models.classifier import Classifier
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.transfer.loss import batch_loss, cross_entropy
from tlmed.transfer.parameter_groups import layer_decay_groups
from tlmed.transfer.strategy import ParameterGroup


class Finetune:
    """Trains backbone and head with cross-entropy."""

    def __init__(self, _: StrategySettings, training: TrainingSettings, class_weights: Tensor | None) -> None:
        self._weight_decay, self._layer_decay = training.weight_decay, training.layer_decay
        self._criterion = cross_entropy(training, class_weights)

    def prepare(self, classifier: Classifier) -> None:
        """Let everything learn."""
        classifier.requires_grad_(True)
        classifier.train()

    def param_groups(self, classifier: Classifier) -> list[ParameterGroup]:
        """By weight decay, and by layer where the rate falls from layer to layer."""
        return layer_decay_groups(classifier, self._weight_decay, self._layer_decay)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of the batch."""
        return batch_loss(self._criterion.to(batch.labels.device), model(batch.images), batch)
