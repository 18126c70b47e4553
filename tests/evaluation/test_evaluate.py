from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.evaluation.prediction_rows import image_rows, in_folds, measure, random_rows, three_classes
from tlmed.errors import InputError
from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.evaluation.metrics import METRICS


def _value(metrics: dict[str, Any], name: str, arm: str = "model") -> float:
    value = metrics["arms"][arm][name]["value"]
    assert isinstance(value, float)
    return value


def test_the_content_names_what_was_measured_and_on_how_many() -> None:
    table = random_rows(160, group=[f"patient {index // 2}" for index in range(160)])
    table = table.assign(label=["sick" if index // 2 % 2 else "well" for index in range(160)])
    metrics = measure(table)
    assert metrics["positive"] == "sick"
    assert metrics["unit"] == "image"
    assert (metrics["num_units"], metrics["num_groups"]) == (160, 80)
    assert metrics["num_units_by_class"] == {"sick": 80, "well": 80}
    assert metrics["groups_known"] is True
    assert metrics["undefined"] == []
    assert metrics["by_unit"] == {"image": metrics["arms"]}
    assert list(metrics["arms"]) == ["model"]
    assert set(metrics["arms"]["model"]) == {*METRICS, *CALIBRATION_METRICS}
    for name, cell in metrics["arms"]["model"].items():
        assert {"value", "low", "high"} <= set(cell)
        if name == "ece":
            assert cell["low"] is None
            assert cell["range_if_calibrated"][0] < cell["range_if_calibrated"][1]
        else:
            assert cell["low"] < cell["value"] < cell["high"]
            assert cell["method"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_values_are_those_of_the_positive_class() -> None:
    # Called sick: the 1st and the 3rd; sick are the 1st and the 2nd.
    table = image_rows(["sick", "sick", "well", "well", "well"], [0.9, 0.3, 0.6, 0.2, 0.1])
    metrics = measure(table)
    assert _value(metrics, "accuracy") == pytest.approx(3 / 5)
    assert _value(metrics, "sensitivity") == pytest.approx(1 / 2)
    assert _value(metrics, "specificity") == pytest.approx(2 / 3)
    assert _value(metrics, "auroc") == pytest.approx(5 / 6)
    other = evaluate_predictions(table, positive="well", unit="image")
    assert _value(other, "sensitivity") == pytest.approx(2 / 3)


def test_a_larger_unit_is_measured_along_with_its_images() -> None:
    # By image one of four is wrong; the mean of the first patient, 0.65, is right.
    table = image_rows(["sick", "sick", "well", "well"], [0.9, 0.4, 0.1, 0.2], path=["1", "2", "3", "4"])
    metrics = measure(table.assign(unit=["x", "x", "y", "y"]), unit="patient")
    assert list(metrics["by_unit"]) == ["patient", "image"]
    assert metrics["by_unit"]["patient"] == metrics["arms"]
    assert _value(metrics, "accuracy") == 1.0
    assert metrics["by_unit"]["image"]["model"]["accuracy"]["value"] == pytest.approx(3 / 4)
    assert (metrics["num_units"], metrics["unit"]) == (2, "patient")
    without_paths = measure(table.drop(columns="path").assign(unit=["x", "x", "y", "y"]), unit="patient")
    assert list(without_paths["by_unit"]) == ["patient"]


def test_with_more_classes_the_positive_one_has_no_effect() -> None:
    generator = np.random.default_rng(0)
    labels, probabilities = np.arange(60) % 3, generator.dirichlet(np.ones(3), size=60)
    table = pd.DataFrame(probabilities, columns=["p_a", "p_b", "p_c"])
    table = table.assign(unit=np.arange(60), label=np.array(["a", "b", "c"])[labels])
    metrics = evaluate_predictions(table, positive=None, unit="image")
    assert evaluate_predictions(table, positive="b", unit="image") == metrics
    assert metrics["positive"] is None
    assert metrics["num_units_by_class"] == {"a": 20, "b": 20, "c": 20}
    expected = np.mean([roc_auc_score(labels == index, probabilities[:, index]) for index in range(3)])
    assert _value(metrics, "auroc") == pytest.approx(expected)
    with pytest.raises(InputError, match="no class 'sick'"):
        evaluate_predictions(table, positive="sick", unit="image")


def test_the_order_of_rows_has_no_effect() -> None:
    table = pd.concat([random_rows(40, draw=draw, arm=arm) for draw, arm in enumerate("ab")])
    shuffled = table.sample(frac=1, random_state=0)
    assert measure(shuffled)["arms"] == measure(table)["arms"]


def test_a_metric_without_a_value_is_listed_and_null_with_the_reason() -> None:
    metrics = measure(image_rows(["sick", "well", "well"], [0.4, 0.3, 0.2]))
    reasons = {
        name: metrics["arms"]["model"][name.removeprefix("model/")]["undefined"] for name in metrics["undefined"]
    }
    parted = "the probabilities part the classes perfectly"
    assert reasons == {
        "model/ppv": "nothing was called positive",
        "model/mcc": "everything was called 'well'",
        "model/calibration_slope": parted,
        "model/calibration_intercept": parted,
    }
    ppv = metrics["arms"]["model"]["ppv"]
    assert (ppv["value"], ppv["low"], ppv["high"]) == (None, None, None)
    assert "method" not in ppv


def test_several_seeds_give_the_mean_of_each_seeds_metric_not_that_of_the_mean_prediction() -> None:
    # The first seed is right twice, the second once; their mean probabilities (0.65, 0.15) would be right twice.
    seeds = [
        image_rows(["sick", "well"], of_sick, seed=index) for index, of_sick in enumerate([[0.9, 0.1], [0.4, 0.2]])
    ]
    metrics = measure(pd.concat(seeds))
    assert _value(metrics, "accuracy") == pytest.approx(0.75)
    assert metrics["num_units"] == 2


def test_the_interval_says_how_many_seeds_it_covers() -> None:
    def said(*seeds_of_arm: int) -> str:
        parts = [
            random_rows(40, draw=100 * arm + index, group=np.arange(40), arm=f"arm {arm}", seed=index)
            for arm, num_seeds in enumerate(seeds_of_arm)
            for index in range(num_seeds)
        ]
        return str(measure(pd.concat(parts))["interval"])

    assert "2,000 resamples of the 40 groups" in said(1)
    assert "one seed, so they cover the choice of cases, not the chance of training" in said(1, 1)
    assert "the 3 seeds: they cover the choice of cases and the chance of training" in said(3)
    assert "2 to 3 seeds: they cover" in said(2, 3)
    assert "with one seed they leave out the chance of training" in said(1, 3)
    assert "unknown" not in said(3)


def test_the_interval_says_when_groups_are_unknown() -> None:
    table = random_rows(40)
    assert measure(table)["groups_known"] is False
    assert "Groups are unknown: each image is its own" in measure(table)["interval"]
    stand_in = measure(table.assign(group=table["unit"]), groups_known=False)
    assert stand_in == measure(table)
    assert measure(table.assign(group=table["unit"]))["groups_known"] is True


def test_too_few_groups_are_named_as_the_reason_for_no_intervals() -> None:
    metrics = measure(random_rows(40, group=[f"patient {index % 6}" for index in range(40)]))
    cells = metrics["arms"]["model"]
    assert all(cell["low"] is None and cell["high"] is None for cell in cells.values())
    assert cells["auroc"]["too_few"] == "too few groups with units of 'sick' (3), 'well' (3); an interval needs 10"
    assert cells["sensitivity"]["too_few"] == "too few groups with units that are positive: 3; an interval needs 20"
    assert metrics["num_groups"] == 6
    assert "at least 10 groups of each class (sick: 3, well: 3)" in metrics["interval"]
    assert "2,000 resamples" not in metrics["interval"]


def test_sensitivity_and_specificity_each_need_their_own_groups() -> None:
    is_sick = np.arange(40) < 8
    cells = measure(
        image_rows(np.where(is_sick, "sick", "well").tolist(), np.linspace(0.2, 0.9, 40), group=np.arange(40))
    )
    row = cells["arms"]["model"]
    assert {name for name, cell in row.items() if "too_few" in cell} >= {"sensitivity", "auroc", "accuracy", "f1"}
    assert row["specificity"]["low"] < row["specificity"]["value"] < row["specificity"]["high"]


def test_a_perfect_classifier_has_intervals_by_wilson_and_newcombe_and_none_by_resampling() -> None:
    is_sick = np.arange(60) % 2 > 0
    row = measure(image_rows(np.where(is_sick, "sick", "well").tolist(), is_sick * 1.0, group=np.arange(60)))["arms"][
        "model"
    ]
    # Wilson's lower limit of n of n is n / (n + z^2).
    assert row["accuracy"]["low"] == pytest.approx(60 / (60 + 1.959963984540054**2))
    assert (row["accuracy"]["numerator"], row["accuracy"]["denominator"]) == (60, 60)
    assert row["auroc"]["method"] == "Newcombe"
    assert 0.8 < row["auroc"]["low"] < row["auroc"]["high"] == 1.0
    assert row["f1"]["low"] is None
    assert "the same without each of them" in row["f1"]["no_interval"]


def test_what_depends_on_the_prevalence_is_marked_or_reweighted() -> None:
    table = random_rows(60, group=np.arange(60))
    of_this_set, consecutive = measure(table), measure(table, sampling="consecutive", prevalence=0.1)
    stated = measure(table, sampling="case-control", prevalence=0.1)
    rows = [one["arms"]["model"] for one in (of_this_set, consecutive, stated)]
    assert rows[0]["ppv"]["note"] == rows[0]["brier"]["note"] == "at this set's prevalence"
    assert "note" not in rows[0]["sensitivity"]
    assert not any("note" in cell for cell in rows[1].values())
    sensitivity, specificity = (rows[0][name]["value"] for name in ("sensitivity", "specificity"))
    bayes = 0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity))
    assert rows[2]["ppv"]["value"] == pytest.approx(bayes, abs=1e-12)
    assert rows[2]["ppv"]["low"] < bayes < rows[2]["ppv"]["high"]
    assert rows[2]["ppv"]["note"] == "at a prevalence of 0.1"
    assert rows[2]["brier"]["note"] == "at a prevalence of 0.1, probabilities not shifted to it"
    assert rows[2]["ece"] == rows[0]["ece"]
    assert rows[2]["auroc"] == rows[0]["auroc"]
    assert (stated["prevalence"], stated["sampling"]) == (0.1, "case-control")
    unused = "The stated prevalence of 0.1 has no effect: the cases are consecutive"
    assert unused in consecutive["interval"]
    assert consecutive["interval"].endswith("is given at theirs (sick 0.5, well 0.5).")
    assert "no effect" not in stated["interval"] + of_this_set["interval"]


def test_decisions_in_place_of_probabilities_have_no_calibration_and_no_error() -> None:
    table = image_rows(["sick", "well", "sick", "well"], [0.0, 1.0, 1.0, 0.0])
    for prevalence in (None, 0.05):
        row = measure(table, prevalence=prevalence)["arms"]["model"]
        for name in CALIBRATION_METRICS:
            assert (row[name]["value"], row[name]["undefined"]) == (None, "all probabilities are 0 or 1")
    mixed = measure(image_rows(["sick", "well"] * 20, [0.0, 1.0, 1.0, 0.0, 0.3, 0.4, 0.6, 0.2] * 5), prevalence=0.05)
    slope = mixed["arms"]["model"]["calibration_slope"]
    assert slope["value"] is not None
    assert slope["note"] == "20 units at 0 or 1 are taken as 2^-25 from it"


def test_no_interval_is_described_where_none_is_given() -> None:
    metrics = measure(random_rows(24, group=np.arange(24) // 4 * 2 + np.arange(24) % 2))
    assert all(cell["low"] is None for cell in metrics["arms"]["model"].values())
    assert "95 %" not in metrics["interval"]


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.2, 3.0, float("nan")])
def test_a_prevalence_that_is_none_is_refused(prevalence: float) -> None:
    with pytest.raises(InputError, match=r"prevalence: .* is none; state the share of disease, between 0 and 1"):
        measure(random_rows(8), prevalence=prevalence)


def test_a_prevalence_of_three_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"3 classes; say which of them count as disease by a list"):
        evaluate_predictions(three_classes(), positive=None, unit="image", prevalence=0.1)


def test_folds_are_averaged_and_called_approximate() -> None:
    table = in_folds(group=np.arange(60))
    metrics = measure(table)
    of_folds = [roc_auc_score(part["label"] == "sick", part["p_sick"]) for _, part in table.groupby(["seed", "fold"])]
    row = metrics["arms"]["model"]
    assert row["auroc"]["value"] == pytest.approx(np.mean(of_folds), abs=1e-10)
    without = {name for name, cell in row.items() if cell["low"] is None}
    assert without == {"ece", "auprc"}
    assert all("approximate" in cell["method"] for name, cell in row.items() if name not in without)
    assert metrics["num_folds"] == 5
    assert "tested once in each of 2 repeats, in 5 folds" in metrics["interval"]
    assert "approximate" in metrics["interval"]


def test_unknown_groups_are_image_level() -> None:
    assert "image-level; leakage cannot be excluded" in measure(random_rows(40))["interval"]
