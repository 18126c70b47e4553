"""What each arm and seed said of the same units, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tlmed.errors import InputError, name_some
from tlmed.evaluation.estimates.figure_cells import Part
from tlmed.evaluation.estimates.prediction_table import NO_FOLD, TestedRows, aggregate_units
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS, num_groups_holding
from tlmed.evaluation.metrics import Integers, Scored
from tlmed.evaluation.statistics.array_checks import group_index


@dataclass(frozen=True, eq=False)
class SeedScores:
    """One arm and seed.

    Attributes:
        seed: as the table has it.
        scored: the units.
        folds: (N,) the fold that held each unit out; None with a fixed test set.
    """

    seed: object
    scored: Scored
    folds: Integers | None

    @property
    def part(self) -> Part:
        """All its units."""
        return Part(f"seed {self.seed}", self.scored)

    def by_fold(self) -> list[tuple[int, Integers]]:
        """Each fold and the indices of its units."""
        if self.folds is None:
            raise ValueError("a fixed test set has no folds")
        return [(int(fold), np.flatnonzero(self.folds == fold)) for fold in np.unique(self.folds)]


@dataclass(frozen=True, eq=False)
class UnitScores:
    """All arms on the same N units.

    Attributes:
        classes: the names of the K classes.
        labels: (N,) class index of each unit.
        groups: (N,) the group of each unit, 0, 1, ...
        arms: the seeds of each.
        alike: the arms whose seeds, more than one, all came to the same; they count as one.
    """

    classes: tuple[str, ...]
    labels: Integers
    groups: Integers
    arms: dict[str, list[SeedScores]]
    alike: list[str]

    @property
    def num_groups(self) -> int:
        """How many groups the units are of."""
        return int(self.groups.max()) + 1

    @property
    def num_groups_by_class(self) -> Integers:
        """(K,) how many groups hold a unit of each class."""
        return num_groups_holding(next(iter(self.arms.values()))[0].scored, self.groups)

    @property
    def num_folds(self) -> int | None:
        """The largest number of folds of a seed; None with a fixed test set."""
        counts = [len(np.unique(one.folds)) for seeds in self.arms.values() for one in seeds if one.folds is not None]
        return max(counts) if counts else None

    @property
    def left_out_of_macro(self) -> list[str]:
        """The classes that macro averages are not over."""
        averaged = next(iter(self.arms.values()))[0].scored.averaged_classes
        return [name for index, name in enumerate(self.classes) if index not in averaged]


def score_units(tested: TestedRows) -> UnitScores:
    """Return the scores of every arm and seed on the same units, in the order of the units' names.

    Raises:
        InputError: one class, arms or seeds that are not over the same units, a unit with two labels, groups or folds,
            or a fold that lacks a class.
    """
    units = aggregate_units(tested.rows)
    reference = units.drop_duplicates("unit").sort_values("unit", key=lambda column: column.astype(str))
    labels = np.array([tested.classes.index(label) for label in reference["label"]], dtype=np.int64)
    if len(set(labels)) < 2:
        raise InputError(
            f"predictions: all test rows are of the class {tested.classes[labels[0]]!r}, so there is nothing to tell "
            "apart; test on two classes or more."
        )
    groups = group_index(reference["group"].astype(str).to_numpy(), len(labels))
    averaged = _averaged_classes(labels, groups, len(tested.classes))
    arms: dict[str, list[SeedScores]] = {}
    alike = []
    for arm, part in units.groupby("arm", sort=False):
        seeds = []
        for seed, rows in part.groupby("seed", sort=True):
            ordered = _in_order(rows, reference["unit"], str(arm), seed)
            probabilities = ordered[tested.columns].to_numpy(dtype=np.float64)
            scored = Scored(labels, probabilities, tested.positive, averaged)
            seeds.append(SeedScores(seed, scored, _folds(ordered)))
        if len(seeds) > 1 and all(_is_alike(seeds[0], other) for other in seeds):
            alike.append(str(arm))
            seeds = seeds[:1]
        for one in seeds:
            _check_classes_of_folds(one, str(arm), tested.classes)
        arms[str(arm)] = seeds
    return UnitScores(tested.classes, labels, groups, arms, alike)


def _averaged_classes(labels: Integers, groups: Integers, num_classes: int) -> tuple[int, ...]:
    """The classes that enough groups hold; where fewer than two are, those that occur."""
    counts = num_groups_holding(Scored(labels, np.zeros((len(labels), num_classes)), 0), groups)
    enough = np.flatnonzero(counts >= MIN_GROUPS_IN_A_CLASS)
    return tuple((enough if len(enough) > 1 else np.flatnonzero(counts)).tolist())


def _in_order(rows: pd.DataFrame, units: pd.Series, arm: str, seed: object) -> pd.DataFrame:
    missing = units[~units.isin(rows["unit"])].astype(str)
    if len(missing):
        raise InputError(
            f"predictions: arm {arm!r}, seed {seed} lacks {len(missing)} unit{'s' if len(missing) > 1 else ''} that "
            f"others have ({name_some(missing)}); arms and seeds are compared on the same units, so predict all."
        )
    return rows.set_index("unit").loc[units]


def _folds(ordered: pd.DataFrame) -> Integers | None:
    """(N,) folds; None where there are none, or only one, which is a fixed test set."""
    folds = ordered["fold"].to_numpy(dtype=np.int64)
    return None if (folds == NO_FOLD).all() or len(np.unique(folds)) < 2 else folds


def _is_alike(one: SeedScores, other: SeedScores) -> bool:
    return _same(one.folds, other.folds) and np.array_equal(one.scored.probabilities, other.scored.probabilities)


def _same(one: Integers | None, other: Integers | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _check_classes_of_folds(one: SeedScores, arm: str, classes: Sequence[str]) -> None:
    if one.folds is None:
        return
    for fold, members in one.by_fold():
        present = set(one.scored.labels[members].tolist())
        absent = [classes[index] for index in one.scored.averaged_classes if index not in present]
        if absent:
            raise InputError(
                f"predictions: fold {fold} of arm {arm!r}, seed {one.seed} has no unit of the class {absent[0]!r}, so "
                "AUROC does not exist there, and scores of several folds are no one model's, so they cannot be pooled; "
                "draw fewer folds, stratified by class and by group, so that each tests every class."
            )


def subset(scored: Scored, members: Integers) -> Scored:
    """Return some of the units."""
    return Scored(scored.labels[members], scored.probabilities[members], scored.positive, scored.macro_classes)
