from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from tlmed.errors import InputError
from tlmed.evaluation.decisions.decision_rule import ChosenPoint, DecisionRule, ProbabilityMap
from tlmed.evaluation.decisions.multiclass_recalibration import TemperatureScaling
from tlmed.evaluation.decisions.recalibration import IsotonicMap, PlattScaling
from tlmed.evaluation.decisions.thresholds import OperatingPoint
from tlmed.recipe.protocol import OperatingPointSettings

PLATT = PlattScaling(slope=0.5, intercept=1.0, prevalence=0.4, num_units=50, intercept_only=False)
TEMPERATURE = TemperatureScaling(2.0, (0.5, -0.2, -0.3), (0.5, 0.3, 0.2), 60, intercepts_only=False)
ISOTONIC = IsotonicMap((0.2, 0.8), (0.1, 0.7), 0.25, 1000)


def _rule(fitted: ProbabilityMap | None = PLATT, **changes: Any) -> DecisionRule:
    values: dict[str, Any] = {
        "classes": ("sick", "well"),
        "positive": ("sick",),
        "map": fitted,
        "points": (),
        "fitted_on": "val",
        "num_units": 50,
        "num_groups": 40,
        "note": None,
    }
    return DecisionRule(**{**values, **changes})


def _of_three(**changes: Any) -> DecisionRule:
    return _rule(TEMPERATURE, **{"classes": ("a", "b", "c"), "positive": ("a", "c"), **changes})


def _pair(of_sick: list[float]) -> np.ndarray:
    return np.stack([np.array(of_sick), 1 - np.array(of_sick)], axis=1)


def test_two_classes_are_calibrated_by_the_positive_one() -> None:
    calibrated = _rule().apply(_pair([0.2, 0.9]))
    np.testing.assert_allclose(calibrated[:, 0], expit(0.5 * logit([0.2, 0.9]) + 1))
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    turned = _rule(positive=("well",)).apply(_pair([0.2, 0.9]))
    np.testing.assert_allclose(turned[:, 1], expit(0.5 * logit([0.8, 0.1]) + 1))
    np.testing.assert_array_equal(_rule(None).apply(_pair([0.2])), _pair([0.2]))
    assert _rule().apply(np.empty((0, 2))).shape == (0, 2)


def test_the_probability_of_disease_is_the_sum_over_the_positive_classes() -> None:
    given = np.array([[0.5, 0.25, 0.25], [0.1, 0.7, 0.2]])
    np.testing.assert_allclose(_of_three().of_disease(given), [0.75, 0.3])
    np.testing.assert_allclose(_of_three().apply(given), TEMPERATURE.apply(given))


def test_a_unit_at_the_threshold_is_positive() -> None:
    point = OperatingPoint(0.6, "sensitivity", 0.9, False, 0.95, 0.8, 0.9, 0.7, 20, 30)
    assert _rule().decide(_pair([0.59, 0.6, 0.7]), point).tolist() == [False, True, True]


def test_a_shift_moves_the_log_odds_by_the_difference_of_the_prevalences() -> None:
    shifted = _rule().shift(_pair([0.3, 0.8]), 0.05)
    np.testing.assert_allclose(shifted[:, 0], expit(logit([0.3, 0.8]) + logit(0.05) - logit(0.4)))
    np.testing.assert_allclose(_rule().shift(_pair([0.3]), 0.4), _pair([0.3]))
    assert _rule().shift(np.empty((0, 2)), 0.1).shape == (0, 2)


def test_a_shift_keeps_the_proportions_among_several_positive_classes() -> None:
    # Calibrated to 0.5, 0.3, 0.2, so to 0.7 disease; at 0.35 a and c are half as frequent, b 0.65 / 0.3 as much.
    given = np.array([[0.5, 0.3, 0.2]])
    np.testing.assert_allclose(_of_three().shift(given, 0.35), [[0.25, 0.65, 0.1]])
    assert _of_three().prevalence == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("rule", "prevalence", "message"),
    [
        (_rule(None), 0.1, "the probabilities are not calibrated"),
        (_of_three(positive=()), 0.1, "no positive class is named"),
        (_rule(), 0.0, "0 is not between 0 and 1"),
        (_rule(), 5.0, "5 is not between 0 and 1"),
    ],
)
def test_what_cannot_be_shifted(rule: DecisionRule, prevalence: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rule.shift(np.full((1, len(rule.classes)), 1 / len(rule.classes)), prevalence)


@pytest.mark.parametrize(
    "rule",
    [
        _rule(),
        _rule(ISOTONIC, num_units=1000),
        _rule(None, note="not calibrated: all units are of one class", fitted_on="out-of-fold"),
        _of_three(num_units=60),
        _of_three(positive=(), num_units=60),
        _rule(
            points=(
                ChosenPoint(
                    OperatingPointSettings(kind="assure", of="specificity", target=0.8),
                    OperatingPoint(0.6, "specificity", 0.8, True, 0.95, 0.8, 0.9, 0.7, 20, 30),
                    None,
                ),
                ChosenPoint(OperatingPointSettings(target=0.99), None, "needs at least 299 positives"),
            )
        ),
    ],
)
def test_a_card_gives_the_rule_back(rule: DecisionRule) -> None:
    assert DecisionRule.from_card(json.loads(json.dumps(rule.to_card(), allow_nan=False))) == rule


def test_the_card_in_words() -> None:
    card = _rule().to_card()
    assert card["positive"] == "sick"
    assert card["calibration"] == {
        "method": "platt",
        "parameters": {"slope": 0.5, "intercept": 1.0, "intercept_only": False},
        "prevalence": 0.4,
        "class_shares": (0.4, 0.6),
        "fitted_on": "val",
        "num_units": 50,
        "num_groups": 40,
        "note": None,
    }
    assert _of_three().to_card()["positive"] == ["a", "c"]
    assert _of_three(positive=()).to_card()["positive"] is None


def test_a_card_without_calibration_leaves_probabilities_as_they_are() -> None:
    card = {"classes": ["a", "b"], "positive": "a", "calibration": None, "operating_points": []}
    rule = DecisionRule.from_card(card)
    assert (rule.method, rule.prevalence, rule.fitted_on) == ("none", None, None)


def test_refusals_are_those_of_calibration_and_thresholds() -> None:
    refused = ChosenPoint(OperatingPointSettings(target=0.99), None, "too few")
    assert _rule(None, note="not calibrated", points=(refused,)).refusals == ["not calibrated", "too few"]
    assert _rule().refusals == []
