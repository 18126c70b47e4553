from __future__ import annotations

import numpy as np
import pytest

from tlmed.evaluation.metrics import Scored, auroc
from tlmed.evaluation.statistics.one_class import (
    check_between_0_and_1,
    checked_one_class,
    positive_class,
    score_one_class,
)


def test_a_class_is_scored_against_the_rest() -> None:
    scored = score_one_class([False, True, True], [0.1, 0.8, 0.3])
    assert scored.labels.tolist() == [0, 1, 1]
    assert scored.probabilities == pytest.approx(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]))
    assert auroc(scored, np.ones((1, 3))) == 1.0


def test_the_positive_class_may_be_either() -> None:
    scored = Scored(np.array([0, 1]), np.array([[0.9, 0.1], [0.4, 0.6]]), positive=0)
    is_positive, probabilities = positive_class(scored, "it")
    assert is_positive.tolist() == [True, False]
    assert probabilities.tolist() == [0.9, 0.4]


def test_more_than_two_classes_are_refused() -> None:
    scored = Scored(np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    with pytest.raises(ValueError, match="net benefit is of one class: score one of the 3 classes against the rest"):
        positive_class(scored, "net benefit")


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, not -0\.1 to 0\.5"):
        checked_one_class([True, False], [-0.1, 0.5])
    with pytest.raises(ValueError, match="all units are of one class"):
        checked_one_class([True, True], [0.1, 0.5])
    with pytest.raises(ValueError, match="2 values for 3 units"):
        checked_one_class([True, False], [0.1, 0.5, 0.3])
    with pytest.raises(ValueError, match="missing or infinite"):
        checked_one_class([True, False], [0.1, np.nan])


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 5.0, float("nan")])
def test_a_prevalence_lies_inside(value: float) -> None:
    with pytest.raises(ValueError, match="the prevalence must be between 0 and 1"):
        check_between_0_and_1(value, "the prevalence")
