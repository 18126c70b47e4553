"""From the prepared store to training batches, the same ones whatever the workers, processes and the device."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tlmed.data.augment import draw_numbers, training_views
from tlmed.data.mixing import Mix, draw_mix, mixed, partners
from tlmed.data.sampling import balanced_order, shuffled_order
from tlmed.errors import InputError
from tlmed.recipe.training import TrainingSettings, num_batches_per_epoch

_Item_co = TypeVar("_Item_co", covariant=True)


@dataclass(frozen=True)
class LabelledImages:
    """Images of a prepared store with what is known of them.

    Attributes:
        pixels: (M, C, H, W) uint8, a memory map that other sets share.
        rows: (N,) rows of `pixels` that belong to this set.
        labels: (N,) class indices.
        paths: (N,) as the manifest writes them, to name images in messages.
        groups: (N,) codes of what belongs together, such as a patient; None: each image is its own group.
    """

    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    paths: Sequence[str]
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)


class Batch(NamedTuple):
    """One training batch.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1].
        labels: (B,) int64.
        positions: (B,) positions in the `LabelledImages`.
        partner_labels: (B,) int64, of the images that were mixed in; None: nothing was.
        shares: (B,) float32, of the own label; None with `partner_labels`.
    """

    images: Tensor
    labels: Tensor
    positions: Tensor
    partner_labels: Tensor | None = None
    shares: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return self._with_each(lambda field: field.to(device, non_blocking=True))

    def split(self, num_parts: int) -> list[Batch]:
        """Return equal parts in order.

        Raises:
            ValueError: the images cannot be divided so.
        """
        if len(self.labels) % num_parts:
            raise ValueError(f"{len(self.labels)} images do not make {num_parts} equal parts")
        size = len(self.labels) // num_parts
        return [self.part(start, start + size) for start in range(0, len(self.labels), size)]

    def part(self, start: int, stop: int) -> Batch:
        """Return the images from `start` to `stop - 1`."""
        return self._with_each(lambda field: field[start:stop])

    def _with_each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        mixing = (None if field is None else change(field) for field in (self.partner_labels, self.shares))
        return Batch(change(self.images), change(self.labels), change(self.positions), *mixing)


class Ingredients(NamedTuple):
    """What a batch is made from, before any view: small, and made without a GPU.

    Attributes:
        pixels: (B, C, H, W) uint8.
        labels: (B,) int64.
        positions: (B,) positions in the `LabelledImages`.
        draws: (B, NUM_DRAWS) float64, the numbers that the views follow from; always on the CPU.
    """

    pixels: Tensor
    labels: Tensor
    positions: Tensor
    draws: Tensor

    def to(self, device: torch.device) -> Ingredients:
        """Return the ingredients on a device."""
        pixels, labels, positions = (
            field.to(device, non_blocking=True) for field in (self.pixels, self.labels, self.positions)
        )
        return Ingredients(pixels, labels, positions, self.draws)


class TrainingSteps(Dataset[Batch]):
    """All batches of a stage, indexed by global step; a pure function of images, settings, seed and step.

    Args:
        images: what the stage trains on.
        training: its settings.
        seed: of the stage.
        shard: rank and number of the processes that share each batch; each has an equal, contiguous part of it.

    Raises:
        InputError: a batch cannot be shared equally.
    """

    def __init__(
        self, images: LabelledImages, training: TrainingSettings, seed: int, *, shard: tuple[int, int] = (0, 1)
    ) -> None:
        self._images, self._training, self._seed = images, training, seed
        self._rank, count = shard
        self._batch_size = _batch_size(len(images), training, count)
        self._part_size = self._batch_size // count
        self.steps_per_epoch = num_batches_per_epoch(len(images), self._batch_size)
        self._epoch: tuple[int, np.ndarray, np.ndarray] = (-1, np.empty(0), np.empty(0))

    def __getitem__(self, step: int) -> Batch:
        return self.batch(step, self.ingredients(step))

    def ingredients(self, step: int) -> Ingredients:
        """Read what this process' part of a step's batch is made from."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, *self._order(epoch))
        start, stop = self._part(self._mix(step))
        chosen = slice(number * self._batch_size + start, number * self._batch_size + stop)
        positions, view_numbers = self._epoch[1][chosen], self._epoch[2][chosen]
        draws = draw_numbers(self._seed, epoch, view_numbers.tolist())
        pixels = np.ascontiguousarray(self._images.pixels[self._images.rows[positions]])
        labels = self._images.labels[positions]
        return Ingredients(*map(torch.from_numpy, (pixels, labels, positions, draws)))

    def batch(self, step: int, ingredients: Ingredients) -> Batch:
        """Return this process' part of a step's batch, made on the device where the ingredients' pixels lie."""
        pixels, labels, positions, draws = ingredients
        images = training_views(pixels, draws.numpy(), self._training.views)
        mix = self._mix(step)
        if mix is None:
            return Batch(images, labels, positions)
        partner = partners(len(labels)).to(labels.device)
        is_own = partner == torch.arange(len(labels), device=labels.device)
        shares = torch.full_like(labels, mix.share, dtype=torch.float32).masked_fill_(is_own, 1.0)
        whole = Batch(mixed(images, mix), labels, positions, labels[partner], shares)
        surplus = self._rank * self._part_size - self._part(mix)[0]
        return whole.part(surplus, surplus + self._part_size)

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of an epoch and the numbers by which their views are drawn."""
        images = self._images
        if self._training.sampling == "shuffled":
            order = shuffled_order(len(images), self._seed, epoch)
            return order, order
        order = balanced_order(images.labels, images.groups, self._seed, epoch)
        # By place: an image that comes twice in an epoch would else show the same view twice.
        return order, np.arange(len(order))

    def _mix(self, step: int) -> Mix | None:
        height, width = self._images.pixels.shape[2:]
        return draw_mix(self._training, self._seed, step, height, width)

    def _part(self, mix: Mix | None) -> tuple[int, int]:
        """Return which images of a global batch are needed here: this process' part, and partners at its ends."""
        start, stop = self._rank * self._part_size, (self._rank + 1) * self._part_size
        if mix is None:
            return start, stop
        return start - start % 2, min(stop + stop % 2, self._batch_size)

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


def _batch_size(num_images: int, training: TrainingSettings, num_processes: int) -> int:
    """Return the images a step: `batch_size`, or as many as a smaller set can share equally."""
    num_parts = num_processes * training.accumulation
    if training.batch_size % num_parts or num_images < num_parts:
        raise InputError(
            f"{min(num_images, training.batch_size)} images a step (training.batch_size: {training.batch_size}, of "
            f"{num_images} training images) cannot be shared equally by {num_processes} processes (runtime.devices) in "
            f"{training.accumulation} parts each (training.accumulation): set training.batch_size to a multiple of "
            f"{num_parts}, or lower runtime.devices or training.accumulation."
        )
    smaller_set = num_images - num_images % num_parts
    return min(training.batch_size, smaller_set)


class _IngredientsOf(Dataset[Ingredients]):
    """What workers read where the views are made on a device."""

    def __init__(self, steps: TrainingSteps) -> None:
        self._steps = steps

    def __getitem__(self, step: int) -> Ingredients:
        return self._steps.ingredients(step)


def iterate_steps(
    steps: TrainingSteps,
    first: int,
    stop: int,
    num_workers: int,
    device: torch.device,
    *,
    views_on_device: bool | None = None,
) -> Iterator[Batch]:
    """Yield the batches of the steps `first` to `stop - 1`, in order, on a device.

    Args:
        steps: the stage's.
        first: step.
        stop: the step after the last one.
        num_workers: processes that read ahead; 0: none, all happens here.
        device: where the batches are wanted.
        views_on_device: views are made there, from the stored bytes: a quarter of the traffic, and no processor could
            feed a GPU with views. Where not, the workers make them. None: on anything but a processor.
    """
    order = range(first, stop)
    if views_on_device is None:
        views_on_device = device.type != "cpu"
    if not views_on_device:
        for batch in _read(steps, order, num_workers, device):
            yield batch.to(device)
        return
    read = _read(_IngredientsOf(steps), order, num_workers, device)
    for step, ingredients in zip(order, read, strict=True):
        yield steps.batch(step, ingredients.to(device))


def _read(dataset: Dataset[_Item_co], order: range, num_workers: int, device: torch.device) -> Iterator[_Item_co]:
    if num_workers == 0:
        return map(dataset.__getitem__, order)
    return iter(
        DataLoader(
            dataset,
            batch_size=None,
            sampler=order,
            num_workers=num_workers,
            multiprocessing_context="spawn",
            worker_init_fn=_ignore_interrupts,
            pin_memory=device.type == "cuda",  # only from pinned memory does a copy run beside the computation
        )
    )


def _ignore_interrupts(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the loop saves, then ends them
