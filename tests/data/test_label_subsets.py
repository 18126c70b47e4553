"""Nested subsets of the labelled groups."""

from __future__ import annotations

import pandas as pd
import pytest

from tlmed.data.label_subsets import nested_subsets, parse_shares
from tlmed.errors import InputError


def rows(groups: dict[str, tuple[str, str, int]]) -> pd.DataFrame:
    """Of each group its split, its class and its number of images."""
    return pd.DataFrame(
        [
            {"path": f"{group}-{number}", "group": group, "split": split, "label": label}
            for group, (split, label, num_images) in groups.items()
            for number in range(num_images)
        ]
    )


def forty_groups() -> pd.DataFrame:
    """Train: 20 ill and 10 well groups; val: 6 and 4; test: 2 and 2; one to three images each."""
    sizes = [("train", "ill", 20), ("train", "well", 10), ("val", "ill", 6), ("val", "well", 4)]
    sizes += [("test", "ill", 2), ("test", "well", 2)]
    return rows(
        {
            f"{split}-{label}-{number}": (split, label, 1 + number % 3)
            for split, label, count in sizes
            for number in range(count)
        }
    )


def test_shares_are_read() -> None:
    assert parse_shares("10,20,50,100%") == (10.0, 20.0, 50.0, 100.0)
    assert parse_shares(" 2.5% , 10%") == (2.5, 10.0)


@pytest.mark.parametrize("text", ["", "ten", "10,,20", "0", "-5", "101%", "nan", "inf"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no share of the labels"):
        parse_shares(text)


@pytest.mark.parametrize("text", ["20,10", "10,10"])
def test_shares_that_do_not_rise_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="must rise"):
        parse_shares(text)


def test_subsets_are_nested_and_of_whole_groups() -> None:
    table = forty_groups()
    subsets = nested_subsets(table, (20, 50, 100), seed=[0, 1], name="target")
    drawn = {share: set(subset["group"]) for share, subset in subsets.items()}
    assert drawn[20] < drawn[50] < drawn[100]
    for share, subset in subsets.items():
        whole = table[table["group"].isin(drawn[share])]
        assert subset["path"].tolist() == whole["path"].tolist()
    assert drawn[100] == set(table.loc[table["split"] != "test", "group"])


def test_each_split_and_class_gives_its_share() -> None:
    subset = nested_subsets(forty_groups(), (25,), seed=[0, 0], name="target")[25]
    # A quarter of 20, 10, 6 and 4 groups, halves rounded up.
    assert subset.groupby(["split", "label"])["group"].nunique().to_dict() == {
        ("train", "ill"): 5,
        ("train", "well"): 3,
        ("val", "ill"): 2,
        ("val", "well"): 1,
    }


def test_draws_differ_by_seed_alone() -> None:
    table = forty_groups()
    first, again, other = (nested_subsets(table, (25,), seed=[0, draw], name="target")[25] for draw in (0, 0, 1))
    assert first.equals(again)
    assert set(first["group"]) != set(other["group"])
    shuffled = table.sample(frac=1, random_state=3)
    assert set(nested_subsets(shuffled, (25,), seed=[0, 0], name="target")[25]["group"]) == set(first["group"])


def test_the_smallest_share_that_works_is_named() -> None:
    with pytest.raises(InputError, match=r"10 % of the 4 val groups of class 'well' .* every class .* is 13 %"):
        nested_subsets(forty_groups(), (10, 50), seed=[0, 0], name="target")
    assert nested_subsets(forty_groups(), (13,), seed=[0, 0], name="target")


def test_a_group_of_two_classes_counts_for_the_rarer_one() -> None:
    mixed = rows({f"g{number}": ("train", "well", 2) for number in range(12)})
    mixed.loc[mixed["path"].isin([f"g{number}-0" for number in range(2)]), "label"] = "ill"
    for draw in range(8):
        subset = nested_subsets(mixed, (50,), seed=[draw], name="target")[50]
        assert len({"g0", "g1"} & set(subset["group"])) == 1


def test_a_class_that_never_stands_alone_may_be_missed() -> None:
    # Each group of "b" also holds the rarer "a" or "c", and one group of each of these comes without it.
    with_classes = {"g0": "ab", "g1": "ab", "g2": "a", "g3": "cb", "g4": "cb", "g5": "c", "g6": "d", "g7": "d"}
    pairs = [(group, label) for group, labels in with_classes.items() for label in labels]
    table = pd.DataFrame(pairs, columns=["group", "label"]).assign(split="train")
    outcomes = set()
    for draw in range(40):
        try:
            outcomes.add(tuple(sorted(nested_subsets(table, (34,), seed=[draw], name="target")[34]["label"].unique())))
        except InputError as error:
            outcomes.add(("refused", "has no train group of class 'b'" in str(error)))
    assert outcomes == {("a", "b", "c", "d"), ("refused", True)}
