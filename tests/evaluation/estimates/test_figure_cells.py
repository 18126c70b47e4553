from __future__ import annotations

import json

import numpy as np
import pytest

from tlmed.evaluation.estimates.figure_cells import Cell, Conditions, Part, too_few_groups, value_of, why_undefined
from tlmed.evaluation.metrics import METRICS, Scored

_TWO, _THREE = ("well", "sick"), ("a", "b", "c")


def _called(called: list[int], num_classes: int) -> Scored:
    """Units of all classes in turn, with the classes that they are called."""
    probabilities = np.full((len(called), num_classes), 0.1)
    probabilities[np.arange(len(called)), called] = 1 - 0.1 * (num_classes - 1)
    return Scored(np.arange(len(called)) % num_classes, probabilities, 1 if num_classes == 2 else None)


def test_a_cell_as_json_has_value_and_limits_and_of_the_rest_what_there_is() -> None:
    assert Cell(None).as_json() == {"value": None, "low": None, "high": None}
    cell = Cell(0.1, numerator=0, denominator=3, range_if_calibrated=(0.0, 0.2))
    content = {"value": 0.1, "low": None, "high": None, "numerator": 0, "denominator": 3}
    assert cell.as_json() == {**content, "range_if_calibrated": [0.0, 0.2]}
    assert json.loads(json.dumps(cell.as_json())) == cell.as_json()
    assert cell.with_interval(0.05, 0.3, "Wilson").as_json()["method"] == "Wilson"


@pytest.mark.parametrize(
    ("name", "called", "classes", "reason"),
    [
        ("ppv", [0, 0, 0, 0], _TWO, "nothing was called positive"),
        ("npv", [1, 1, 1, 1], _TWO, "nothing was called negative"),
        ("mcc", [1, 1, 1, 1], _TWO, "everything was called 'sick'"),
        ("calibration_slope", [0, 0, 0, 0], _TWO, "all probabilities are the same"),
        ("calibration_intercept", [0, 1, 0, 1], _TWO, "the probabilities part the classes perfectly"),
        ("ppv", [0, 0, 2, 0, 0, 2], _THREE, "nothing was called 'b'"),
        ("npv", [1, 1, 1, 1, 1, 1], _THREE, "everything was called 'b'"),
        ("mcc", [2, 2, 2, 2, 2, 2], _THREE, "everything was called 'c'"),
    ],
)
def test_an_undefined_metric_has_its_reason_in_words(
    name: str, called: list[int], classes: tuple[str, ...], reason: str
) -> None:
    scored = _called(called, len(classes))
    assert np.isnan(value_of(Conditions(classes, "unknown", None).metrics[name], scored))
    assert why_undefined(name, scored, classes) == reason


def test_a_reason_names_the_part_where_there_are_several() -> None:
    conditions = Conditions(_TWO, "consecutive", None)
    defined, not_defined = Part("seed 0", _called([0, 1, 1, 0], 2)), Part("seed 1", _called([0, 0, 0, 0], 2))
    assert conditions.completed("ppv", Cell(None), [defined, not_defined]).undefined is not None
    reason = conditions.completed("ppv", Cell(None), [defined, not_defined]).undefined
    assert reason == "nothing was called positive in seed 1"
    assert conditions.completed("ppv", Cell(None), [not_defined]).undefined == "nothing was called positive"


def test_groups_are_counted_by_averaged_class() -> None:
    labels = np.repeat([0, 1, 2], [30, 20, 4])
    groups = np.concatenate([np.arange(30) // 2, 20 + np.arange(20) // 4, 40 + np.arange(4)])
    scored = Scored(labels, np.full((54, 3), 1 / 3), macro_classes=(0, 1))
    assert too_few_groups(scored, groups, _THREE) == "too few groups with units of 'b' 5; an interval needs 10"
    everything = Scored(labels, np.full((54, 3), 1 / 3))
    assert "of 'b' 5, 'c' 4;" in str(too_few_groups(everything, np.asarray(groups), _THREE))
    assert too_few_groups(scored, np.arange(54), _THREE) is None


def test_only_what_depends_on_the_prevalence_is_reweighted_and_never_the_calibration_error() -> None:
    conditions = Conditions(_TWO, "case-control", 0.2)
    assert {name for name in METRICS if conditions.is_reweighted(name)} == {
        "accuracy", "ppv", "npv", "f1", "macro_f1", "mcc", "auprc", "brier"
    }  # fmt: skip
    assert not any(Conditions(_TWO, "consecutive", 0.2).is_reweighted(name) for name in METRICS)
    assert not any(Conditions(_TWO, "unknown", None).is_reweighted(name) for name in METRICS)
    scored = _called([0, 1, 1, 0], 2)
    # Sensitivity and specificity are 1 / 2, whatever the prevalence.
    assert value_of(conditions.metrics["ppv"], scored) == pytest.approx(0.2)
    assert value_of(conditions.metrics["npv"], scored) == pytest.approx(0.8)
