"""Noise that is a pure function of an image's key and a pixel's place, the same on every device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def uniform_noise(draws: np.ndarray, height: int, width: int, device: torch.device) -> Tensor:
    """Return (N, 1, H, W) float32 uniform in (0, 1): all channels of an image share it, so that grey stays grey.

    Args:
        draws: (N,) uniform numbers in [0, 1), an image's key each.
        height: H.
        width: W.
        device: where the noise is made.
    """
    keys = torch.from_numpy((draws * 2**32).astype(np.uint32).view(np.int32)).to(device)
    places = _scattered(torch.arange(height * width, dtype=torch.int32, device=device))
    words = _scattered(places ^ keys[:, None])
    # 23 of the 32 bits, and the middle of their interval: float32 can tell these apart, and from 0 and 1.
    uniform = _shifted(words, 9).to(torch.float32).add_(0.5).div_(2**23)
    return uniform.view(-1, 1, height, width)


def _scattered(words: Tensor) -> Tensor:
    """Scatter 32-bit words over their whole range (the finaliser of MurmurHash3, Appleby 2011)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words = (words ^ _shifted(words, shift)).mul_(factor - 2**32)  # int32 wraps around, as unsigned words do
    return words ^ _shifted(words, 16)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shift unsigned words to the right; torch's own shift of int32 would draw the sign along."""
    return (words >> bits).bitwise_and_((1 << (32 - bits)) - 1)
