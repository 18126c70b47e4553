from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlmed.data.permuting import permute_labels


def _table(num_groups: int = 120, seed: int = 0) -> pd.DataFrame:
    """Groups of one to eight images, the sick ones the larger, by whole groups in train, val and test."""
    generator = np.random.default_rng(seed)
    is_sick = generator.random(num_groups) < 0.4
    sizes = generator.integers(1, 4, num_groups) + 5 * (is_sick & (generator.random(num_groups) < 0.3))
    splits = generator.choice(["train", "val", "test"], num_groups, p=[0.6, 0.2, 0.2])
    group = np.repeat(np.arange(num_groups), sizes)
    label = np.where(is_sick, "sick", "well")[group]
    unit = [f"{number}.png" for number in range(len(group))]
    return pd.DataFrame({"unit": unit, "group": group, "label": label, "split": splits[group]})


def test_every_split_keeps_its_images_of_each_class() -> None:
    table = _table()
    for seed in range(20):
        permuted = permute_labels(table, seed)
        pd.testing.assert_frame_equal(
            pd.crosstab(permuted["split"], permuted["label"]), pd.crosstab(table["split"], table["label"])
        )


def test_groups_that_agreed_still_do_and_test_is_untouched() -> None:
    table = _table()
    permuted = permute_labels(table, 0)
    assert (permuted.groupby("group")["label"].nunique() == 1).all()
    is_test = table["split"] == "test"
    pd.testing.assert_frame_equal(permuted[is_test], table[is_test])
    pd.testing.assert_frame_equal(permuted.drop(columns="label"), table.drop(columns="label"))


def test_new_labels_know_nothing_of_the_old_ones() -> None:
    table = _table()
    learnt = table[table["split"] != "test"]
    groups, share = learnt.drop_duplicates("group").index, (learnt["label"] == "sick").mean()
    old = (table["label"][groups] == "sick").to_numpy()
    new = np.mean([(permute_labels(table, seed)["label"][groups] == "sick").to_numpy() for seed in range(300)], axis=0)
    # A group's chance of a label is that label's share of images, whether the group had it or not.
    assert new[old].mean() == pytest.approx(share, abs=0.03)
    assert new[~old].mean() == pytest.approx(share, abs=0.03)
    assert new == pytest.approx(np.full(len(new), share), abs=0.25)


def test_units_of_a_group_that_disagreed_are_drawn_one_by_one() -> None:
    table = _table()
    table["group"] = table["group"] // 4
    table["unit"] = np.arange(len(table)) // 2
    table["label"] = table.groupby("unit")["label"].transform("first")
    table["split"] = table.groupby("group")["split"].transform("first")
    mixed = table.groupby("group")["label"].transform("nunique") > 1
    permuted = permute_labels(table, 0)
    agrees = permuted[mixed].groupby(["group", "unit"])["label"].nunique()
    assert (agrees == 1).all()
    assert (permuted[mixed].groupby("group")["label"].nunique() > 1).any()


def test_equal_seeds_give_equal_labels_and_others_others() -> None:
    table = _table()
    first = permute_labels(table, 0)
    pd.testing.assert_frame_equal(first, permute_labels(table, 0))
    assert (first["label"] != permute_labels(table, 1)["label"]).any()


def test_without_val_rows_train_alone_is_permuted() -> None:
    table = _table().query("split != 'val'").reset_index(drop=True)
    assert (permute_labels(table, 0)["label"] != table["label"]).any()
