"""Group-wise, stratified division into train, val and test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tlmed.data.manifest import Manifest
from tlmed.errors import InputError


def hold_out(table: pd.DataFrame, fraction: float, seed: int, *, name: str = "the data") -> np.ndarray:
    """Return (N,) booleans: True for the rows held out.

    Whole groups are held out, about `fraction` of the rows, with the classes' shares kept as far as groups allow: one
    of the round(1 / fraction) folds of scikit-learn's StratifiedGroupKFold, the first that leaves every class on both
    sides. Where a class has fewer groups than folds, there are as many folds as it has groups, and more is held out.

    Raises:
        InputError: a class cannot stand on both sides.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    num_folds = max(2, round(1 / fraction))
    labels = table["label"].fillna("").astype(str).to_numpy()
    groups = pd.factorize(table["group"])[0]
    num_groups = pd.Series(groups).groupby(labels).nunique()
    if num_groups.min() >= 2:
        splitter = StratifiedGroupKFold(min(num_folds, int(num_groups.min())), shuffle=True, random_state=seed)
        codes = pd.factorize(labels, sort=True)[0]
        for kept, held_out in splitter.split(np.zeros(len(table)), codes, groups):
            if len(set(codes[kept])) == len(set(codes[held_out])) == len(num_groups):
                chosen = np.zeros(len(table), dtype=bool)
                chosen[held_out] = True
                return chosen
    label, number = num_groups.idxmin(), int(num_groups.min())
    raise InputError(
        f"{name}: class {label!r} has only {number} group{'' if number == 1 else 's'}, and no draw leaves every "
        "class on both sides of a split; add patients of that class, or give a `split` column."
    )


def complete_splits(
    manifest: Manifest, *, test_fraction: float | None, val_fraction: float, seed: int, needs_test: bool = False
) -> Manifest:
    """Give every row a split.

    Args:
        test_fraction: draw a test set of about this share; None keeps the split that is there.
        val_fraction: share of the training rows that becomes val where there is no val row.
        needs_test: whether test rows must come out (the target).

    Raises:
        InputError: rows with and without a split, or no test rows where they are needed.
    """
    table = manifest.table.copy()
    if table["split"].isna().any() and table["split"].notna().any():
        num_empty = int(table["split"].isna().sum())
        raise InputError(
            f"{manifest.name}: column 'split' is empty in {num_empty} of {len(table)} rows; fill all or none."
        )
    if test_fraction is not None:
        table["split"] = np.where(hold_out(table, test_fraction, seed, name=manifest.name), "test", "train")
    elif table["split"].isna().all():
        if needs_test:
            raise InputError(
                f"{manifest.name}: no row has a split; write `evaluation: {{protocol: {{split: holdout}}}}` to draw "
                "a test set."
            )
        table["split"] = "train"
    if needs_test and not {"train", "test"} <= set(table["split"]):
        absent = "test" if "train" in set(table["split"]) else "train"
        raise InputError(
            f"{manifest.name}: the split has no {absent} rows; give both, or use `protocol: {{split: holdout}}`."
        )
    if "val" not in set(table["split"]):
        train = table[table["split"] == "train"]
        carved = train.index[hold_out(train, val_fraction, seed + 1, name=manifest.name)]
        table.loc[carved, "split"] = "val"
    return manifest.with_table(table)


def check_trainable(manifest: Manifest, name: str, *, is_target: bool = False) -> None:
    """Check that the labels and splits suffice to train, and for the target to test.

    Raises:
        InputError: no labels, a class without training images, one class alone in train or test.
    """
    table = manifest.table
    if len(manifest.classes) == 0:
        raise InputError(
            f"{name}: no labels, and every strategy so far learns from labels; add a `label` column or class folders."
        )
    counts = table.groupby(["split", "label"]).size().unstack(fill_value=0)
    train = counts.loc["train"] if "train" in counts.index else pd.Series(dtype=int)
    present = [label for label in manifest.classes if train.get(label, 0) > 0]
    if len(present) < 2:
        what = f"only class {present[0]!r}" if present else "no class"
        raise InputError(f"{name}: {what} has training images; two or more are needed.")
    for label in manifest.classes:
        if label not in present:
            raise InputError(
                f"{name}: class {label!r} has no training images ({int(counts[label].sum())} elsewhere); add some, "
                "or leave the class out."
            )
    if is_target:
        tested = set(table.loc[table["split"] == "test", "label"])
        in_test = [label for label in manifest.classes if label in tested]
        if len(in_test) < 2:
            what = f"class {in_test[0]!r} alone" if in_test else "no image"
            raise InputError(f"{name}: the test split holds {what}; no figure can be computed from it.")
