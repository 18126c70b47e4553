"""Decode once, in parallel, into a memory-mapped uint8 store that later runs open in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tlmed.data.images import UnreadableImage, read_image
from tlmed.recipe.model import ImageSettings
from tlmed.runtime.processes import map_in_order
from tlmed.runtime.progress import track
from tlmed.runtime.store import Store, content_key, write_json_durably

IMAGES = "images"

# Raised whenever a change of the code changes what the same file and settings decode to.
DECODING_VERSION = 1
_PIXELS, _INDEX = "pixels.npy", "index.json"


@dataclass(frozen=True)
class PreparedImages:
    """Decoded images of one domain.

    Attributes:
        key: in the store, under the kind `images`.
        pixels: (N, C, H, W) uint8, a read-only memory map.
        row_of: from the digest of a file to its row.
        unreadable: from the digest of a file to the reason why it has no row.
    """

    key: str
    pixels: np.ndarray
    row_of: dict[str, int]
    unreadable: dict[str, str]

    def __reduce__(self) -> tuple[object, ...]:
        # A memory map would travel to another process as a copy of all its pixels.
        if isinstance(self.pixels, np.memmap) and self.pixels.filename is not None:
            return _open, (Path(self.pixels.filename).parent, self.key)
        return PreparedImages, (self.key, self.pixels, self.row_of, self.unreadable)


def images_name(stage: str, image: ImageSettings) -> str:
    """What the decoded images of a stage are called in a run: control arms see others of the same files."""
    return stage if image.blanking is None else f"{stage} ({image.blanking})"


def prepare_images(
    files: Sequence[Path],
    digests: Sequence[str],
    settings: ImageSettings,
    store: Store,
    *,
    num_workers: int | None = None,
) -> PreparedImages:
    """Return the decoded images of `files`, decoding what the store does not hold; identical files share a row.

    Args:
        files: N files.
        digests: SHA-256 of each.
        settings: size, mode, fit and value range; mean and std play no part.
        num_workers: decoding processes; default: the machine's cores, or none where there is little to do.

    Raises:
        UnreadableImage: a file that cannot be opened; damaged ones are listed instead.
        OSError: disk full; nothing incomplete is left.
    """
    file_of = dict(sorted(zip(digests, files, strict=True)))
    form = settings.model_dump(mode="json", exclude={"mean", "std"})
    key = content_key({"decoding": DECODING_VERSION, "form": form, "files": list(file_of)})
    if not store.is_complete(IMAGES, key):
        with store.publish(IMAGES, key) as folder:
            if not store.is_complete(IMAGES, key):
                _decode(file_of, settings, folder, num_workers)
    return _open(store.folder(IMAGES, key), key)


def _open(folder: Path, key: str) -> PreparedImages:
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    row_of = {digest: row for row, digest in enumerate(index["digests"])}
    return PreparedImages(key, np.load(folder / _PIXELS, mmap_mode="r"), row_of, index["unreadable"])


def _decode(file_of: dict[str, Path], settings: ImageSettings, folder: Path, num_workers: int | None) -> None:
    shape = (settings.num_channels, settings.size, settings.size)
    readable: list[str] = []
    unreadable: dict[str, str] = {}
    # Written in order behind a header whose row count is set at the end: images are never all in memory.
    with (folder / _PIXELS).open("wb") as stream, track("decoding", total=len(file_of)) as progress:
        _write_header(stream, 0, shape)
        results = map_in_order(partial(_read_one, settings=settings), list(file_of.values()), num_workers=num_workers)
        for digest, result in zip(file_of, results, strict=True):
            if isinstance(result, str):
                unreadable[digest] = result
            else:
                readable.append(digest)
                stream.write(result.tobytes())
            progress.advance()
        stream.seek(0)
        _write_header(stream, len(readable), shape)
    write_json_durably(folder / _INDEX, {"digests": readable, "unreadable": unreadable})


def _write_header(stream: object, num_images: int, shape: tuple[int, ...]) -> None:
    # NumPy pads headers to blocks of 64 bytes with room for the first dimension to grow, so its length stays.
    header = {"descr": "|u1", "fortran_order": False, "shape": (num_images, *shape)}
    np.lib.format.write_array_header_1_0(stream, header)  # type: ignore[arg-type]


def _read_one(file: Path, settings: ImageSettings) -> np.ndarray | str:
    """Return the image, or the reason why there is none."""
    try:
        return read_image(file, settings)
    except UnreadableImage as error:
        if error.is_passing:
            raise  # not to be remembered under the content's key
        return error.reason
