"""Pairs of near-duplicates: from the digests of their files to the rows of a table."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NO_COPIES = pd.DataFrame({"digest_1": [], "digest_2": [], "correlation": []}).astype(
    {"digest_1": object, "digest_2": object, "correlation": np.float64}
)
_SPLIT_RANK = MappingProxyType({"test": 0, "val": 1, "train": 2})


def side_ranks(sides: pd.Series[Any]) -> pd.Series[int]:
    """The lower, the rather a row stays: test before val before train; other sides by their names."""
    if sides.isin(_SPLIT_RANK.keys()).all():
        return sides.map(_SPLIT_RANK)
    return sides.rank(method="dense").astype(int)


def pairs_of_rows(table: pd.DataFrame, copies: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return a row a pair of table rows, the most alike first; within a pair the earlier row first.

    Args:
        table: of a manifest, with `digest` and the column `side`.
        copies: digest_1, digest_2, correlation; every row with one of these files is meant.
        side: the column whose values must not share a picture.

    Returns:
        row_1, row_2 (index of the table), path, label and side of both, correlation, and row_behind: the row that
        goes where one must.
    """
    rows = pd.DataFrame(
        {
            "row": table.index,
            "path": table["path"].to_numpy(),
            "label": table["label"].to_numpy(),
            "side": table[side].to_numpy(),
            "rank": side_ranks(table[side]).to_numpy(),
            "digest": table["digest"].to_numpy(),
        }
    )
    pairs = copies.merge(rows.add_suffix("_1"), on="digest_1").merge(rows.add_suffix("_2"), on="digest_2")
    is_backwards = pairs["row_1"] > pairs["row_2"]
    exchanged = {f"{name}_{one}": f"{name}_{other}" for name in rows.columns for one, other in ("12", "21")}
    pairs = pd.concat([pairs[~is_backwards], pairs[is_backwards].rename(columns=exchanged)], ignore_index=True)
    is_first = (pairs["rank_1"] > pairs["rank_2"]).to_numpy()
    pairs["row_behind"] = np.where(is_first, pairs["row_1"], pairs["row_2"])
    order = ["correlation", "path_1", "path_2"]
    return pairs.sort_values(order, ascending=[False, True, True], ignore_index=True)


def listed(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """The pairs as `details` of a finding."""
    return [
        {"paths": [str(first), str(second)], "correlation": round(float(correlation), 4)}
        for first, second, correlation in zip(pairs["path_1"], pairs["path_2"], pairs["correlation"], strict=True)
    ]


def groups_of_copies(table: pd.DataFrame, copies: pd.DataFrame) -> NDArray[Any]:
    """(N,) group numbers, one for all groups that share a picture: identical files and near-duplicates."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups = pd.factorize(table["group"])[0]
    digests, names = pd.factorize(table["digest"])
    known = copies[copies["digest_1"].isin(names) & copies["digest_2"].isin(names)]
    first, second = (pd.Index(names).get_indexer(known[column]) for column in ("digest_1", "digest_2"))
    num_groups = int(groups.max()) + 1
    # Groups and files are the nodes; a row ties its file to its group, a pair ties two files.
    starts = np.concatenate([groups, num_groups + first])
    ends = np.concatenate([num_groups + digests, num_groups + second])
    size = num_groups + len(names)
    ties = coo_array((np.ones(len(starts), dtype=np.int8), (starts, ends)), shape=(size, size))
    return np.asarray(connected_components(ties, directed=False)[1][groups])
