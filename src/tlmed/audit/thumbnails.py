"""One pass over the files: a thumbnail of each, and what its container says without a look at the picture."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tlmed.data.blanking import BORDER_SHARE
from tlmed.data.images import FORMATS, UnreadableImage, read_image
from tlmed.data.prepare import DECODING_VERSION, IMAGES
from tlmed.recipe.model import ImageSettings
from tlmed.runtime.processes import map_in_order
from tlmed.runtime.progress import track
from tlmed.runtime.store import Store, content_key, write_json_durably

THUMBNAIL_SIZE = 64

# Raised whenever a change of the code changes what is noted about the same file.
_METADATA_VERSION = 1
_PIXELS, _INDEX = "thumbnails.npy", "metadata.json"
_EXIF_TAGS = {
    "exif_make": ExifTags.Base.Make,
    "exif_model": ExifTags.Base.Model,
    "exif_software": ExifTags.Base.Software,
}
_LONGEST_TEXT = 100
_NUM_INTENSITIES = 256


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """The pictures of a data set, small, and the metadata of their files.

    Attributes:
        pixels: (N, S, S) uint8 grey, squashed to a square; a row of zeros where the file is unreadable.
        metadata: N rows: width, height, ratio, mode, format, bytes_per_pixel, num_exif_tags, exif_make, exif_model,
            exif_software; missing where the file is unreadable or has no such tag.
        unreadable: from the digest of a file to the reason.
    """

    pixels: NDArray[np.uint8]
    metadata: pd.DataFrame
    unreadable: dict[str, str]

    def take(self, positions: NDArray[np.int64]) -> Thumbnails:
        """Those of some rows, in the order given."""
        metadata = self.metadata.iloc[positions].reset_index(drop=True)
        return replace(self, pixels=self.pixels[positions], metadata=metadata)


def thumbnails_key(digests: Sequence[str], value_range: tuple[float, float] | None) -> str:
    """Where `make_thumbnails` keeps them, under the kind `images`."""
    form = _form(value_range).model_dump(mode="json")
    versions = {"decoding": DECODING_VERSION, "metadata": _METADATA_VERSION}
    return content_key({**versions, "form": form, "files": sorted(set(digests))})


def make_thumbnails(
    files: Sequence[Path],
    digests: Sequence[str],
    store: Store,
    *,
    value_range: tuple[float, float] | None = None,
    num_workers: int | None = None,
) -> Thumbnails:
    """Return the thumbnails of `files`, made once for each set of digests and then kept in the store.

    Args:
        files: N files.
        digests: SHA-256 of each.
        store: where they are kept.
        value_range: of pixels deeper than 8 bits, as in `ImageSettings`.
        num_workers: decoding processes; default: the machine's cores, or none where there is little to do.

    Raises:
        UnreadableImage: a file that cannot be opened; damaged ones are listed instead.
        OSError: disk full; nothing incomplete is left.
    """
    file_of = dict(sorted(zip(digests, files, strict=True)))
    key = thumbnails_key(digests, value_range)
    if not store.is_complete(IMAGES, key):
        with store.publish(IMAGES, key) as folder:
            if not store.is_complete(IMAGES, key):
                _write(file_of, _form(value_range), folder, num_workers)
    return _open(store.folder(IMAGES, key), digests)


def border(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, B) the pixels of the outer 12.5 % on each side, in any order."""
    size = thumbnails.shape[1]
    width = round(size * BORDER_SHARE)
    is_border = np.ones((size, size), dtype=bool)
    is_border[width:-width, width:-width] = False
    return np.asarray(thumbnails[:, is_border])


def halved(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S / 2, S / 2) means of blocks of two by two pixels."""
    num, size, _ = thumbnails.shape
    blocks = thumbnails.reshape(num, size // 2, 2, size // 2, 2)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32))


def intensity_statistics(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 11) mean, deviation, seven percentiles, entropy in bits, and mean step between neighbours: no position."""
    flat = thumbnails.reshape(len(thumbnails), -1)
    percentiles = np.percentile(flat, [1, 5, 25, 50, 75, 95, 99], axis=1)
    rows = np.arange(len(flat))[:, None] * _NUM_INTENSITIES
    counts = np.bincount((rows + flat).ravel(), minlength=len(flat) * _NUM_INTENSITIES).reshape(len(flat), -1)
    shares = counts / flat.shape[1]
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=1)
    steps = np.abs(np.diff(thumbnails.astype(np.int16), axis=2)).mean(axis=(1, 2))
    columns = [flat.mean(axis=1), flat.std(axis=1), *percentiles, entropy, steps]
    return np.stack(columns, axis=1).astype(np.float32)


def _form(value_range: tuple[float, float] | None) -> ImageSettings:
    return ImageSettings(size=THUMBNAIL_SIZE, value_range=value_range)


def _write(file_of: dict[str, Path], form: ImageSettings, folder: Path, num_workers: int | None) -> None:
    readable: list[str] = []
    pixels: list[np.ndarray] = []
    metadata: list[dict[str, Any]] = []
    unreadable: dict[str, str] = {}
    with track("thumbnails", total=len(file_of)) as progress:
        results = map_in_order(partial(_read_one, form=form), list(file_of.values()), num_workers=num_workers)
        for digest, result in zip(file_of, results, strict=True):
            if isinstance(result, str):
                unreadable[digest] = result
            else:
                readable.append(digest)
                pixels.append(result[0])
                metadata.append(result[1])
            progress.advance()
    shape = (0, form.size, form.size)
    np.save(folder / _PIXELS, np.stack(pixels) if pixels else np.zeros(shape, dtype=np.uint8))
    write_json_durably(folder / _INDEX, {"digests": readable, "metadata": metadata, "unreadable": unreadable})


def _open(folder: Path, digests: Sequence[str]) -> Thumbnails:
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    stored = np.load(folder / _PIXELS)
    # The last row stands for what is unreadable.
    stored = np.concatenate([stored, np.zeros((1, *stored.shape[1:]), dtype=np.uint8)])
    row_of = {digest: row for row, digest in enumerate(index["digests"])}
    rows = np.array([row_of.get(digest, -1) for digest in digests], dtype=np.int64)
    table = pd.DataFrame([*index["metadata"], dict.fromkeys(_columns())], columns=_columns())
    return Thumbnails(stored[rows], table.iloc[rows].reset_index(drop=True), index["unreadable"])


def _columns() -> list[str]:
    return ["width", "height", "ratio", "mode", "format", "bytes_per_pixel", "num_exif_tags", *_EXIF_TAGS]


def _read_one(file: Path, form: ImageSettings) -> tuple[np.ndarray, dict[str, Any]] | str:
    """Return thumbnail and metadata, or the reason why there are none."""
    try:
        pixels = read_image(file, form)[0]
    except UnreadableImage as error:
        if error.is_passing:
            raise  # not to be remembered under the content's key
        return error.reason
    return pixels, _read_metadata(file)


def _read_metadata(file: Path) -> dict[str, Any]:
    """What the header of a file says that `read_image` could read."""
    content = file.read_bytes()
    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        (width, height), exif = opened.size, opened.getexif()
        texts = {name: _text(exif.get(tag)) for name, tag in _EXIF_TAGS.items()}
        return {
            "width": width,
            "height": height,
            "ratio": width / height,
            "mode": opened.mode,
            "format": opened.format,
            "bytes_per_pixel": len(content) / (width * height),
            "num_exif_tags": len(exif),
            **texts,
        }


def _text(value: object) -> str | None:
    return None if value is None else str(value).strip("\0 ")[:_LONGEST_TEXT]
