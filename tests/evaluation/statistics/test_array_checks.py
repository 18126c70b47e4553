from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlmed.evaluation.statistics.array_checks import (
    checked_booleans,
    checked_classes,
    checked_numbers,
    checked_positives,
    checked_probabilities,
    group_index,
)


def test_groups_are_numbered_as_they_appear() -> None:
    assert group_index(["b", "a", "b", "c"], 4).tolist() == [0, 1, 0, 2]
    assert group_index(np.array([7.0, 7.0, 2.0]), 3).tolist() == [0, 0, 1]
    assert group_index(np.array(["a", 1, "a"], dtype=object), 3).tolist() == [0, 1, 0]
    assert group_index(None, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "groups", [["a", None, "b"], [1.0, float("nan"), 2.0], pd.Series(["a", pd.NA, "b"], dtype="string"), [pd.NaT, 1, 2]]
)
def test_a_unit_without_a_group_is_refused(groups: object) -> None:
    with pytest.raises(ValueError, match="1 of 3 units have no group"):
        group_index(groups, 3)  # type: ignore[arg-type]


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="groups has 2 values for 3 units"):
        group_index(["a", "b"], 3)
    with pytest.raises(ValueError, match="is_positive has 2 values for 3 units"):
        checked_positives([True, False], 3)


@pytest.mark.parametrize("values", [[0, 2], ["a", "b"], [0.5, 1], [float("nan"), 1]])
def test_decisions_are_two_valued(values: list[object]) -> None:
    with pytest.raises(ValueError, match="true or false, or 0 or 1"):
        checked_booleans(values, "successes")  # type: ignore[arg-type]


def test_zeros_and_ones_are_decisions() -> None:
    assert checked_booleans([0, 1.0], "successes").tolist() == [False, True]


@pytest.mark.parametrize("values", [[], [[True]], True])
def test_decisions_are_one_row(values: object) -> None:
    with pytest.raises(ValueError, match="successes must be one row"):
        checked_booleans(values, "successes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1.0, np.nan], "1 of 2 values are missing or infinite"),
        ([np.inf, 1.0], "1 of 2 values are missing or infinite"),
        (["a", "b"], "scores must be numbers"),
        ([[1.0]], "must have 1 axes"),
        ([], "must have 1 axes and values"),
    ],
)
def test_numbers_are_finite(values: list[object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked_numbers(values, "scores")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="all units are of one class"):
        checked_positives([value] * 3, 3)


@pytest.mark.parametrize(
    ("probabilities", "sentence"),
    [
        ([[1.2, -0.2]], "from 0 to 1, not -0.2 to 1.2"),
        ([[0.5, 0.5], [0.5, 0.4]], "must sum to 1, not 0.9"),
        ([[1.0]], "two classes or more"),
    ],
)
def test_probabilities_are_those_of_classes(probabilities: list[list[float]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked_probabilities(probabilities)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0.5, 1]])
def test_labels_are_class_indices(labels: list[float]) -> None:
    with pytest.raises(ValueError, match="class indices from 0 to 2"):
        checked_classes(labels, 3, "labels")
