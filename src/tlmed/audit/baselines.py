"""What a model has to beat: the larger class, the files' form, and the simplest looks at the picture.

Each is trained on what the arms are trained on and predicts the images that they are tested on, so that all of them
can stand in one table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlmed.audit.simple_classifiers import predict_by_forest, predict_by_neighbour
from tlmed.audit.thumbnails import Thumbnails, halved, intensity_statistics
from tlmed.evaluation.metrics import Floats, Integers

_NUM_TREES = 100
_MAX_LEVELS = 30

# Of (N, F) features, (N,) labels, (N,) whether to train on a row, the number of classes and a seed: (M, K)
# probabilities of the rows that are not trained on.
_Predict = Callable[[Floats, Integers, NDArray[np.bool_], int, int], Floats]


def baseline_predictions(
    table: pd.DataFrame, thumbnails: Thumbnails, folds: pd.DataFrame | None = None, *, seeds: Sequence[int] = (0,)
) -> pd.DataFrame:
    """Return the predictions of five simple baselines for the images that the arms are tested on.

    `majority` gives every image the classes' shares in training. `metadata` is a forest of decision trees on the files'
    size, form and tags and the number of images in the unit, without a pixel; `thumbnail-forest` one on the pictures at
    32 x 32 pixels; `intensity` one on brightness and contrast of the whole picture. `thumbnail-neighbour` compares with
    the most alike picture of each class.

    Args:
        table: of the target, a row an image: `path`, `unit`, `group`, `label`, `split`; readable images alone.
        thumbnails: of its rows.
        folds: `path`, `seed`, `fold`: which fold of a repeat held the image out; each is predicted from the others.
            None: trained on train and val rows, and test rows are predicted.
        seeds: of the forests, without folds; with folds they are the repeats'.

    Returns:
        A predictions table: path, unit, group, label, split (`test` throughout), arm, seed, fold (-1 without folds),
        `p_<class>`.
    """
    classes = sorted(map(str, table["label"].unique()))
    labels = pd.Categorical(table["label"].astype(str), categories=classes).codes.astype(np.int64)
    parts = []
    for seed, fold, is_tested in _held_out(table, folds, seeds):
        tested = table.loc[is_tested, ["path", "unit", "group", "label"]].assign(split="test")
        for arm, (features, predict) in _baselines(table, thumbnails, ~is_tested).items():
            probabilities = predict(features, labels, ~is_tested, len(classes), seed)
            columns = {f"p_{name}": probabilities[:, index] for index, name in enumerate(classes)}
            parts.append(tested.assign(arm=arm, seed=seed, fold=fold, **columns))
    return pd.concat(parts, ignore_index=True).sort_values(["arm", "seed"], kind="stable", ignore_index=True)


def _held_out(
    table: pd.DataFrame, folds: pd.DataFrame | None, seeds: Sequence[int]
) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Yield seed, fold, and (N,) whether a row is predicted; all others are trained on."""
    if folds is None:
        is_test = (table["split"] == "test").to_numpy()
        yield from ((seed, -1, is_test) for seed in seeds)
        return
    for seed in np.unique(folds["seed"]).tolist():
        of_seed = folds[folds["seed"] == seed].set_index("path")["fold"]
        fold_of_row = of_seed.loc[table["path"]].to_numpy()
        yield from ((seed, int(fold), fold_of_row == fold) for fold in np.unique(fold_of_row))


def _baselines(
    table: pd.DataFrame, thumbnails: Thumbnails, is_trained: NDArray[np.bool_]
) -> Mapping[str, tuple[Floats, _Predict]]:
    """Features and classifier of each."""
    small = halved(thumbnails.pixels).reshape(len(table), -1).astype(np.float64)
    metadata = thumbnails.metadata.assign(num_images=table.groupby("unit")["path"].transform("size").to_numpy())
    return {
        "majority": (np.zeros((len(table), 0)), _by_shares),
        "metadata": (_encode(metadata, is_trained), _by_forest),
        "thumbnail-forest": (small, _by_forest),
        "thumbnail-neighbour": (small, _by_neighbour),
        "intensity": (intensity_statistics(thumbnails.pixels).astype(np.float64), _by_forest),
    }


def _by_shares(
    features: Floats, labels: Integers, is_trained: NDArray[np.bool_], num_classes: int, _seed: int
) -> Floats:
    counts = np.bincount(labels[is_trained], minlength=num_classes)
    return np.tile(counts / counts.sum(), (int((~is_trained).sum()), 1))


def _by_forest(
    features: Floats, labels: Integers, is_trained: NDArray[np.bool_], num_classes: int, seed: int
) -> Floats:
    return predict_by_forest(features, labels, is_trained, num_classes, seed, num_trees=_NUM_TREES)


def _by_neighbour(
    features: Floats, labels: Integers, is_trained: NDArray[np.bool_], num_classes: int, _seed: int
) -> Floats:
    return predict_by_neighbour(features, labels, is_trained, num_classes)


def _encode(metadata: pd.DataFrame, is_trained: NDArray[np.bool_]) -> Floats:
    """(N, F): numbers as they are, texts as one column for each level seen in training; missing is a column too."""
    columns: list[NDArray[np.float64]] = []
    for name in metadata:
        column = metadata[name]
        missing = column.isna().to_numpy()
        if missing[is_trained].all():
            continue
        if pd.api.types.is_numeric_dtype(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            columns.append(np.where(missing, np.nanmedian(numbers[is_trained]), numbers))
        else:
            levels = column[is_trained].value_counts().index[:_MAX_LEVELS]
            columns += [(column == level).to_numpy(dtype=np.float64, na_value=0.0) for level in levels]
        if missing.any():
            columns.append(missing.astype(np.float64))
    return np.stack(columns, axis=1)
