"""Random erasing: a rectangle of a training image is replaced by noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tlmed.data.pixel_noise import uniform_noise
from tlmed.recipe.training import ViewSettings

NUM_ERASING_DRAWS = 6  # whether, area, aspect, top, left, noise

_SMALLEST_AREA = 0.02  # Zhong et al. 2020, as are the aspects
_LARGEST_ASPECT = 1 / 0.3


def erase(images: Tensor, draws: np.ndarray, settings: ViewSettings) -> None:
    """Replace a rectangle of some images, in place (Zhong et al., AAAI 2020).

    The filling is noise and not one level, such as the mean: a smooth patch may pass for a finding, noise for none.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        draws: (N, 6) uniform numbers in [0, 1).
        settings: `erasing` and `erasing_area`.
    """
    chosen = np.flatnonzero(draws[:, 0] < settings.erasing)
    if len(chosen) == 0:
        return
    height, width = images.shape[2:]
    boxes = torch.from_numpy(erased_boxes(draws[chosen], settings.erasing_area, height, width)).to(images.device)
    top, bottom, left, right = boxes.T[:, :, None, None, None]
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
    noise = uniform_noise(draws[chosen, 5], height, width, images.device)
    index = torch.from_numpy(chosen).to(images.device)
    images[index] = torch.where(inside, noise, images[index])


def erased_boxes(draws: np.ndarray, largest_area: float, height: int, width: int) -> np.ndarray:
    """Return (N, 4) top, bottom, left, right in pixels, ends excluded.

    Area uniform, aspect log-uniform within what fits into the image, so that no draw has to be repeated.
    """
    smallest_area = min(_SMALLEST_AREA, largest_area)
    area = smallest_area + (largest_area - smallest_area) * draws[:, 1]
    limit = np.log(np.minimum(_LARGEST_ASPECT, 1 / area))
    aspect = np.exp(limit * (2 * draws[:, 2] - 1))
    # Rounded down: `erasing_area` is a promise about the largest share.
    tall = np.clip((np.sqrt(area * aspect) * height).astype(np.int64), 1, height)
    wide = np.clip((np.sqrt(area / aspect) * width).astype(np.int64), 1, width)
    top = (draws[:, 3] * (height - tall + 1)).astype(np.int64)
    left = (draws[:, 4] * (width - wide + 1)).astype(np.int64)
    return np.stack([top, top + tall, left, left + wide], axis=1)
