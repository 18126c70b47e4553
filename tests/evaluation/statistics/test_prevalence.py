from __future__ import annotations

import numpy as np
import pytest

from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.intervals import bootstrap_by_group
from tlmed.evaluation.metrics import METRICS, Metric, Scored
from tlmed.evaluation.statistics.decision_curve import net_benefit_at
from tlmed.evaluation.statistics.prevalence import (
    DEPENDS_ON_PREVALENCE,
    at_prevalence,
    depends_on_prevalence,
    metrics_at_prevalence,
    prevalence_note,
    weights_at_prevalence,
)

_METRICS: dict[str, Metric] = {**METRICS, **CALIBRATION_METRICS, "net_benefit": net_benefit_at(0.3)}


def _scored(num_classes: int = 2, num_units: int = 60) -> Scored:
    generator = np.random.default_rng(num_classes)
    labels = np.arange(num_units) % num_classes
    inclination = generator.dirichlet(np.ones(num_classes), num_units) + 0.5 * np.eye(num_classes)[labels]
    return Scored(labels, inclination / 1.5, 1 if num_classes == 2 else None)


def _value(metric: Metric, scored: Scored) -> float:
    return float(metric(scored, np.ones((1, len(scored.labels))))[0])


def _repeated(scored: Scored, times: list[int]) -> Scored:
    """Each unit as often as its class says."""
    rows = np.repeat(np.arange(len(scored.labels)), np.array(times)[scored.labels])
    return Scored(scored.labels[rows], scored.probabilities[rows], scored.positive)


def test_predictive_values_and_accuracy_follow_from_sensitivity_and_specificity() -> None:
    # TP 3, FN 1, FP 2, TN 4, at a prevalence of 0.01.
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    of_one = np.array([0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    scored = Scored(labels, np.stack([1 - of_one, of_one], axis=1), 1)
    sensitivity, specificity, prevalence = 3 / 4, 4 / 6, 0.01
    found, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, spared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    expected = {
        "ppv": found / (found + alarms),
        "npv": spared / (spared + missed),
        "accuracy": found + spared,
        "f1": 2 * found / (2 * found + alarms + missed),
        "mcc": (found * spared - alarms * missed)
        / np.sqrt((found + alarms) * prevalence * (1 - prevalence) * (spared + missed)),
        "net_benefit": found - alarms * 0.3 / 0.7,
        "brier": (found + spared) * 0.01 + (missed + alarms) * 0.81,
    }
    metrics = metrics_at_prevalence(_METRICS, prevalence)
    assert {name: _value(metrics[name], scored) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name in _METRICS if name in DEPENDS_ON_PREVALENCE])
@pytest.mark.parametrize(("times", "prevalence"), [([9, 1], 0.1), ([1, 4], 0.8)])
def test_it_is_what_a_set_with_that_prevalence_gives(name: str, times: list[int], prevalence: float) -> None:
    scored = _scored()
    expected = _value(_METRICS[name], _repeated(scored, times))
    assert _value(at_prevalence(_METRICS[name], prevalence), scored) == pytest.approx(expected)


def test_the_positive_class_may_be_the_first() -> None:
    scored = _scored()
    other = Scored(scored.labels, scored.probabilities, positive=0)
    for name in ("ppv", "brier", "net_benefit", "calibration_in_the_large"):
        expected = _value(_METRICS[name], _repeated(other, [1, 9]))
        assert _value(at_prevalence(_METRICS[name], 0.1), other) == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_list_of_metrics_that_depend_is_complete_and_no_longer_than_that(num_classes: int) -> None:
    scored = _scored(num_classes)
    often = _repeated(scored, [1, 2, 9][-num_classes:])
    # The slope of units that follow no logistic curve exactly moves a little with weights, though not by itself.
    names = [*METRICS, "net_benefit", "calibration_in_the_large"] if num_classes == 2 else [*METRICS]
    changed = {name for name in names if abs(_value(_METRICS[name], scored) - _value(_METRICS[name], often)) > 1e-9}
    assert changed == {name for name in names if depends_on_prevalence(name, num_classes)}
    assert (DEPENDS_ON_PREVALENCE - {"calibration_intercept"}) <= {*METRICS, "net_benefit", "calibration_in_the_large"}


@pytest.mark.parametrize("name", sorted(METRICS))
def test_more_classes_take_a_share_each(name: str) -> None:
    scored = _scored(3)
    shares = [1 / 7, 2 / 7, 4 / 7]
    expected = _value(METRICS[name], _repeated(scored, [1, 2, 4]))
    assert _value(metrics_at_prevalence(METRICS, shares)[name], scored) == pytest.approx(expected)


def test_only_what_depends_is_changed() -> None:
    metrics = metrics_at_prevalence(_METRICS, 0.2)
    assert {name for name in metrics if metrics[name] is not _METRICS[name]} == DEPENDS_ON_PREVALENCE & set(_METRICS)


def test_each_resample_is_brought_to_the_prevalence() -> None:
    scored = _scored()
    weights = np.random.default_rng(0).integers(0, 3, (20, 60))
    weights[7, scored.labels == 1] = 0
    found = weights_at_prevalence(scored, weights, 0.05)
    whole = np.arange(20) != 7
    assert found[whole].sum(axis=1) == pytest.approx(weights[whole].sum(axis=1))
    assert found[whole][:, scored.labels == 1].sum(axis=1) / weights[whole].sum(axis=1) == pytest.approx(0.05)
    assert np.isnan(found[7]).all()
    values = at_prevalence(METRICS["accuracy"], 0.05)(scored, weights)
    assert np.isnan(values).tolist() == (~whole).tolist()


def test_intervals_are_at_the_prevalence_too() -> None:
    scored = _scored()
    here = bootstrap_by_group({"ppv": METRICS["ppv"]}, [scored], np.arange(60), num_resamples=300)["ppv"]
    there = bootstrap_by_group(
        metrics_at_prevalence({"ppv": METRICS["ppv"]}, 0.02), [scored], np.arange(60), num_resamples=300
    )["ppv"]
    assert here.low is not None and there.low is not None and there.high is not None and there.value is not None
    assert there.low < there.value < there.high < here.low


def test_the_note_stands_beside_what_holds_here_alone() -> None:
    here = "at this set's prevalence"
    assert prevalence_note("ppv", "case-control", reweighted=False) == here
    assert prevalence_note("ppv", "unknown", reweighted=False) == here
    assert prevalence_note("ppv", "consecutive", reweighted=False) is None
    assert prevalence_note("ppv", "unknown", reweighted=True) is None
    assert prevalence_note("auroc", "unknown", reweighted=False) is None
    assert prevalence_note("auroc", "unknown", reweighted=False, num_classes=3) == here


def test_what_is_wrong_is_said() -> None:
    two, three = _scored(), _scored(3)
    for wrong in (0.0, 1.0, 2.0):
        with pytest.raises(ValueError, match="the prevalence must be between 0 and 1"):
            _value(at_prevalence(METRICS["ppv"], wrong), two)
    with pytest.raises(ValueError, match="must be a share of each class, not one number"):
        _value(at_prevalence(METRICS["ppv"], 0.1), three)
    with pytest.raises(ValueError, match="2 values for 3"):
        _value(at_prevalence(METRICS["ppv"], [0.1, 0.9]), three)
    with pytest.raises(ValueError, match="must sum to 1"):
        _value(at_prevalence(METRICS["ppv"], [0.1, 0.2, 0.3]), three)
