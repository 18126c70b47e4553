"""RandAugment in a form that grey medical images survive: a few operations drawn for each image, of one strength.

After Cubuk et al. 2020: operations are drawn uniformly, their strength is the same for all, their direction random.
Left out of the original are those after which a grey level no longer says what it said: invert, solarize, posterize,
equalize, autocontrast; blur, gamma and noise, by which scanners differ, have taken their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tlmed.data.pixel_noise import uniform_noise
from tlmed.recipe.training import ViewSettings

NUM_OPERATION_DRAWS = 3  # which, direction, and the axis or the noise's key

# Each operation at strength 1; those of geometry and contrast are RandAugment's.
LARGEST: dict[str, float] = {
    "rotate": 30.0,  # degrees
    "shear": 0.3,
    "shift": 0.45,  # of the edge
    "zoom": 0.5,
    "brightness": 0.5,  # of the full range
    "contrast": 0.9,  # about mid-grey
    "gamma": 1.0,  # the exponent is 2 to this power
    "blur": 0.015,  # standard deviation, of the edge
    "sharpen": 2.0,  # so many times what a blur by one pixel takes away
    "noise": 0.1,  # standard deviation, of the full range
}
OPERATIONS = tuple(LARGEST)


class DrawnOperations(NamedTuple):
    """What was drawn for N images with K operations each.

    Attributes:
        kinds: (N, K) positions in `OPERATIONS`.
        strengths: (N, K) in the unit of the operation, with its direction as sign.
        thirds: (N, K) uniform numbers: the axis, or the key of the noise.
    """

    kinds: np.ndarray
    strengths: np.ndarray
    thirds: np.ndarray


def draw_operations(draws: np.ndarray, settings: ViewSettings) -> DrawnOperations:
    """Read the operations off (N, 3 K or more) uniform numbers; K is `random_operations`."""
    slots = draws[:, : NUM_OPERATION_DRAWS * settings.random_operations].reshape(len(draws), -1, NUM_OPERATION_DRAWS)
    kinds = (slots[:, :, 0] * len(OPERATIONS)).astype(np.int64)
    directions = np.where(slots[:, :, 1] < 0.5, -1.0, 1.0)
    largest = np.array(list(LARGEST.values()))
    return DrawnOperations(kinds, settings.random_magnitude * directions * largest[kinds], slots[:, :, 2])


def geometry(operations: DrawnOperations) -> np.ndarray:
    """Return (N, 3, 3) matrices from view to image coordinates (from -1 to 1), one for all operations of an image.

    Geometry is resampled once, whatever its number, and before all intensity: each resampling would blur.
    """
    matrices = np.tile(np.eye(3), (len(operations.kinds), 1, 1))
    for image, kinds in enumerate(operations.kinds):
        for kind, strength, third in zip(kinds, operations.strengths[image], operations.thirds[image], strict=True):
            matrices[image] @= _matrix(OPERATIONS[kind], strength, int(third < 0.5))
    return matrices


def _matrix(kind: str, strength: float, axis: int) -> np.ndarray:
    matrix = np.eye(3)
    if kind == "rotate":
        cosine, sine = math.cos(math.radians(strength)), math.sin(math.radians(strength))
        matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    elif kind == "zoom":
        matrix[[0, 1], [0, 1]] = 1 + strength
    elif kind == "shear":
        matrix[axis, 1 - axis] = strength
    elif kind == "shift":
        matrix[axis, 2] = 2 * strength  # coordinates run over two, the edge is one
    return matrix


def apply_intensity(images: Tensor, operations: DrawnOperations) -> None:
    """Change (N, C, H, W) float32 images in [0, 1] in place, operation by operation."""
    for slot in range(operations.kinds.shape[1]):
        for kind, change in _INTENSITY.items():
            chosen = np.flatnonzero(operations.kinds[:, slot] == OPERATIONS.index(kind))
            if len(chosen):
                index = torch.from_numpy(chosen).to(images.device)
                changed = change(images[index], operations.strengths[chosen, slot], operations.thirds[chosen, slot])
                images[index] = changed.clamp_(0, 1)


def _brighten(images: Tensor, strengths: np.ndarray, _: np.ndarray) -> Tensor:
    return images + _per_image(strengths, images)


def _stretch(images: Tensor, strengths: np.ndarray, _: np.ndarray) -> Tensor:
    return (images - 0.5) * _per_image(1 + strengths, images) + 0.5


def _bend(images: Tensor, strengths: np.ndarray, _: np.ndarray) -> Tensor:
    return images ** _per_image(2.0**strengths, images)


def _blur(images: Tensor, strengths: np.ndarray, _: np.ndarray) -> Tensor:
    return blurred(images, abs(float(strengths[0])) * images.shape[-1])  # one strength for all


def _sharpen(images: Tensor, strengths: np.ndarray, _: np.ndarray) -> Tensor:
    return torch.lerp(blurred(images, 1.0), images, 1 + abs(float(strengths[0])))


def _add_noise(images: Tensor, strengths: np.ndarray, keys: np.ndarray) -> Tensor:
    uniform = uniform_noise(keys, images.shape[2], images.shape[3], images.device)
    normal = math.sqrt(2) * torch.erfinv(2 * uniform - 1)  # the normal distribution's quantile function
    return images + normal * _per_image(strengths, images)


_INTENSITY: dict[str, Callable[[Tensor, np.ndarray, np.ndarray], Tensor]] = {
    "brightness": _brighten,
    "contrast": _stretch,
    "gamma": _bend,
    "blur": _blur,
    "sharpen": _sharpen,
    "noise": _add_noise,
}


def _per_image(numbers: np.ndarray, images: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(images.device, torch.float32).view(-1, 1, 1, 1)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Blur (N, C, H, W) by a Gaussian of this standard deviation in pixels, cut at three of them, edges repeated."""
    radius = math.ceil(3 * deviation)
    weights = [math.exp(-0.5 * (offset / deviation) ** 2) for offset in range(-radius, radius + 1)]
    for axis, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        padded = functional.pad(images, padding, mode="replicate")
        images = torch.zeros_like(images)
        for start, weight in enumerate(weights):
            images.add_(padded.narrow(axis, start, images.shape[axis]), alpha=weight / sum(weights))
    return images
