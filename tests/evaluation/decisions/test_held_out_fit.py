from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from tlmed.errors import InputError
from tlmed.evaluation.decisions.held_out_fit import fit_held_out
from tlmed.evaluation.decisions.multiclass_recalibration import (
    TemperatureScaling,
    fit_temperature,
    fit_temperature_locally,
)
from tlmed.evaluation.decisions.recalibration import PlattScaling
from tlmed.evaluation.decisions.thresholds import assure
from tlmed.recipe.protocol import OperatingPointSettings


def _val(is_sick: np.ndarray | list[int], of_sick: np.ndarray | list[float], **columns: Any) -> pd.DataFrame:
    names = [f"image {index:04}" for index in range(len(is_sick))]
    labels = np.where(is_sick, "sick", "well")
    table = pd.DataFrame({"path": names, "unit": names, "group": names, "label": labels, "split": "val"})
    return table.assign(p_sick=np.array(of_sick), p_well=1 - np.array(of_sick), **columns)


def _random(num_units: int = 80, seed: int = 0) -> pd.DataFrame:
    is_sick = np.arange(num_units) % 2
    return _val(is_sick, np.random.default_rng(seed).beta(2 + is_sick, 3 - is_sick))


def _three(num_units: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    labels = np.arange(num_units) % 3
    scores = np.random.default_rng(seed).dirichlet([1, 1, 1], num_units) + 0.4 * np.eye(3)[labels]
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    names = [f"image {index:04}" for index in range(num_units)]
    table = pd.DataFrame({"unit": names, "label": np.array(["a", "b", "c"])[labels], "split": "val"})
    return table.assign(**{f"p_{name}": probabilities[:, k] for k, name in enumerate("abc")}), labels, probabilities


def test_platt_by_hand() -> None:
    # With two scores the line through both shares fits: 1 of 4 sick at 0.2, 3 of 5 at 0.8.
    table = _val([1, 0, 0, 0, 1, 1, 1, 0, 0], [0.2] * 4 + [0.8] * 5)
    rule = fit_held_out(table, positive="sick")
    assert isinstance(rule.map, PlattScaling)
    slope = (logit(0.6) - logit(0.25)) / (logit(0.8) - logit(0.2))
    assert rule.map.slope == pytest.approx(slope)
    assert rule.map.intercept == pytest.approx(logit(0.6) - slope * logit(0.8))
    np.testing.assert_allclose(rule.apply(np.array([[0.2, 0.8], [0.8, 0.2]])), [[0.25, 0.75], [0.6, 0.4]])
    assert rule.prevalence == pytest.approx(4 / 9)
    assert (rule.fitted_on, rule.num_units, rule.num_groups, rule.note) == ("val", 9, 9, None)


def test_a_threshold_stands_on_calibrated_probabilities_and_decides_as_on_raw_ones() -> None:
    # 0.9 of sensitivity of ten sick units needs nine: the second lowest of them.
    of_sick = [0.15, 0.35, *np.linspace(0.5, 0.9, 8), *np.linspace(0.05, 0.6, 10)]
    rule = fit_held_out(
        _val([1] * 10 + [0] * 10, of_sick), positive="sick", operating_points=[OperatingPointSettings(target=0.9)]
    )
    point = rule.points[0].point
    assert point is not None
    raw = np.array(of_sick)
    called = rule.decide(rule.apply(np.stack([raw, 1 - raw], axis=1)), point)
    assert called.tolist() == (raw >= 0.35).tolist()
    assert (point.sensitivity, point.num_positives) == (0.9, 10)
    assert point.specificity == pytest.approx((raw[10:] < 0.35).mean())


def test_units_are_the_mean_of_their_images() -> None:
    table = _random(40)
    images = pd.concat(
        [
            table.assign(path=table["path"] + side, p_sick=table["p_sick"] + shift, p_well=table["p_well"] - shift)
            for side, shift in (("l", 0.01), ("r", -0.01))
        ]
    )
    rule, of_units = fit_held_out(images, positive="sick"), fit_held_out(table, positive="sick")
    assert isinstance(rule.map, PlattScaling) and isinstance(of_units.map, PlattScaling)
    assert rule.num_units == 40
    assert rule.map.slope == pytest.approx(of_units.map.slope)


def test_only_val_rows_count_and_under_folds_all() -> None:
    table = _random()
    test = _random(seed=1).assign(split="test", unit=lambda rows: "test " + rows["unit"])
    assert fit_held_out(pd.concat([test, table]), positive="sick") == fit_held_out(table, positive="sick")
    folded = fit_held_out(table.assign(split="test", fold=np.arange(80) % 5), positive="sick")
    assert folded.fitted_on == "out-of-fold"
    assert folded.map == fit_held_out(table, positive="sick").map


def test_a_threshold_chosen_on_test_is_refused() -> None:
    with pytest.raises(InputError, match=r"threshold chosen on test is refused.* add the val rows"):
        fit_held_out(_random().assign(split="test"), positive="sick")
    with pytest.raises(InputError, match="threshold chosen on test is refused"):
        fit_held_out(_random().drop(columns="split"), positive="sick")


def test_separated_classes_leave_the_intercept() -> None:
    rule = fit_held_out(_val([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9]), positive="sick")
    assert isinstance(rule.map, PlattScaling)
    assert (rule.map.slope, rule.map.intercept_only) == (1.0, True)
    assert rule.note is not None
    assert "without a slope: the scores separate the classes perfectly" in rule.note
    raw = np.array([0.1, 0.2, 0.3, 0.9])
    assert rule.apply(np.stack([raw, 1 - raw], axis=1))[:, 0].mean() == pytest.approx(0.25)


def test_one_class_leaves_the_probabilities_as_they_are_with_the_reason() -> None:
    rule = fit_held_out(
        _val([0, 0, 0], [0.1, 0.2, 0.3]), positive="sick", operating_points=[OperatingPointSettings(target=0.9)]
    )
    assert rule.map is None
    assert [text.partition(":")[0] for text in rule.refusals] == [
        "not calibrated",
        "all units are of one class, so there is nothing to tell apart; give units of both",
    ]


def test_isotonic_needs_a_thousand_units() -> None:
    few = fit_held_out(_random(80), positive="sick", calibration="isotonic")
    assert few.map is None
    assert few.refusals == [
        "not calibrated: isotonic recalibration needs at least 1,000 units, and here are 80; take the two-parameter one"
    ]
    assert fit_held_out(_random(1000), positive="sick", calibration="isotonic").method == "isotonic"


def test_no_calibration_leaves_thresholds() -> None:
    points = [OperatingPointSettings(target=0.8)]
    rule = fit_held_out(_random(), positive="sick", calibration="none", operating_points=points)
    calibrated = fit_held_out(_random(), positive="sick", operating_points=points)
    assert rule.refusals == []
    assert rule.method == "none"
    raw, other = rule.points[0].point, calibrated.points[0].point
    assert raw is not None and other is not None
    assert (raw.sensitivity, raw.specificity) == (other.sensitivity, other.specificity)


def test_too_few_to_assure_is_kept_as_the_reason() -> None:
    wanted = OperatingPointSettings(kind="assure", target=0.95)
    rule = fit_held_out(_random(80), positive="sick", operating_points=[wanted])
    assert rule.points[0].point is None
    assert "needs at least 59 positives" in rule.refusals[0]
    many = _random(400)
    enough = fit_held_out(many, positive="sick", calibration="none", operating_points=[wanted]).points[0].point
    assert enough == assure(many["label"] == "sick", many["p_sick"], of="sensitivity", target=0.95)


def test_units_of_a_group_assure_less() -> None:
    table = _random(400)
    groups = (np.arange(400) // 2 % 40).astype(str)  # 200 sick units of 40 patients
    wanted = OperatingPointSettings(kind="assure", target=0.95)
    rule = fit_held_out(table.assign(group=groups), positive="sick", operating_points=[wanted])
    assert "here are 200, which count as 40" in rule.refusals[0]
    assert rule.num_groups == 40


def test_three_classes_get_a_temperature() -> None:
    table, labels, probabilities = _three(360)
    rule = fit_held_out(table, positive=["c", "a"], operating_points=[OperatingPointSettings(target=0.9)])
    assert rule.positive == ("a", "c")
    expected = fit_temperature(labels, probabilities)
    assert isinstance(rule.map, TemperatureScaling)
    assert rule.map.temperature == pytest.approx(expected.temperature)
    assert rule.map.intercepts == pytest.approx(expected.intercepts)
    point = rule.points[0].point
    assert point is not None
    called = rule.decide(rule.apply(probabilities), point)
    assert called[labels != 1].mean() == point.sensitivity >= 0.9
    # Without a positive class there is nothing to choose.
    rule = fit_held_out(table, positive=None, operating_points=[OperatingPointSettings(target=0.9)])
    assert rule.method == "temperature"
    assert "no class is named as positive" in rule.refusals[0]


def test_three_classes_that_are_separated_get_intercepts() -> None:
    table, labels, _ = _three(30)
    sharp = 0.7 * np.eye(3)[labels] + 0.1
    table = table.assign(**{f"p_{name}": sharp[:, k] for k, name in enumerate("abc")})
    rule = fit_held_out(table, positive="a")
    assert isinstance(rule.map, TemperatureScaling)
    assert rule.map == fit_temperature_locally(labels, sharp)
    assert rule.map.intercepts_only
    assert rule.note is not None and "without a slope" in rule.note
    refused = fit_held_out(table, positive="a", calibration="isotonic")
    assert refused.refusals == ["not calibrated: isotonic is for two classes, not 3; take platt"]


@pytest.mark.parametrize(
    ("positive", "message"),
    [
        (None, "say which of 'sick' and 'well'"),
        ("sik", "no class 'sik'. Did you mean 'sick'"),
        (["sick", "well"], "names every class"),
    ],
)
def test_a_positive_class_that_is_none(positive: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_held_out(_random(), positive=positive)
