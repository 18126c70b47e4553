"""Random training views: geometry and intensity that grey medical images survive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tlmed.data.erasing import NUM_ERASING_DRAWS, erase
from tlmed.data.random_operations import NUM_OPERATION_DRAWS, apply_intensity, draw_operations, geometry
from tlmed.recipe.training import ViewSettings

# Which numbers of an image's draws belong to what; those of the mild views come first.
_NUM_MILD_DRAWS = 8
_ERASING = slice(_NUM_MILD_DRAWS, _NUM_MILD_DRAWS + NUM_ERASING_DRAWS)
_MOST_OPERATIONS = 4  # `random_operations` at its largest
_OPERATIONS = slice(_ERASING.stop, _ERASING.stop + _MOST_OPERATIONS * NUM_OPERATION_DRAWS)
NUM_DRAWS = _OPERATIONS.stop


def training_views(pixels: np.ndarray | Tensor, draws: np.ndarray, settings: ViewSettings) -> Tensor:
    """Return views of a batch, on the device where its pixels lie.

    Args:
        pixels: (N, C, H, W) uint8.
        draws: (N, NUM_DRAWS) uniform numbers in [0, 1), from `draw_numbers`.
        settings: what may vary, and by how much.

    Returns:
        (N, C, H, W) float32 in [0, 1].
    """
    images = as_float(pixels)
    if not settings.enabled:
        return images
    matrices = _affine(draws, settings)
    has_operations = settings.random_operations > 0 and settings.random_magnitude > 0
    operations = draw_operations(draws[:, _OPERATIONS], settings) if has_operations else None
    if operations is not None:
        matrices = matrices @ geometry(operations)
    images = _resampled(images, matrices)
    symmetric = 2 * draws - 1
    contrast = 1 + settings.contrast * symmetric[:, 5]
    offset = 0.5 * (1 - contrast) + settings.brightness * symmetric[:, 6]  # contrast turns about mid-grey
    factors = torch.from_numpy(np.stack([contrast, offset])).to(images.device, torch.float32)[:, :, None, None, None]
    images = torch.addcmul(factors[1], images, factors[0]).clamp_(0, 1)
    if operations is not None:
        apply_intensity(images, operations)
    if settings.erasing > 0:
        erase(images, draws[:, _ERASING], settings)
    return images


def _affine(draws: np.ndarray, settings: ViewSettings) -> np.ndarray:
    """Return (N, 3, 3) matrices from view to image coordinates, in units of half the edge."""
    symmetric = 2 * draws - 1
    angle = symmetric[:, 0] * np.deg2rad(settings.rotation_degrees)
    zoom = 1 + settings.scale * symmetric[:, 1]
    flip = np.where(draws[:, 4] < settings.horizontal_flip, -1.0, 1.0)
    cosine, sine = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrices = np.zeros((len(draws), 3, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cosine * flip, -sine
    matrices[:, 1, 0], matrices[:, 1, 1] = sine * flip, cosine
    # A shift by a fraction of the edge is twice that in coordinates that run from -1 to 1.
    matrices[:, :2, 2] = 2 * settings.shift * symmetric[:, 2:4]
    matrices[:, 2, 2] = 1
    return matrices


def _resampled(images: Tensor, matrices: np.ndarray) -> Tensor:
    """Return (N, C, H, W) images seen through (N, 3, 3) matrices from view to image coordinates."""
    height, width = images.shape[2:]
    points = matrices[:, 0] + 1j * matrices[:, 1]  # (N, 3): x and y of a point as one number
    along_x, along_y, origin = torch.from_numpy(points).to(images.device, torch.complex64).T[:, :, None]
    rows = along_y * _centres(height, images.device) + origin
    columns = along_x * _centres(width, images.device)
    # One addition a point; a product of matrices, as in `affine_grid`, takes seven times as long.
    grid = torch.view_as_real(rows[:, :, None] + columns[:, None, :])
    # The border is repeated outwards: black corners would tell how far the view was turned.
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _centres(num: int, device: torch.device) -> Tensor:
    """Return (num,) centres of pixels along an edge that runs from -1 to 1."""
    return (2 * torch.arange(num, device=device) + 1) / num - 1


def as_float(pixels: np.ndarray | Tensor) -> Tensor:
    """Return uint8 (N, C, H, W) as float32 in [0, 1], on the device where they lie."""
    if isinstance(pixels, np.ndarray):
        pixels = torch.from_numpy(np.ascontiguousarray(pixels))
    return pixels.to(torch.float32).div_(255)


def draw_numbers(seed: int, epoch: int, positions: Sequence[int]) -> np.ndarray:
    """Return (N, NUM_DRAWS) uniform numbers that depend on seed, epoch and the image's position alone.

    A counter-based generator (Philox, Salmon et al. 2011) makes them independent of batch, worker and resumption.
    """
    draws = np.empty((len(positions), NUM_DRAWS))
    for row, position in enumerate(positions):
        draws[row] = np.random.Generator(np.random.Philox(key=[seed, (epoch << 32) + position])).random(NUM_DRAWS)
    return draws
