from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlmed.errors import InputError
from tlmed.evaluation.assessment.exclusions import (
    EMPTY_PREDICTION,
    INDETERMINATE,
    UNLABELLED,
    check_indeterminate,
    count_exclusions,
    part_measurable,
    shares_with_exclusions_as_wrong,
)


def _table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unit": ["a", "b", "c", "d", "e", "e"],
            "label": ["ill", "well", None, "equivocal", "ill", "ill"],
            "p_ill": [0.9, np.nan, 0.5, 0.5, np.nan, 0.6],
            "p_well": [0.1, np.nan, 0.5, 0.5, np.nan, 0.4],
        }
    )


def test_an_indeterminate_label_that_no_row_has_is_a_mistake() -> None:
    check_indeterminate(["equivocal"], _table()["label"])
    with pytest.raises(InputError, match="no row has the label 'sock'; the labels are equivocal, ill, well"):
        check_indeterminate(["equivocal", "sock"], _table()["label"])


def test_units_that_cannot_be_measured_are_counted_by_class_and_reason() -> None:
    kept, left_out = part_measurable(_table(), ["equivocal"])
    # One of the two images of e is left, so e is measured.
    assert kept["unit"].tolist() == ["a", "e"]
    assert left_out["unit"].tolist() == ["b", "c", "d"]
    assert left_out["reason"].tolist() == [EMPTY_PREDICTION, UNLABELLED, INDETERMINATE]
    assert count_exclusions(left_out) == [
        {"class": "(unknown)", "reason": UNLABELLED, "num_units": 1, "units": ["c"]},
        {"class": "equivocal", "reason": INDETERMINATE, "num_units": 1, "units": ["d"]},
        {"class": "well", "reason": EMPTY_PREDICTION, "num_units": 1, "units": ["b"]},
    ]


def test_nothing_left_out_is_an_empty_count() -> None:
    kept, left_out = part_measurable(_table().iloc[[0]], [])
    assert len(kept) == 1
    assert count_exclusions(left_out) == []


def test_excluded_units_of_a_known_class_count_as_wrong() -> None:
    units = pd.DataFrame({"is_positive": [True] * 8 + [False] * 10})
    left_out = pd.DataFrame(
        {
            "unit": list("vwxyz"),
            "label": ["ill", "ill", "well", None, "equivocal"],
            "reason": ["r"] * 4 + [INDETERMINATE],
        }
    )
    found = shares_with_exclusions_as_wrong(6 / 8, 9 / 10, units, left_out, ["ill"])
    assert found is not None
    assert found["sensitivity"] == pytest.approx(6 / 10)
    assert found["specificity"] == pytest.approx(9 / 11)
    assert shares_with_exclusions_as_wrong(0.75, 0.9, units, left_out[3:], ["ill"]) is None
