from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from tlmed.evaluation.calibration import calibration_error
from tlmed.evaluation.estimates.figure_cells import Cell, Conditions, Part
from tlmed.evaluation.estimates.fixed_split import estimate_auroc, estimate_on_fixed_test
from tlmed.evaluation.intervals import resample_by_group
from tlmed.evaluation.metrics import METRICS, Integers, Scored
from tlmed.evaluation.statistics.auroc import auroc_intervals
from tlmed.evaluation.statistics.multi_reader import mean_over_readers, reader_aurocs
from tlmed.evaluation.statistics.multiclass_auroc import hand_till_auroc, one_vs_rest_auroc

_TWO = Conditions(("well", "sick"), "consecutive", None)


def _scored(num_classes: int = 2, num_units: int = 120, draw: int = 0) -> Scored:
    generator = np.random.default_rng(draw)
    labels = np.arange(num_units) % num_classes
    probabilities = 0.8 * generator.dirichlet(np.ones(num_classes), num_units) + 0.2 * np.eye(num_classes)[labels]
    return Scored(labels, probabilities, 1 if num_classes == 2 else None)


def _estimate(of_seeds: list[Scored], groups: Integers, conditions: Conditions = _TWO) -> dict[str, Cell]:
    parts = [Part(f"seed {index}", one) for index, one in enumerate(of_seeds)]
    return estimate_on_fixed_test(parts, groups, conditions)


def test_values_of_two_classes_are_scikit_learns() -> None:
    one = _scored()
    cells = _estimate([one], np.arange(120))
    labels, of_sick, called = one.labels, one.probabilities[:, 1], one.predicted
    expected = {
        "accuracy": accuracy_score(labels, called),
        "balanced_accuracy": balanced_accuracy_score(labels, called),
        "sensitivity": recall_score(labels, called),
        "specificity": recall_score(labels, called, pos_label=0),
        "ppv": precision_score(labels, called),
        "npv": precision_score(labels, called, pos_label=0),
        "f1": f1_score(labels, called),
        "macro_f1": f1_score(labels, called, average="macro"),
        "mcc": matthews_corrcoef(labels, called),
        "auroc": roc_auc_score(labels, of_sick),
        "auprc": average_precision_score(labels, of_sick),
        "brier": brier_score_loss(labels, of_sick),
    }
    for name, value in expected.items():
        assert cells[name].value == pytest.approx(value, abs=1e-10), name


def test_values_of_several_classes_are_scikit_learns() -> None:
    one = _scored(4)
    cells = _estimate([one], np.arange(120), Conditions(("a", "b", "c", "d"), "consecutive", None))
    labels, called = one.labels, one.predicted
    expected = {
        "auroc": roc_auc_score(labels, one.probabilities, multi_class="ovr"),
        "auroc_hand_till": roc_auc_score(labels, one.probabilities, multi_class="ovo"),
        "quadratic_weighted_kappa": cohen_kappa_score(labels, called, weights="quadratic"),
        "sensitivity": recall_score(labels, called, average="macro"),
        "ppv": precision_score(labels, called, average="macro"),
        "macro_f1": f1_score(labels, called, average="macro"),
        "mcc": matthews_corrcoef(labels, called),
        "accuracy": accuracy_score(labels, called),
    }
    for name, value in expected.items():
        assert cells[name].value == pytest.approx(value, abs=1e-10), name
    assert cells["auroc"].value == pytest.approx(one_vs_rest_auroc(labels, one.probabilities), abs=1e-10)
    assert cells["auroc_hand_till"].value == pytest.approx(hand_till_auroc(labels, one.probabilities), abs=1e-10)
    kappa = cells["quadratic_weighted_kappa"]
    assert kappa.note == "only where the classes have an order, and it is a < b < c < d"
    assert all(cell.low is not None for name, cell in cells.items() if name != "ece")
    assert "calibration_slope" not in cells


def test_each_figure_has_the_interval_that_fits_it() -> None:
    one, groups = _scored(), np.arange(120) // 2
    one = Scored(np.asarray(groups % 2), one.probabilities, 1)
    cells = _estimate([one], groups)
    (auroc,) = auroc_intervals(one.labels == 1, one.probabilities[None, :, 1], groups)
    assert (cells["auroc"].low, cells["auroc"].high) == (auroc.low, auroc.high)
    assert cells["auroc"].method == "logit Obuchowski"
    resampled = resample_by_group({"mcc": METRICS["mcc"]}, [one], groups, generator=np.random.default_rng(0))["mcc"]
    value, mcc = cells["mcc"].value, cells["mcc"]
    assert value is not None
    # Fisher's z, 30 groups in each class.
    half_width = t.ppf(0.975, 29) * resampled.std(ddof=1) / (1 - value**2)
    assert (mcc.low, mcc.high) == pytest.approx(
        tuple(np.tanh(np.arctanh(value) + sign * half_width) for sign in (-1, 1))
    )
    assert mcc.method == "logit, bootstrap by group"
    error = calibration_error(one, groups)
    assert cells["ece"] == Cell(error.value, range_if_calibrated=(error.low, error.high))
    methods = {name: cell.method for name, cell in cells.items()}
    assert methods["sensitivity"] == methods["ppv"] == "clustered Wilson"
    assert methods["calibration_slope"] == methods["calibration_in_the_large"] == "delta method by group"
    assert _estimate([_scored()], np.arange(120))["auroc"].method == "logit DeLong"


def test_several_seeds_have_a_mean_auroc_as_of_random_readers_on_the_logit_scale() -> None:
    of_seeds = [_scored(draw=draw) for draw in range(3)]
    groups = np.arange(120)
    cell = estimate_auroc(of_seeds, groups, None)
    scores = np.stack([one.probabilities[:, 1] for one in of_seeds])
    values, covariance = reader_aurocs(of_seeds[0].labels == 1, scores[None], groups)
    published = mean_over_readers(values[0], covariance[0, :, 0])
    assert cell.value == pytest.approx(published.value)
    freedom = min(published.degrees_of_freedom, 59)  # of 60 groups in each class
    value = published.value
    half_width = t.ppf(0.975, freedom) * published.standard_error / (value * (1 - value))
    logit = math.log(value / (1 - value))
    assert (cell.low, cell.high) == pytest.approx(tuple(1 / (1 + np.exp(-logit + s * half_width)) for s in (1, -1)))
    assert cell.method == "logit Obuchowski-Rockette, seeds as random readers"


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_auroc_that_does_not_vary_has_newcombes_limits(num_seeds: int) -> None:
    labels = np.arange(40) % 2
    perfect = Scored(labels, np.eye(2)[labels], 1)
    cell = estimate_auroc([perfect] * num_seeds, np.arange(40), None)
    assert (cell.value, cell.high, cell.method) == (1.0, 1.0, "Newcombe")
    assert cell.low is not None
    assert 0.8 < cell.low < 1
    constant = Scored(labels, np.full((40, 2), 0.5), 1)
    assert estimate_auroc([constant] * num_seeds, np.arange(40), None).method == "Newcombe"


def test_too_few_groups_of_a_class_leave_values_and_the_reason() -> None:
    labels = (np.arange(40) < 6).astype(np.int64)
    cells = _estimate([Scored(labels, _scored(num_units=40).probabilities, 1)], np.arange(40))
    reason = "too few groups with units of 'sick' (6); an interval needs 10"
    for name in ("accuracy", "auroc", "f1", "brier", "calibration_slope"):
        assert cells[name].value is not None
        assert (cells[name].low, cells[name].high, cells[name].too_few) == (None, None, reason), name
    assert cells["specificity"].low is not None


def test_reweighted_calibration_has_the_intercept_that_the_prevalence_shifts() -> None:
    one, groups = _scored(num_units=400), np.arange(400)
    here = _estimate([one], groups)
    there = _estimate([one], groups, Conditions(("well", "sick"), "case-control", 0.1))
    assert there["calibration_slope"] == here["calibration_slope"]
    shift = math.log(0.1 / 0.9)
    for name in ("calibration_intercept", "calibration_in_the_large"):
        before, after = here[name], there[name]
        assert after.value is not None
        assert before.value is not None
        # Exact where the slope is 1 and the model true; here near.
        assert after.value == pytest.approx(before.value + shift, abs=0.25)
        assert after.low is not None
        assert after.low < after.value


def test_an_undefined_figure_names_the_seed() -> None:
    labels = np.arange(40) % 2
    nobody = Scored(labels, np.tile([0.9, 0.1], (40, 1)), 1)
    cells = _estimate([_scored(num_units=40), nobody], np.arange(40))
    assert (cells["ppv"].value, cells["ppv"].undefined) == (None, "nothing was called positive in seed 1")
    assert cells["calibration_slope"].undefined == "all probabilities are the same in seed 1"
