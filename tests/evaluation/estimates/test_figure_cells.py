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


def test_what_a_figure_of_several_classes_is_stands_beside_it() -> None:
    cell, parts = Cell(0.7), [Part("seed 0", _called([0, 1, 2, 1, 1, 2], 3))]
    of_three, of_two = Conditions(_THREE, "unknown", None), Conditions(_TWO, "unknown", None)
    assert of_three.completed("auroc", cell, parts).note == "one-vs-rest, macro; at this set's prevalence"
    assert of_three.completed("sensitivity", cell, parts).note == "macro over classes"
    assert str(of_three.completed("ppv", cell, parts).note).startswith("macro over classes")
    assert of_three.completed("balanced_accuracy", cell, parts).note is None
    assert of_two.completed("auroc", cell, [Part("seed 0", _called([0, 1, 1, 0], 2))]).note is None


def _probabilities(of_sick: list[float]) -> Scored:
    values = np.array(of_sick)
    return Scored(np.arange(len(values)) % 2, np.stack([1 - values, values], axis=1), 1)


def test_log_odds_of_0_and_1_are_told_or_do_not_exist() -> None:
    conditions = Conditions(_TWO, "consecutive", None)
    some, none = (
        Part("seed 0", _probabilities([0.0, 0.6, 0.7, 1.0])),
        Part("seed 1", _probabilities([0.2, 0.6, 0.7, 0.4])),
    )
    one = Part("seed 2", _probabilities([0.0, 0.6, 0.7, 0.4]))
    cell = Cell(1.0)
    assert (
        conditions.completed("calibration_slope", cell, [some]).note == "2 units at 0 or 1 are taken as 2^-25 from it"
    )
    assert conditions.completed("calibration_slope", cell, [one]).note == "1 unit at 0 or 1 is taken as 2^-25 from it"
    assert str(conditions.completed("calibration_in_the_large", cell, [some, one]).note).startswith("3 units")
    assert conditions.completed("calibration_slope", cell, [none]).note is None
    assert conditions.completed("brier", cell, [some]).note is None
    decisions = Part("seed 0", _probabilities([0.0, 1.0, 1.0, 0.0]))
    for name in ("calibration_slope", "calibration_intercept", "calibration_in_the_large"):
        assert np.isnan(value_of(conditions.metrics[name], decisions.scored))
        assert conditions.completed(name, Cell(None), [decisions]).undefined == "all probabilities are 0 or 1"
        assert (
            conditions.completed(name, Cell(None), [none, decisions]).undefined
            == "all probabilities are 0 or 1 in seed 0"
        )


def test_the_auroc_of_a_constant_is_0_5_by_definition() -> None:
    constant = Part("seed 0", _probabilities([0.4, 0.4, 0.4, 0.4]))
    conditions, cell = Conditions(_TWO, "consecutive", None), Cell(0.5, 0.4, 0.6, "Newcombe")
    told = conditions.completed("auroc", cell, [constant])
    assert (told.value, told.low, told.method) == (0.5, None, None)
    assert told.no_interval == "0.5 by definition: all units have the same score"
    varied = Part("seed 1", _probabilities([0.4, 0.4, 0.3, 0.4]))
    assert conditions.completed("auroc", cell, [constant, varied]).low == 0.4


def test_groups_are_counted_by_averaged_class() -> None:
    labels = np.repeat([0, 1, 2], [30, 20, 4])
    groups = np.concatenate([np.arange(30) // 2, 20 + np.arange(20) // 4, 40 + np.arange(4)])
    scored = Scored(labels, np.full((54, 3), 1 / 3), macro_classes=(0, 1))
    assert too_few_groups(scored, groups, _THREE) == "too few groups with units of 'b' (5); an interval needs 10"
    everything = Scored(labels, np.full((54, 3), 1 / 3))
    assert "of 'b' (5), 'c' (4);" in str(too_few_groups(everything, np.asarray(groups), _THREE))
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
