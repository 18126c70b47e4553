"""What control arms do not see: a model retrained without it shows how much of the answer lies there.

Blanked in training and in test alike: a network that never saw a blank meets something foreign, and its figures then
say little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlmed.recipe.model import Blanking

BORDER_SHARE = 0.125  # of an edge on each side; the audit's border probe looks at the same
CENTRE_SHARE = 0.6  # of an edge: most of the organ; the outer rim of lungs in tightly cut slices lies outside
BLANK_LEVEL = 128


def blanked(pixels: NDArray[np.uint8], blanking: Blanking | None) -> NDArray[np.uint8]:
    """Return (..., H, W) pixels with one grey level, the same in every image, over what must not be seen.

    Args:
        pixels: (..., H, W).
        blanking: `border-only` keeps the outer 12.5 % of each edge, `centre-blanked` hides the middle 60 % of each
            edge; None leaves all as it is.
    """
    if blanking is None:
        return pixels
    margin = BORDER_SHARE if blanking == "border-only" else (1.0 - CENTRE_SHARE) / 2
    height, width = pixels.shape[-2:]
    rows, columns = round(height * margin), round(width * margin)
    hidden = pixels.copy()
    hidden[..., rows : height - rows, columns : width - columns] = BLANK_LEVEL
    return hidden
