"""Units that are not in the figures: how many of each class, and why.

What cannot be read or told is often not like the rest, so leaving it out without a word makes a test look better than
it is (STARD 2015, items 15, 16 and 19: Bossuyt et al., BMJ 2015;351:h5527).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from tlmed.errors import InputError

UNREADABLE = "unreadable image"
NOT_PREDICTED = "no prediction"
EMPTY_PREDICTION = "empty prediction"
INDETERMINATE = "indeterminate label"
UNLABELLED = "no label"
_UNKNOWN_CLASS = "(unknown)"


def check_indeterminate(indeterminate: Collection[str], labels: pd.Series[str]) -> None:
    """Raise InputError where a label that is to mean that the truth is not known is no label of these rows."""
    known = sorted(labels.dropna().astype(str).unique())
    for name in indeterminate:
        if name not in known:
            raise InputError(f"--indeterminate: no row has the label {name!r}; the labels are {', '.join(known)}.")


def part_measurable(table: pd.DataFrame, indeterminate: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the rows of a predictions table into those that can be measured and those that cannot.

    Args:
        table: `unit`, `label` and `p_` columns.
        indeterminate: labels that say the truth is not known.

    Returns:
        The rows to measure; and `unit`, `label`, `reason` of the units of which no row is left.
    """
    probabilities = table[[name for name in table if str(name).startswith("p_")]]
    reasons = pd.Series(None, index=table.index, dtype=object)
    reasons[probabilities.isna().all(axis=1)] = EMPTY_PREDICTION
    reasons[table["label"].isin(list(indeterminate))] = INDETERMINATE
    reasons[table["label"].isna()] = UNLABELLED
    kept = table[reasons.isna()]
    left_out = table[["unit", "label"]].assign(reason=reasons)[reasons.notna() & ~table["unit"].isin(kept["unit"])]
    return kept, left_out.drop_duplicates("unit")


def count_exclusions(left_out: pd.DataFrame) -> list[dict[str, Any]]:
    """Return `class`, `reason`, `num_units` and the `units` themselves, for each class and reason.

    Args:
        left_out: a row a unit: unit, label (None: unknown), reason.
    """
    classes = left_out["label"].where(left_out["label"].notna(), _UNKNOWN_CLASS)
    return [
        {"class": str(name), "reason": str(reason), "num_units": len(part), "units": list(map(str, part["unit"]))}
        for (name, reason), part in left_out.groupby([classes, left_out["reason"]], sort=True)
    ]


def shares_with_exclusions_as_wrong(
    sensitivity: float, specificity: float, units: pd.DataFrame, left_out: pd.DataFrame, positive: Collection[str]
) -> dict[str, float] | None:
    """Return sensitivity and specificity if every excluded unit of a known class had been called wrongly.

    The other end, all of them called rightly, cannot be claimed. None where no excluded unit has a known class.

    Args:
        sensitivity: of the units that are measured.
        specificity: of them.
        units: a row a measured unit: is_positive.
        left_out: unit, label, reason.
        positive: the classes that count as disease.
    """
    known = left_out[left_out["label"].notna() & (left_out["reason"] != INDETERMINATE)]
    if known.empty:
        return None
    lost = int(known["label"].isin(list(positive)).sum())
    num_positives = int(units["is_positive"].sum())
    num_negatives = len(units) - num_positives
    return {
        "sensitivity": sensitivity * num_positives / (num_positives + lost),
        "specificity": specificity * num_negatives / (num_negatives + len(known) - lost),
    }
