from __future__ import annotations

import pandas as pd

from tlmed.data.permuting import permute_labels


def table_of(sizes: list[int]) -> pd.DataFrame:
    """Groups of these sizes, every second one ill, for each split."""
    rows = [
        (split, f"{split}{number}", ("well", "ill")[number % 2])
        for split in ("train", "val", "test")
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    table = pd.DataFrame(rows, columns=["split", "group", "label"])
    return table.assign(unit=range(len(table)))


def test_groups_swap_labels_within_train_and_val_and_test_stays() -> None:
    table = table_of([2] * 20)
    permuted = permute_labels(table, seed=0)
    assert permuted.groupby("group")["label"].nunique().max() == 1
    for split in ("train", "val"):
        before, after = (one[one["split"] == split]["label"] for one in (table, permuted))
        assert before.value_counts().to_dict() == after.value_counts().to_dict()
        assert 0 < (before != after).mean() < 1
    test = table["split"] == "test"
    assert permuted[test].equals(table[test])


def test_another_seed_permutes_otherwise_and_rows_keep_their_order() -> None:
    table = table_of([1] * 30)
    assert not permute_labels(table, 0)["label"].equals(permute_labels(table, 1)["label"])
    assert permute_labels(table, 0)["label"].equals(permute_labels(table, 0)["label"])
    assert permute_labels(table, 0)["group"].equals(table["group"])


def test_no_class_is_lost_where_groups_differ_in_size() -> None:
    table = table_of([1, 7])
    for seed in range(8):
        assert set(permute_labels(table, seed).query("split == 'train'")["label"]) == {"well", "ill"}
