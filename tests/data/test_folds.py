from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlmed.data.folds import draw_folds, stratified_folds
from tlmed.data.manifest import Manifest
from tlmed.errors import InputError
from tlmed.recipe.protocol import ProtocolSettings

KFOLD = ProtocolSettings(split="kfold")
BY_SOURCE = ProtocolSettings(split="leave-one-source-out")


def patients(counts: dict[str, int], *, num_images: int = 3) -> pd.DataFrame:
    labels = [label for label, number in counts.items() for _ in range(number)]
    rows = [(f"p{number}", label) for number, label in enumerate(labels) for _ in range(num_images)]
    return pd.DataFrame(rows, columns=["group", "label"])


def hospital(table: pd.DataFrame) -> Manifest:
    return Manifest("hospital", Path(), table, "group")


def test_every_group_is_held_out_once_a_repeat_and_the_classes_keep_their_shares() -> None:
    table = patients({"well": 40, "ill": 10})
    folds = draw_folds(hospital(table), KFOLD, [0, 1, 2])
    assert folds is not None
    assert folds.names == ("fold 0", "fold 1", "fold 2", "fold 3", "fold 4")
    for of_row in folds.of_seed.values():
        assert table.assign(fold=of_row).groupby("group")["fold"].nunique().max() == 1
        ill = table.assign(fold=of_row).drop_duplicates("group").query("label == 'ill'")["fold"]
        assert ill.value_counts().tolist() == [2, 2, 2, 2, 2]


def test_each_repeat_draws_other_folds_and_equal_seeds_equal_ones() -> None:
    domain = hospital(patients({"well": 20, "ill": 20}))
    first, again = draw_folds(domain, KFOLD, [0, 1]), draw_folds(domain, KFOLD, [1])
    assert first is not None
    assert again is not None
    assert not np.array_equal(first.of_seed[0], first.of_seed[1])
    assert np.array_equal(first.of_seed[1], again.of_seed[1])


@pytest.mark.parametrize(("number", "works"), [(4, r"write `folds: 4`"), (1, "leave that class out")])
def test_a_class_with_too_few_groups_is_named_with_what_would_work(number: int, works: str) -> None:
    with pytest.raises(InputError, match=rf"hospital: class 'ill' has {number} groups?, too few .* 5 folds; {works}"):
        stratified_folds(patients({"well": 20, "ill": number}), 5, 0, name="hospital")


def test_other_protocols_have_no_folds() -> None:
    assert draw_folds(hospital(patients({"a": 3, "b": 3})), ProtocolSettings(split="holdout"), [0]) is None


def from_sources(sources: dict[str, str]) -> Manifest:
    """Sources with a patient for each letter, which is its class."""
    rows = [
        (source, label, f"{source}{number}")
        for source, labels in sources.items()
        for number, label in enumerate(labels)
    ]
    return hospital(pd.DataFrame(rows, columns=["source", "label", "group"]))


def test_each_source_is_left_out_in_turn_in_every_repeat_alike() -> None:
    folds = draw_folds(from_sources({"north": "ab", "east": "aabb"}), BY_SOURCE, [0, 5])
    assert folds is not None
    assert folds.names == ("east", "north")
    assert folds.of_seed[0].tolist() == folds.of_seed[5].tolist() == [1, 1, 0, 0, 0, 0]


def test_a_source_of_one_class_cannot_be_tested_on() -> None:
    with pytest.raises(InputError, match=r"source 'east' has no images of 'a', so that it cannot be tested on"):
        draw_folds(from_sources({"north": "ab", "east": "bb"}), BY_SOURCE, [0])


def test_a_patient_in_two_sources_is_refused() -> None:
    domain = from_sources({"north": "ab", "east": "ab"})
    shared = domain.with_table(domain.table.assign(group=["p0", "p1", "p0", "p3"]))
    with pytest.raises(InputError, match=r"1 groups are in more than one source \(p0\)"):
        draw_folds(shared, BY_SOURCE, [0])


def test_a_missing_or_single_source_is_refused() -> None:
    with pytest.raises(InputError, match="no column 'source' to leave out"):
        draw_folds(hospital(patients({"a": 2, "b": 2})), BY_SOURCE, [0])
    with pytest.raises(InputError, match="'north' is the only source"):
        draw_folds(from_sources({"north": "ab"}), BY_SOURCE, [0])
    domain = from_sources({"north": "ab", "east": "ab"})
    with pytest.raises(InputError, match="1 rows have no source"):
        draw_folds(domain.with_table(domain.table.assign(source=["x", "x", "y", None])), BY_SOURCE, [0])
