"""Linear probe: the backbone is frozen, the head learns, on features that are computed once."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from tlmed.data.loaders import Batch, Ingredients, LabelledImages, TrainingSteps
from tlmed.models.classifier import Classifier
from tlmed.recipe.protocol import RuntimeSettings
from tlmed.recipe.training import TrainingSettings
from tlmed.transfer.finetune import Finetune
from tlmed.transfer.fit import FitResult, FitTask, fit
from tlmed.transfer.frozen_features import FrozenBackbone
from tlmed.transfer.strategy import Strategy

_HEAD = "head."


class LinearProbe(Finetune):
    """Trains the head alone; the backbone's norms and dropout stay in evaluation mode: it computes what it did."""

    def prepare(self, classifier: Classifier) -> None:
        """Freeze the backbone."""
        classifier.requires_grad_(False)
        classifier.head.requires_grad_(True)
        classifier.eval()
        classifier.head.train()


class HeadOnFeatures(Classifier):
    """A classifier's head, which maps features (N, D) to logits (N, K); its state dict has `head.*` alone."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__(nn.Identity(), head.in_features, head.out_features, mean=(0.0,), std=(1.0,))
        self.head = head

    def features(self, images: Tensor) -> Tensor:
        """Return features (N, D) as they come."""
        return images


class FeatureSteps(TrainingSteps):
    """The batches of `TrainingSteps` with features for images: `Batch.images` is (B, D), epoch e has view e mod V.

    Args:
        images: what the features are of.
        features: (N, V, D), on the device where the batches are wanted.
        training, seed, shard: as in `TrainingSteps`.
    """

    def __init__(
        self,
        images: LabelledImages,
        features: Tensor,
        training: TrainingSettings,
        seed: int,
        *,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(images, training, seed, shard=shard)
        self._features = features

    def batch(self, step: int, ingredients: Ingredients) -> Batch:
        """Return this process' part of a step's batch."""
        view = step // self.steps_per_epoch % self._features.shape[1]
        positions = ingredients.positions
        return Batch(self._features[positions, view], ingredients.labels, positions)


def fit_on_cached_views(
    classifier: Classifier, strategy: Strategy, task: FitTask, num_views: int, runtime: RuntimeSettings, fabric: Fabric
) -> FitResult:
    """Train the head on features of `num_views` random views of each image, which pass the frozen backbone once.

    Raises:
        NonFiniteFeatures: naming an image.
        NonFiniteLoss, Stopped, OSError: as `fit`; a resumed call computes the same features anew.
    """
    start = time.monotonic()
    backbone = FrozenBackbone(classifier, fabric, task.name)
    features = backbone.features_of_views(task.train, task.training.views, num_views, task.seed)
    of_val = torch.from_numpy(backbone.features(task.val) if task.val is not None else features[:0, 0])
    seconds = time.monotonic() - start
    steps = FeatureSteps(
        task.train,
        torch.from_numpy(features).to(fabric.device),
        task.training,
        task.seed,
        shard=(fabric.global_rank, fabric.world_size),
    )

    @torch.inference_mode()
    def predict(head: nn.Module, _images: LabelledImages, device: torch.device) -> np.ndarray:
        head.eval()
        logits: Tensor = head(of_val.to(device))
        return logits.to("cpu", torch.float64).numpy()

    # Nothing is left that workers or a compiled network could make faster.
    light = runtime.model_copy(update={"workers": 0, "compile": False})
    head = HeadOnFeatures(classifier.head)
    result = fit(head, strategy, replace(task, steps=steps, predict=predict), light, fabric)
    return replace(result, state=with_head(classifier, result.state), seconds=result.seconds + seconds)


def with_head(classifier: Classifier, head: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the classifier's state on the CPU with `head.*` replaced."""
    backbone = {name: tensor.detach().cpu() for name, tensor in classifier.state_dict().items()}
    return {name: head[name] if name.startswith(_HEAD) else tensor for name, tensor in backbone.items()}
