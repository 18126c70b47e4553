"""Nested subsets of the labelled groups: what there would be to learn from if fewer had been labelled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlmed.errors import InputError

LABELLED_SPLITS = ("train", "val")
ALL_LABELS = 100.0


def parse_shares(text: str) -> tuple[float, ...]:
    """Return the shares of the labelled groups, in percent, that a text such as `10,20,50,100%` names.

    Raises:
        InputError: no numbers, shares outside (0, 100], or not rising.
    """
    shares = []
    for part in text.split(","):
        try:
            share = float(part.strip().removesuffix("%"))
        except ValueError:
            share = math.nan
        if not 0 < share <= ALL_LABELS:
            raise InputError(
                f"--labels {text}: {part.strip()!r} is no share of the labels; give percentages above 0 and up to 100, "
                "such as 10,20,50,100%."
            )
        shares.append(share)
    if any(later <= earlier for earlier, later in itertools.pairwise(shares)):
        raise InputError(f"--labels {text}: the shares must rise, such as 10,20,50,100%.")
    return tuple(shares)


def nested_subsets(
    table: pd.DataFrame, shares: Sequence[float], *, seed: Sequence[int], name: str
) -> dict[float, pd.DataFrame]:
    """Draw one subset of the train and val rows for each share, the smaller ones within the larger.

    Whole groups are drawn, each split and class for itself, so that their mix stays that of all labels as far as whole
    groups allow; a group with several classes counts for the one that the fewest groups hold.

    Args:
        table: with `group`, `label` and `split`; other splits than train and val are left out.
        shares: of the groups, in percent.
        seed: of the draw.
        name: of the data, for messages.

    Returns:
        Rows of the table by share.

    Raises:
        InputError: a share that leaves some class without a group in train or val, with the smallest that works.
    """
    labelled = table[table["split"].isin(LABELLED_SPLITS)]
    class_of_group = _rarest_class(labelled)
    strata = [
        (str(split), str(label), np.array(sorted(of_class["group"].unique(), key=str)))
        for split, rows in labelled.groupby("split", sort=True)
        for label, of_class in rows.groupby(rows["group"].map(class_of_group), sort=True)
    ]
    _check_smallest(min(shares), strata, name)
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(groups) for _, _, groups in strata]
    subsets = {}
    for share in shares:
        drawn = np.concatenate([order[: _num_drawn(len(order), share)] for order in orders])
        subsets[share] = labelled[labelled["group"].isin(set(drawn.tolist()))]
        _check_classes(subsets[share], labelled, share, name)
    return subsets


def _rarest_class(labelled: pd.DataFrame) -> dict[object, str]:
    """The class of each group: of those that its images have the one that the fewest groups hold."""
    rarity = labelled.groupby("label")["group"].nunique().sort_values(kind="stable")
    ordered = labelled.assign(rank=labelled["label"].map({label: rank for rank, label in enumerate(rarity.index)}))
    return dict(ordered.sort_values("rank", kind="stable").drop_duplicates("group")[["group", "label"]].to_numpy())


def _num_drawn(num_groups: int, share: float) -> int:
    return math.floor(num_groups * share / ALL_LABELS + 0.5)


def _check_smallest(share: float, strata: Sequence[tuple[str, str, np.ndarray]], name: str) -> None:
    split, label, groups = min(strata, key=lambda stratum: len(stratum[2]))
    if _num_drawn(len(groups), share) < 1:
        smallest = math.ceil(0.5 * ALL_LABELS / len(groups))
        raise InputError(
            f"--labels: {share:g} % of the {len(groups)} {split} groups of class {label!r} of {name} is less than one; "
            f"the smallest share with a group of every class in train and in val is {smallest} %."
        )


def _check_classes(subset: pd.DataFrame, labelled: pd.DataFrame, share: float, name: str) -> None:
    """Where all groups of a class are also of a rarer one, it may be missed."""
    train = subset.loc[subset["split"] == "train", "label"]
    missing = sorted(set(labelled.loc[labelled["split"] == "train", "label"]) - set(train))
    if missing:
        raise InputError(
            f"--labels: a draw of {share:g} % of {name} has no train group of class {missing[0]!r}, whose groups are "
            "all of a rarer class too; ask for a larger share."
        )
