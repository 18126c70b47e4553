"""Which images an epoch shows, and in which order: a pure function of the seed and the epoch."""

from __future__ import annotations

import numpy as np

_ORDER_STREAM = 0x6F72646572  # keeps the order of images apart from the draws of their views


def shuffled_order(num_images: int, seed: int, epoch: int) -> np.ndarray:
    """Return (N,) every position once."""
    return _generator(seed, epoch).permutation(num_images)


def balanced_order(labels: np.ndarray, groups: np.ndarray | None, seed: int, epoch: int) -> np.ndarray:
    """Return (N,) positions drawn with replacement: class, then group, then image, each uniformly.

    Args:
        labels: (N,) class indices; a class without images is never drawn.
        groups: (N,) codes of what belongs together, such as a patient; None: each image is its own group. A group with
            images of several classes is one group in each of them.
        seed: of the run.
        epoch: from 0.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    by_cell = np.lexsort((groups, labels))  # images of one class and group lie side by side
    cells, first_image, num_images = np.unique(
        np.stack([labels, groups], 1)[by_cell], axis=0, return_index=True, return_counts=True
    )
    _, first_cell, num_cells = np.unique(cells[:, 0], return_index=True, return_counts=True)
    uniform = _generator(seed, epoch).random((3, len(labels)))
    drawn_class = (uniform[0] * len(first_cell)).astype(np.int64)
    cell = first_cell[drawn_class] + (uniform[1] * num_cells[drawn_class]).astype(np.int64)
    image = first_image[cell] + (uniform[2] * num_images[cell]).astype(np.int64)
    return np.asarray(by_cell[image])


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed ^ _ORDER_STREAM, epoch]))
