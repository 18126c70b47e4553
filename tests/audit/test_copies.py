from __future__ import annotations

import numpy as np
import pandas as pd

from tlmed.audit.copies import groups_of_copies, listed, pairs_of_rows


def copies(*pairs: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(list(pairs), columns=["digest_1", "digest_2", "correlation"])


def table(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["path", "label", "group", "split", "digest"])


_ROWS = table(
    ("a", "sick", "1", "train", "A"),
    ("b", "sick", "2", "test", "B"),
    ("c", "well", "3", "val", "C"),
    ("d", "sick", "4", "train", "A"),
)


def test_every_row_with_the_same_file_is_named_the_most_alike_first() -> None:
    pairs = pairs_of_rows(_ROWS, copies(("A", "B", 0.96), ("B", "C", 0.9712345)), "split")
    assert listed(pairs) == [
        {"paths": ["b", "c"], "correlation": 0.9712},
        {"paths": ["a", "b"], "correlation": 0.96},
        {"paths": ["b", "d"], "correlation": 0.96},
    ]
    assert pairs["row_behind"].tolist() == [2, 0, 3]  # val and train yield to test


def test_under_folds_the_later_side_yields() -> None:
    pairs = pairs_of_rows(_ROWS.assign(split="train"), copies(("B", "A", 0.96), ("C", "B", 0.95)), "group")
    assert pairs[["path_1", "path_2"]].to_numpy().tolist() == [["a", "b"], ["b", "d"], ["b", "c"]]
    assert pairs["row_behind"].tolist() == [1, 3, 2]


def test_files_that_are_no_longer_there_make_no_pair() -> None:
    assert pairs_of_rows(_ROWS[1:3], copies(("A", "B", 0.96)), "split").empty


def test_groups_that_share_a_picture_become_one() -> None:
    rows = table(*((name, "x", group, "train", name.upper()) for name, group in zip("abcdef", "112345", strict=True)))
    rows["digest"] = ["A", "B", "A", "D", "E", "F"]  # groups 1 and 2 by a file
    merged = groups_of_copies(rows, copies(("A", "E", 0.97), ("F", "gone", 0.97)))  # groups 2 and 4 by a copy
    assert len(set(merged[[0, 1, 2, 4]])) == 1
    assert len(set(merged[[0, 3, 5]])) == 3
    assert np.issubdtype(merged.dtype, np.integer)
