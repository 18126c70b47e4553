from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.report.conftest import Recorded
from tlmed.report.record.delivered_arm import DeliveredArm, decide_delivered, most_confident_errors
from tlmed.report.record.run_record import RunRecord


def _delivered(record: RunRecord) -> DeliveredArm:
    return decide_delivered(record.recipe.evaluation, record.predictions, record.metrics)


@pytest.mark.parametrize("settings", [{}, {"seeds": (0,)}, {"folds": True, "sizes": {"ill": 30, "well": 33}}])
def test_decisions_are_those_of_the_metrics(recorded: Recorded, settings: dict[str, Any]) -> None:
    record = recorded(**settings)
    delivered = _delivered(record)
    (point,) = record.metrics["operating_points"]["generic-related"]
    assert point["refused"] is None
    assert delivered.decision == "prespecified threshold"
    by_seed = [rows for _, rows in delivered.units.groupby("seed", sort=False)]
    ill = [rows[rows["is_positive"]] for rows in by_seed]
    well = [rows[~rows["is_positive"]] for rows in by_seed]
    assert [int(rows["called"].sum()) for rows in ill] == point["sensitivity"]["numerators"]
    assert [int((~rows["called"]).sum()) for rows in well] == point["specificity"]["numerators"]
    assert delivered.threshold.startswith("The threshold to aim for sensitivity 0.9 was chosen on ")


def test_scores_are_calibrated_as_in_the_metrics(recorded: Recorded) -> None:
    record = recorded()
    delivered = _delivered(record)
    errors = (delivered.units["score"] - delivered.units["is_positive"]) ** 2
    expected = record.metrics["calibrated"]["generic-related"]["metrics"]["brier"]["value"]
    assert errors.groupby(delivered.units["seed"]).mean().mean() == pytest.approx(expected)
    assert delivered.assessment.cells["brier"]["value"] == expected


def test_a_refused_threshold_decides_nothing(recorded: Recorded) -> None:
    point = {"kind": "assure", "of": "sensitivity", "target": 0.999}
    delivered = _delivered(recorded(operating_points=[point]))
    assert delivered.decision == "refused"
    assert "was refused (seed 0:" in delivered.threshold
    assert "called" not in delivered.assessment.units


def test_a_refusal_without_fits_is_one_of_a_copy_to_share(recorded: Recorded) -> None:
    record = recorded()
    record.metrics["operating_points"]["generic-related"][0] |= {"refused": "hidden", "fits": []}
    delivered = _delivered(record)
    assert delivered.decision == "not shown"
    assert delivered.threshold == "What came of the threshold to aim for sensitivity 0.9 is hidden."


def test_without_a_threshold_the_more_probable_class_is_called(recorded: Recorded) -> None:
    delivered = _delivered(recorded(operating_points=[]))
    assert delivered.decision == "more probable class"
    assert delivered.units["called"].tolist() == (delivered.units["score"] > 0.5).tolist()


def test_the_most_confident_errors_are_furthest_from_the_threshold(recorded: Recorded) -> None:
    delivered = _delivered(recorded())
    units = delivered.units[delivered.units["seed"] == "0"]
    found = most_confident_errors(delivered, 3)
    for kind, called in (("false positive", True), ("false negative", False)):
        wrong = units[(units["called"] == called) & (units["is_positive"] != called)]
        distance = (wrong["score"] - wrong["threshold"]).abs().sort_values(ascending=False)
        of_kind = [error for error in found if error.kind == kind]
        assert [error.distance for error in of_kind] == pytest.approx(distance.head(3).tolist())
        assert all(error.unit in set(wrong["unit"]) for error in of_kind)
    assert [error.kind for error in found] == sorted((error.kind for error in found), reverse=True)


def test_of_several_classes_the_most_probable_wrong_one(recorded: Recorded) -> None:
    record = recorded(sizes={"a": 12, "b": 12, "c": 12}, positive=None, arms=("generic",))
    delivered = _delivered(record)
    units = delivered.units[delivered.units["seed"] == 0]
    probabilities = units[["p_a", "p_b", "p_c"]].to_numpy()
    called = np.array(["a", "b", "c"])[probabilities.argmax(axis=1)]
    wrong = called != units["label"].to_numpy()
    found = most_confident_errors(delivered, 100)
    assert len(found) == wrong.sum()
    assert max(error.score for error in found) == pytest.approx(probabilities[wrong].max())
    assert {error.kind for error in found} == {f"called {name}" for name in called[wrong]}
