from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlmed.data.manifest import Manifest
from tlmed.data.splits import check_trainable, complete_splits, hold_out, split_by_time
from tlmed.errors import InputError


def patients(counts: dict[str, int], *, num_images: int = 3) -> pd.DataFrame:
    """A table of patients of one class each, with the same number of images."""
    labels = [label for label, num_patients in counts.items() for _ in range(num_patients)]
    rows = [(f"patient{number}", label) for number, label in enumerate(labels) for _ in range(num_images)]
    table = pd.DataFrame(rows, columns=["group", "label"]).astype(object)
    table.insert(0, "path", [f"{row}.png" for row in range(len(table))])
    table["split"] = None
    return table


def manifest_of(table: pd.DataFrame) -> Manifest:
    return Manifest("hospital", Path(), table.astype(object), "group")


def divided(splits: dict[str, list[str]]) -> Manifest:
    """A data set with the labels that each split holds, every image a group."""
    rows = [(split, label) for split, labels in splits.items() for label in labels]
    table = pd.DataFrame(rows, columns=["split", "label"])
    table["path"] = table["group"] = [f"{row}.png" for row in range(len(table))]
    return manifest_of(table)


def groups_of(manifest: Manifest) -> dict[str, set[str]]:
    return {str(split): set(rows["group"]) for split, rows in manifest.table.groupby("split")}


def shares(table: pd.DataFrame) -> pd.Series:
    return table["label"].value_counts(normalize=True)


def completed(table: pd.DataFrame, *, test: float | None = None, val: float = 0.2, seed: int = 0) -> Manifest:
    return complete_splits(manifest_of(table), test_fraction=test, val_fraction=val, seed=seed)


def test_whole_groups_are_held_out_with_the_classes_shares() -> None:
    table = patients({"a": 60, "b": 30, "c": 10})
    table = table.sample(frac=1, random_state=0).reset_index(drop=True)
    for seed in range(5):
        chosen = hold_out(table, 0.2, seed)
        assert chosen.dtype == bool
        assert chosen.shape == (300,)
        assert not set(table["group"][chosen]) & set(table["group"][~chosen])
        assert chosen.mean() == pytest.approx(0.2, abs=0.03)
        for side in (chosen, ~chosen):
            assert (shares(table[side]) - shares(table)).abs().max() < 0.05


def test_groups_of_several_classes_and_sizes_are_never_split() -> None:
    generator = np.random.default_rng(3)
    table = pd.DataFrame({"group": generator.integers(0, 40, 400), "label": generator.choice(["a", "b"], 400)})
    chosen = hold_out(table, 0.25, 1)
    assert not set(table["group"][chosen]) & set(table["group"][~chosen])
    assert chosen.mean() == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("fraction", [0.5, 0.3, 0.25, 0.1, 0.05])
def test_about_the_fraction_is_held_out(fraction: float) -> None:
    chosen = hold_out(patients({"a": 60, "b": 60}, num_images=1), fraction, 0)
    assert chosen.mean() == pytest.approx(fraction, abs=0.04)


def test_the_seed_alone_decides_what_is_held_out() -> None:
    table = patients({"a": 20, "b": 20})
    chosen = hold_out(table, 0.2, 4)
    assert np.array_equal(hold_out(table, 0.2, 4), chosen)
    assert not np.array_equal(hold_out(table, 0.2, 5), chosen)


def test_labels_are_not_needed_to_hold_out() -> None:
    table = patients({"a": 20})
    table["label"] = None
    assert hold_out(table, 0.2, 0).sum() == 12


def test_a_class_of_one_group_cannot_be_held_out() -> None:
    with pytest.raises(InputError, match=r"^hospital: class 'rare' has only 1 group"):
        hold_out(patients({"common": 20, "rare": 1}), 0.2, 0, name="hospital")


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("num_images", [1, 3])
@pytest.mark.parametrize("counts", [{"a": 20, "b": 2}, {"a": 4, "b": 4}, {"a": 3, "b": 3}, {"a": 2, "b": 2}])
def test_few_groups_of_a_class_are_refused_or_stand_on_both_sides(counts: dict[str, int], num_images: int) -> None:
    table = patients(counts, num_images=num_images)
    for seed in range(4):
        try:
            chosen = hold_out(table, 0.2, seed)
        except InputError:
            continue
        assert set(table["label"][chosen]) == set(table["label"][~chosen]) == {"a", "b"}


def test_test_and_val_are_drawn_by_group() -> None:
    table = patients({"a": 30, "b": 30})
    manifest = completed(table, test=0.2, val=0.25)
    groups = groups_of(manifest)
    assert {split: len(names) for split, names in groups.items()} == {"test": 12, "train": 36, "val": 12}
    assert len(set.union(*groups.values())) == 60
    assert manifest.table.drop(columns="split").equals(table.drop(columns="split").astype(object))
    assert table["split"].isna().all()
    assert groups_of(completed(table, test=0.2, val=0.25)) == groups
    assert groups_of(completed(table, test=0.2, val=0.25, seed=1)) != groups


def test_a_drawn_test_set_replaces_the_split_that_is_there() -> None:
    table = patients({"a": 25, "b": 25})
    table["split"] = "val"
    groups = groups_of(completed(table, test=0.2))
    assert {split: len(names) for split, names in groups.items()} == {"test": 10, "train": 32, "val": 8}


def test_without_a_split_all_rows_are_for_training_and_val_is_carved_from_them() -> None:
    groups = groups_of(completed(patients({"a": 20, "b": 20})))
    assert {split: len(names) for split, names in groups.items()} == {"train": 32, "val": 8}


def test_val_is_carved_from_training_rows_only() -> None:
    table = patients({"a": 30, "b": 30})
    test = table["group"].isin([f"patient{number}" for number in range(0, 60, 6)])
    table["split"] = np.where(test, "test", "train")
    table.index = table.index[::-1]
    groups = groups_of(completed(table))
    assert groups["test"] == set(table["group"][table["split"] == "test"])
    assert {split: len(names) for split, names in groups.items()} == {"test": 10, "train": 40, "val": 10}


def test_given_val_rows_are_kept() -> None:
    table = patients({"a": 10, "b": 10})
    table["split"] = ["val" if number % 5 == 0 else "train" for number in range(len(table))]
    assert completed(table).table["split"].tolist() == table["split"].tolist()


def test_a_split_in_some_rows_only_is_refused() -> None:
    table = patients({"a": 10, "b": 10})
    table["split"] = "train"
    table.loc[[1, 4], "split"] = None
    for test_fraction in (None, 0.2):
        with pytest.raises(InputError, match=r"hospital: column 'split' is empty in 2 of 60 rows"):
            completed(table, test=test_fraction)


def needing_test(manifest: Manifest) -> Manifest:
    return complete_splits(manifest, test_fraction=None, val_fraction=0.5, seed=0, needs_test=True)


def test_a_target_needs_train_and_test_rows() -> None:
    with pytest.raises(InputError, match=r"no row has a split; write `evaluation: \{protocol: \{split: kfold\}\}`"):
        needing_test(manifest_of(patients({"a": 10, "b": 10})))
    with pytest.raises(InputError, match="the split has no test rows"):
        needing_test(divided({"train": ["a", "b"], "val": ["a", "b"]}))
    with pytest.raises(InputError, match="the split has no train rows"):
        needing_test(divided({"test": ["a", "b"], "val": ["a", "b"]}))
    assert set(groups_of(needing_test(divided({"train": ["a", "b"] * 3, "test": ["a"]})))) == {"train", "val", "test"}


def test_data_of_two_classes_in_train_and_test_are_trainable() -> None:
    manifest = divided({"train": ["a", "b"], "val": ["a"], "test": ["a", "b"]})
    check_trainable(manifest, "target", needs_test=True)
    check_trainable(divided({"train": ["a", "b"]}), "middle")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ["a", "a"]}, "target: only class 'a' has training images; two or more are needed"),
        ({"train": ["a"], "test": ["b"]}, "target: only class 'a' has training images"),
        ({"val": ["a", "b"], "test": ["a", "b"]}, "target: no class has training images"),
        (
            {"train": ["a", "b"], "val": ["c"], "test": ["a", "b", "c"]},
            r"target: class 'c' has no training images \(2 elsewhere\); add some, or leave the class out",
        ),
        ({"train": ["a", "b"], "test": ["b", "b"]}, "target: the test split holds class 'b' alone"),
        ({"train": ["a", "b"], "val": ["b"]}, "target: the test split holds no image"),
    ],
)
def test_what_cannot_be_trained_or_tested_is_refused(splits: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        check_trainable(divided(splits), "target", needs_test=True)


def test_only_the_target_needs_a_test_split() -> None:
    domain = divided({"train": ["a", "b"], "test": ["a"]})
    check_trainable(domain, "middle")
    with pytest.raises(InputError, match="the test split holds class 'a' alone"):
        check_trainable(domain, "target", needs_test=True)


def test_data_without_labels_cannot_be_trained() -> None:
    table = divided({"train": ["a", "b"]}).table
    table["label"] = None
    with pytest.raises(InputError, match="middle: no labels"):
        check_trainable(manifest_of(table), "middle")


def dated(times: dict[str, list[str]]) -> Manifest:
    """Groups with an image for each time."""
    rows = [(group, time) for group, of_group in times.items() for time in of_group]
    table = pd.DataFrame(rows, columns=["group", "time"])
    return manifest_of(table.assign(path=[f"{row}.png" for row in range(len(table))], label="a", split=None))


VISITS = {"p1": ["2019-05-01", "2021-01-01"], "p2": ["2020-02-01"], "p3": ["2020-12-31"], "p4": ["2021-06-01"]}


def test_the_past_is_train_the_later_groups_are_test_and_later_visits_of_the_past_are_left_out() -> None:
    divided_by_time = split_by_time(dated(VISITS), train_until="2020-06-30", test_fraction=0.2)
    assert groups_of(divided_by_time) == {"train": {"p1", "p2"}, "test": {"p3", "p4"}}
    assert "2021-01-01" not in set(divided_by_time.table["time"])


def test_without_a_time_the_latest_groups_are_test() -> None:
    assert groups_of(split_by_time(dated(VISITS), train_until=None, test_fraction=0.25)) == {
        "train": {"p1", "p2", "p3"},
        "test": {"p4"},
    }


def test_a_day_is_past_to_its_end_and_a_year_too() -> None:
    visits = {"p1": ["2020-06-30T23:10"], "p2": ["2020-07-01T00:10"]}
    for until in ("2020-06-30", "2020-06"):
        divided_by_time = split_by_time(dated(visits), train_until=until, test_fraction=0.2)
        assert groups_of(divided_by_time) == {"train": {"p1"}, "test": {"p2"}}
    by_year = split_by_time(dated({"p1": ["2019-12-31"], "p2": ["2020"]}), train_until="2019", test_fraction=0.2)
    assert groups_of(by_year) == {"train": {"p1"}, "test": {"p2"}}


@pytest.mark.parametrize("time", ["03/04/2012", "June 2012", "12.4.2012"])
def test_dates_that_are_read_differently_from_place_to_place_are_refused(time: str) -> None:
    with pytest.raises(InputError, match=rf"such as '{time}'"):
        split_by_time(dated({"p1": ["2012-01-01"], "p2": [time]}), train_until=None, test_fraction=0.5)
    with pytest.raises(InputError, match=rf"such as '{time}'"):
        split_by_time(dated(VISITS), train_until=time, test_fraction=0.5)


def test_numbers_are_compared_as_numbers() -> None:
    by_day = split_by_time(dated({"p1": ["9"], "p2": ["10"]}), train_until="9", test_fraction=0.2)
    assert groups_of(by_day) == {"train": {"p1"}, "test": {"p2"}}


@pytest.mark.parametrize(
    ("manifest", "until", "what"),
    [
        (dated(VISITS), "2022-01-01", r"no group begins after .* 2019-05-01 to 2021-06-01"),
        (dated(VISITS), "2018-01-01", "every group begins after"),
        (dated({"p1": ["2020"], "p2": ["soon"]}), None, r"1 times are no dates as 2020-03-31 .* such as 'soon'"),
        (manifest_of(patients({"a": 2})), None, "no column 'time' to split by"),
    ],
)
def test_times_that_divide_nothing_are_refused(manifest: Manifest, until: str | None, what: str) -> None:
    with pytest.raises(InputError, match=what):
        split_by_time(manifest, train_until=until, test_fraction=0.2)
