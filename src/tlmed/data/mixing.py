"""Mixup and cutmix: each image of a training batch takes something of its neighbour, image and label alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlmed.recipe.training import TrainingSettings

_MIX_STREAM = 0x6D6978  # keeps these draws apart from those of the order and of the views


class Box(NamedTuple):
    """A rectangle in pixels, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


class Mix(NamedTuple):
    """How the images of one batch are mixed.

    Attributes:
        share: of an image's own label.
        box: what cutmix takes from the neighbour; None: mixup, the whole image in the label's shares.
    """

    share: float
    box: Box | None


def mixes(settings: TrainingSettings) -> bool:
    """Whether batches may be mixed at all."""
    return settings.mix_probability > 0 and (settings.mixup > 0 or settings.cutmix > 0)


def draw_mix(settings: TrainingSettings, seed: int, step: int, height: int, width: int) -> Mix | None:
    """Draw how the batch of a step is mixed, or None; a function of the settings, seed and step alone.

    The share is drawn from Beta(alpha, alpha) once a batch, as in both papers (Zhang et al. 2018, Yun et al. 2019).
    """
    if not mixes(settings):
        return None
    generator = np.random.Generator(np.random.Philox(key=[seed ^ _MIX_STREAM, step]))
    whether, which, across, down = generator.random(4)
    if whether >= settings.mix_probability:
        return None
    is_cutmix = settings.cutmix > 0 and (settings.mixup == 0 or which < 0.5)
    alpha = settings.cutmix if is_cutmix else settings.mixup
    share = float(generator.beta(alpha, alpha))
    if not is_cutmix:
        return Mix(share, None)
    box = cut_box(share, down, across, height, width)
    # What is cut off at the border stays with the image; the label follows the area.
    return Mix(1 - (box.bottom - box.top) * (box.right - box.left) / (height * width), box)


def cut_box(share: float, down: float, across: float, height: int, width: int) -> Box:
    """Return the rectangle that leaves `share` of the image, clipped to it; `down`, `across`: its centre in [0, 1)."""
    half_edge = 0.5 * (1 - share) ** 0.5
    top, bottom = _interval(down, half_edge, height)
    left, right = _interval(across, half_edge, width)
    return Box(top, bottom, left, right)


def _interval(centre: float, half_edge: float, num_pixels: int) -> tuple[int, int]:
    ends = [round(num_pixels * (centre + sign * half_edge)) for sign in (-1, 1)]
    return max(0, ends[0]), min(num_pixels, ends[1])


def partners(num_images: int) -> Tensor:
    """Return (B,) the partner of each image: its neighbour, i XOR 1; the last one of an odd batch is its own.

    Neighbours, not a permutation: a batch that is divided into parts of even size is mixed as it is in one piece.
    """
    return (torch.arange(num_images) ^ 1).clamp_(max=num_images - 1)


def mixed(images: Tensor, mix: Mix) -> Tensor:
    """Return (B, C, H, W) each image mixed with its partner; `images` may be overwritten."""
    partner = partners(len(images)).to(images.device)
    if mix.box is None:
        return images[partner].lerp_(images, mix.share)
    cut = images[:, :, mix.box.top : mix.box.bottom, mix.box.left : mix.box.right]
    cut.copy_(cut[partner])  # the right side is a copy before anything is overwritten
    return images
