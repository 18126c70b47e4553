"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from tlmed.data.images import FORMATS


def read_image_headers(files: Sequence[Path]) -> pd.DataFrame:
    """Return a row a file: width and height in pixels, ratio (width / height), mode (Pillow's) and format.

    The files are ones that `read_image` can read.
    """
    rows = []
    for file in files:
        with Image.open(file, formats=FORMATS) as opened:
            width, height = opened.size
            rows.append((width, height, width / height, opened.mode, opened.format))
    return pd.DataFrame(rows, columns=["width", "height", "ratio", "mode", "format"])
