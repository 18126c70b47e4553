"""Smooth random fields, which all phantoms draw with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def smooth_noise(generator: np.random.Generator, resolution: int, cells: int) -> NDArray[np.float64]:
    """Return (resolution, resolution) of about mean 0 and deviation 1, varying over `1 / cells` of the edge."""
    coarse = Image.fromarray(generator.normal(size=(cells, cells)).astype(np.float32))
    fine = np.asarray(coarse.resize((resolution, resolution), Image.Resampling.BICUBIC), dtype=np.float64)
    return fine
