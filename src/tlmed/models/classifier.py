"""The model that is trained, saved and delivered: normalisation, backbone, linear head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tlmed.models.backbones import create_backbone, num_features
from tlmed.recipe.model import IMAGENET_MEAN, IMAGENET_STD, BackboneSettings, ImageSettings

_HEAD_STD = 0.02


class Classifier(nn.Module):
    """Backbone and head.

    The state dict has `backbone.*` and `head.*` alone: mean and std are settings, not weights, and stand in the cards.

    Args:
        backbone: maps images to features `(N, num_features)`.
        num_features: length of a feature vector.
        num_classes: K.
        mean, std: of pixels in [0, 1], one value a channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, num_features: int, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.head = nn.Linear(num_features, num_classes)
        # Truncated normal with std 0.02 and zero bias, as in DeiT (Touvron et al. 2021): the first logits are near
        # zero, so that a new head does not tear a pretrained backbone apart in the first steps.
        nn.init.trunc_normal_(self.head.weight, std=_HEAD_STD)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Return features `(N, num_features)` of float images `(N, C, H, W)` in [0, 1]."""
        features: Tensor = self.backbone((images - self.mean) / self.std)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(N, K)` of float images `(N, C, H, W)` in [0, 1]."""
        logits: Tensor = self.head(self.features(images))
        return logits


def create_classifier(
    backbone: BackboneSettings,
    image: ImageSettings,
    num_classes: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Classifier:
    """Build a classifier with random weights, drawn from torch's global generator.

    Args:
        backbone: which network.
        image: its size and number of channels.
        num_classes: K, two or more.
        mean, std: of pixels in [0, 1], one value or three (a grey model takes their average). Default: ImageNet's.

    Raises:
        InputError: see `create_backbone`.
        ValueError: fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"a classifier tells two or more classes apart, not {num_classes}")
    network = create_backbone(backbone, image)
    return Classifier(
        network,
        num_features(network),
        num_classes,
        mean=_by_channel(mean or IMAGENET_MEAN, image.num_channels),
        std=_by_channel(std or IMAGENET_STD, image.num_channels),
    )


def _by_channel(values: Sequence[float], num_channels: int) -> list[float]:
    if len(values) not in (1, 3):
        raise ValueError(f"mean and std take one value or three, not {len(values)}")
    if num_channels == 1:
        return [sum(values) / len(values)]
    return [float(value) for value in values] * (num_channels // len(values))
