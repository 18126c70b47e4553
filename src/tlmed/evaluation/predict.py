"""A classifier and stored images to class probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tlmed.data.augment import as_float
from tlmed.data.loaders import LabelledImages

_BATCH_SIZE = 32


@torch.inference_mode()
def predict_logits(
    classifier: nn.Module, images: LabelledImages, device: torch.device, on_batch: Callable[[int], object] = int
) -> np.ndarray:
    """Return (N, K) float64 logits of images as they are stored, without training views.

    Args:
        classifier: put into evaluation mode.
        images: what to predict.
        device: where the classifier is.
        on_batch: told the number of images after each batch.
    """
    classifier.eval()
    parts = []
    for start in range(0, len(images), _BATCH_SIZE):
        pixels = images.pixels[images.rows[start : start + _BATCH_SIZE]]
        parts.append(classifier(as_float(pixels).to(device)).to("cpu", torch.float64).numpy())
        on_batch(len(pixels))
    return np.concatenate(parts)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return (N, K) probabilities."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
