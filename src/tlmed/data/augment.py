"""Random training views: geometry and intensity that grey medical images survive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tlmed.recipe.training import ViewSettings

_NUM_DRAWS = 8


def training_views(pixels: np.ndarray, draws: np.ndarray, settings: ViewSettings) -> Tensor:
    """Return views of a batch.

    Args:
        pixels: (N, C, H, W) uint8.
        draws: (N, 8) uniform numbers in [0, 1), from `draw_numbers`.
        settings: what may vary, and by how much.

    Returns:
        (N, C, H, W) float32 in [0, 1].
    """
    images = as_float(pixels)
    if not settings.enabled:
        return images
    uniform = torch.from_numpy(draws)
    symmetric = (2 * uniform - 1).to(torch.float32)
    grid = functional.affine_grid(_affine(uniform, symmetric, settings), list(images.shape), align_corners=False)
    # The border is repeated outwards: black corners would tell how far the view was turned.
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    contrast = 1 + settings.contrast * symmetric[:, 5].view(-1, 1, 1, 1)
    brightness = settings.brightness * symmetric[:, 6].view(-1, 1, 1, 1)
    return ((images - 0.5) * contrast + 0.5 + brightness).clamp_(0, 1)


def _affine(uniform: Tensor, symmetric: Tensor, settings: ViewSettings) -> Tensor:
    """Return (N, 2, 3) matrices from view to image coordinates, in units of half the edge."""
    angle = symmetric[:, 0] * np.deg2rad(settings.rotation_degrees)
    zoom = 1 + settings.scale * symmetric[:, 1]
    flip = torch.where(uniform[:, 4] < settings.horizontal_flip, -1.0, 1.0).to(torch.float32)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # A shift by a fraction of the edge is twice that in coordinates that run from -1 to 1.
    shift_x, shift_y = 2 * settings.shift * symmetric[:, 2], 2 * settings.shift * symmetric[:, 3]
    rows = [torch.stack([cosine * flip, -sine, shift_x], 1), torch.stack([sine * flip, cosine, shift_y], 1)]
    return torch.stack(rows, 1)


def as_float(pixels: np.ndarray) -> Tensor:
    """Return uint8 (N, C, H, W) as float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(torch.float32).div_(255)


def draw_numbers(seed: int, epoch: int, positions: Sequence[int]) -> np.ndarray:
    """Return (N, 8) uniform numbers that depend on seed, epoch and the image's position alone.

    A counter-based generator (Philox, Salmon et al. 2011) makes them independent of batch, worker and resumption.
    """
    draws = np.empty((len(positions), _NUM_DRAWS))
    for row, position in enumerate(positions):
        draws[row] = np.random.Generator(np.random.Philox(key=[seed, (epoch << 32) + position])).random(_NUM_DRAWS)
    return draws
