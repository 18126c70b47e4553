"""Folds by group: which of several trainings holds each image of the target out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlmed.data.manifest import Manifest
from tlmed.errors import InputError, did_you_mean, name_some
from tlmed.recipe.protocol import ProtocolSettings

_NUM_DRAWS = 20


@dataclass(frozen=True, eq=False)
class Folds:
    """Which fold holds each row of the target's table out, in each repeat.

    Attributes:
        of_seed: (N,) by the seed of the repeat, from 0 to the number of folds - 1.
        names: of the folds.
    """

    of_seed: Mapping[int, NDArray[np.int64]]
    names: tuple[str, ...]

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """The target's table once a repeat, with its `seed` and the `fold` that holds each row out."""
        return pd.concat([table.assign(fold=of_row, seed=seed) for seed, of_row in self.of_seed.items()])


def draw_folds(target: Manifest, protocol: ProtocolSettings, seeds: Sequence[int]) -> Folds | None:
    """Divide the target as the protocol says; None where it has no folds.

    Raises:
        InputError: a class with fewer groups than folds, a source without every class or one that shares groups with
            another, no column `source`.
    """
    if protocol.split == "kfold":
        drawn = {
            seed: stratified_folds(target.table, protocol.folds, [protocol.seed, seed], name=target.name)
            for seed in seeds
        }
        return Folds(drawn, tuple(f"fold {fold}" for fold in range(protocol.folds)))
    if protocol.split == "leave-one-source-out":
        of_row, names = folds_by_source(target)
        return Folds(dict.fromkeys(seeds, of_row), names)
    return None


def stratified_folds(table: pd.DataFrame, num_folds: int, seed: int | Sequence[int], *, name: str) -> NDArray[np.int64]:
    """(N,) the fold of each row: whole groups, the classes' shares kept as far as groups allow.

    The first of scikit-learn's StratifiedGroupKFold draws in which every fold holds every class.

    Args:
        table: with `label` and `group`.
        num_folds: of about equal size.
        seed: of the draw.
        name: of the data, for messages.

    Raises:
        InputError: a class cannot be in every fold; says which, and what would work.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    codes, groups = pd.factorize(table["label"], sort=True)[0], pd.factorize(table["group"])[0]
    num_groups = table.groupby("label")["group"].nunique()
    label, fewest = num_groups.idxmin(), int(num_groups.min())
    generator = np.random.default_rng(seed)
    for _ in range(_NUM_DRAWS if fewest >= num_folds else 0):
        splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=int(generator.integers(2**31)))
        folds = np.empty(len(table), dtype=np.int64)
        for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(table)), codes, groups)):
            folds[held_out] = fold
        if np.unique(folds * len(num_groups) + codes).size == num_folds * len(num_groups):
            return folds
    works = f"write `folds: {min(fewest, num_folds - 1)}`" if min(fewest, num_folds - 1) > 1 else "leave that class out"
    raise InputError(
        f"{name}: class {label!r} has {fewest} group{'' if fewest == 1 else 's'}, too few for one in each of "
        f"{num_folds} folds; {works}, or add patients of that class."
    )


def folds_by_source(target: Manifest) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) a fold for each value of the column `source`, and these values.

    Raises:
        InputError: no such column, gaps in it, one source alone, a group in two sources, or a source without every
            class, in which no figure could be computed.
    """
    table = target.table
    if "source" not in table.columns:
        raise InputError(
            f"{target.name}: no column 'source' to leave out in turn.{did_you_mean('source', map(str, table.columns))}"
        )
    if table["source"].isna().any():
        raise InputError(f"{target.name}: {int(table['source'].isna().sum())} rows have no source; fill the column.")
    codes, names = pd.factorize(table["source"], sort=True)
    if len(names) < 2:
        raise InputError(f"{target.name}: {names[0]!r} is the only source; leaving it out leaves nothing to train on.")
    num_sources = table.groupby("group")["source"].nunique()
    if (num_sources > 1).any():
        shared = num_sources.index[num_sources > 1]
        raise InputError(
            f"{target.name}: {len(shared)} groups are in more than one source ({name_some(shared)}), so that leaving a "
            "source out would leave part of a patient in; mend the column 'source' or 'group'."
        )
    present = pd.crosstab(table["source"], table["label"]) > 0
    for source, classes in present.iterrows():
        if not classes.all():
            absent = name_some(repr(label) for label in classes.index[~classes])
            raise InputError(
                f"{target.name}: source {source!r} has no images of {absent}, so that it cannot be tested on by itself;"
                " join it with another in the column 'source', or take its rows out."
            )
    return codes.astype(np.int64), tuple(map(str, names))
