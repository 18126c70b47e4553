"""From the prepared store to training batches, the same ones whatever the number of workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tlmed.data.augment import draw_numbers, training_views
from tlmed.recipe.training import ViewSettings

_ORDER_STREAM = 0x6F72646572  # keeps the order of images apart from the draws of their views


@dataclass(frozen=True)
class LabelledImages:
    """Images of a prepared store with what is known of them.

    Attributes:
        pixels: (M, C, H, W) uint8, a memory map that other sets share.
        rows: (N,) rows of `pixels` that belong to this set.
        labels: (N,) class indices.
        paths: (N,) as the manifest writes them, to name images in messages.
    """

    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)


class Batch(NamedTuple):
    """One training batch.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1].
        labels: (B,) int64.
        positions: (B,) positions in the `LabelledImages`.
    """

    images: Tensor
    labels: Tensor
    positions: Tensor


def num_batches_per_epoch(num_images: int, batch_size: int) -> int:
    """Full batches only: a last batch of one image breaks batch norm; what is left over comes in another epoch."""
    return max(1, num_images // batch_size)


class TrainingSteps(Dataset[Batch]):
    """All batches of a stage, indexed by global step; a pure function of images, settings, seed and step."""

    def __init__(self, images: LabelledImages, views: ViewSettings, batch_size: int, seed: int) -> None:
        self._images, self._views, self._seed = images, views, seed
        self._batch_size = min(batch_size, len(images))
        self.steps_per_epoch = num_batches_per_epoch(len(images), self._batch_size)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def __getitem__(self, step: int) -> Batch:
        epoch, batch = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            generator = np.random.Generator(np.random.Philox(key=[self._seed ^ _ORDER_STREAM, epoch]))
            self._order = (epoch, generator.permutation(len(self._images)))
        positions = self._order[1][batch * self._batch_size : (batch + 1) * self._batch_size]
        draws = draw_numbers(self._seed, epoch, positions.tolist())
        views = training_views(self._images.pixels[self._images.rows[positions]], draws, self._views)
        return Batch(views, torch.from_numpy(self._images.labels[positions]), torch.from_numpy(positions))

    def __getstate__(self) -> dict[str, object]:
        # A memory map would travel to a worker as a copy of all its pixels; its file name is enough.
        state = self.__dict__.copy()
        if isinstance(self._images.pixels, np.memmap) and self._images.pixels.filename is not None:
            state["_images"] = replace(self._images, pixels=np.empty(0, dtype=np.uint8))
            state["_pixels_file"] = Path(self._images.pixels.filename)
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        pixels_file = state.pop("_pixels_file", None)
        self.__dict__.update(state)
        if isinstance(pixels_file, Path):
            self._images = replace(self._images, pixels=np.load(pixels_file, mmap_mode="r"))


def iterate_steps(steps: TrainingSteps, first: int, stop: int, num_workers: int) -> Iterator[Batch]:
    """Yield the batches of the steps `first` to `stop - 1`, in order, made by `num_workers` processes (0: here)."""
    if num_workers == 0:
        yield from (steps[step] for step in range(first, stop))
        return
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(first, stop),
        num_workers=num_workers,
        multiprocessing_context="spawn",
        worker_init_fn=_ignore_interrupts,
    )
    yield from loader


def _ignore_interrupts(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the loop saves, then ends them
