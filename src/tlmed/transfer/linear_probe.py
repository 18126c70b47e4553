"""Linear probe: the backbone is frozen, the head learns."""

from __future__ import annotations

from tlmed.models.classifier import Classifier
from tlmed.transfer.finetune import Finetune


class LinearProbe(Finetune):
    """Trains the head alone; the backbone's norms and dropout stay in evaluation mode: it computes what it did."""

    def prepare(self, classifier: Classifier) -> None:
        """Freeze the backbone."""
        classifier.requires_grad_(False)
        classifier.head.requires_grad_(True)
        classifier.eval()
        classifier.head.train()
