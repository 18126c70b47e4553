"""What the probes for shortcuts look at: units of classes with enough groups, drawn where there are very many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlmed.audit.held_out import MIN_GROUPS_OF_A_CLASS, HeldOutUnits, draw_by_group, fold_by_group
from tlmed.audit.thumbnails import Thumbnails
from tlmed.errors import name_some
from tlmed.evaluation.metrics import Floats, Integers

_MAX_CLASSES = 20  # time grows with their number: each is compared with the rest in every resample


@dataclass(frozen=True, eq=False)
class ProbedUnits:
    """What the probes look at.

    Attributes:
        rows: table rows of the units that were drawn, with `unit_index` (R,).
        thumbnails: (R, S, S).
        metadata: R rows.
        held_out: labels, groups and folds of the U units.
        classes: their names.
        num_all: units of them there were before the draw.
        num_all_classes: that have enough groups.
    """

    rows: pd.DataFrame
    thumbnails: NDArray[np.uint8]
    metadata: pd.DataFrame
    held_out: HeldOutUnits
    classes: tuple[str, ...]
    num_all: int
    num_all_classes: int

    @property
    def unit_of_row(self) -> Integers:
        """(R,) index of each row's unit."""
        return self.rows["unit_index"].to_numpy()

    def mean_of_rows(self, values: NDArray[Any]) -> Floats:
        """(R, F) -> (U, F)."""
        sums = np.zeros((len(self.held_out.labels), values.shape[1]))
        np.add.at(sums, self.unit_of_row, values)
        return sums / np.bincount(self.unit_of_row)[:, None]


def draw_units(table: pd.DataFrame, thumbnails: Thumbnails, seed: int) -> ProbedUnits | str:
    """Return what to probe, or in words why there is nothing to.

    Of more than 5,000 units whole groups are drawn by turns from the classes; of more than 20 classes those with most
    groups are taken.
    """
    is_known = table["label"].notna().to_numpy()
    labelled = is_known & ~table["digest"].isin(thumbnails.unreadable.keys()).to_numpy()
    groups_of = table[labelled].groupby("label")["group"].nunique()
    enough = groups_of[groups_of >= MIN_GROUPS_OF_A_CLASS]
    classes = tuple(sorted(enough.nlargest(_MAX_CLASSES).index))
    if len(classes) < 2:
        return f"shortcuts cannot be looked for: {_why_not(groups_of, has_labels=bool(is_known.any()))}"
    positions = np.flatnonzero(labelled & table["label"].isin(classes).to_numpy())
    rows = table.iloc[positions].reset_index(drop=True)
    first = rows.drop_duplicates("unit")
    labels = pd.Categorical(first["label"], categories=list(classes)).codes.astype(np.int64)
    groups = pd.factorize(first["group"])[0]
    drawn = draw_by_group(labels, groups, seed)
    unit_index = pd.Series(np.arange(len(drawn)), index=first["unit"].to_numpy()[drawn])
    kept = rows["unit"].isin(unit_index.index).to_numpy()
    rows = rows[kept].assign(unit_index=rows["unit"][kept].map(unit_index).astype(np.int64)).reset_index(drop=True)
    return ProbedUnits(
        rows,
        thumbnails.pixels[positions[kept]],
        thumbnails.metadata.iloc[positions[kept]].reset_index(drop=True),
        fold_by_group(labels[drawn], groups[drawn], seed),
        classes,
        len(first),
        len(enough),
    )


def _why_not(groups_of: pd.Series[int], *, has_labels: bool) -> str:
    """Why classes, of which these have so many groups with readable images, cannot be told apart."""
    if not has_labels:
        return "there are no labels"
    if groups_of.empty:
        return "no labelled image can be read"
    if len(groups_of) == 1:
        return f"there is one class alone ({groups_of.index[0]}), and nothing to tell it from"
    counts = name_some(f"{label}: {count}" for label, count in groups_of.items())
    return f"they take two classes of {MIN_GROUPS_OF_A_CLASS} groups or more, and there are too few ({counts})"
