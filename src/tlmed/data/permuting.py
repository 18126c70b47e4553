"""Labels permuted among groups: what a pipeline reaches where there is nothing to learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def permute_labels(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the table with new labels for the groups of train, and of val, that know nothing of the old ones.

    A group whose images agree gets one label; where they disagree, each of its units gets one. Labels are drawn without
    replacement, the largest group first, so that the split keeps its number of images of each class as far as whole
    groups allow. Rows of test stay as they are.

    Args:
        table: with `split`, `group`, `unit`, `label`.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    labels = table["label"].to_numpy(dtype=object, copy=True)
    agree = table.groupby("group")["label"].transform("nunique").to_numpy() == 1
    together = np.where(agree, pd.factorize(table["group"])[0], -1 - pd.factorize(table["unit"])[0])
    for split in ("train", "val"):
        rows = np.flatnonzero(table["split"] == split)
        if len(rows):
            labels[rows] = _drawn(labels[rows], together[rows], generator)
    return table.assign(label=labels)


def _drawn(
    labels: NDArray[np.object_], together: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.object_]:
    """(N,) labels, one for all rows that stay together."""
    classes, left = np.unique(labels.astype(str), return_counts=True)
    block_of_row, sizes = np.unique(together, return_inverse=True, return_counts=True)[1:]
    order = np.lexsort((generator.random(len(sizes)), -sizes))
    chosen = np.empty(len(sizes), dtype=np.int64)
    for block in order:
        available = np.maximum(left, 0)
        chosen[block] = generator.choice(len(classes), p=available / available.sum())
        left[chosen[block]] -= sizes[block]
    return np.asarray(classes.astype(object)[chosen[block_of_row]])
