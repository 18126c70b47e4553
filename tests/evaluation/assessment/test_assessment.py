from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from tlmed.errors import InputError
from tlmed.evaluation.assessment.assessment import Assessment, Question, assess
from tlmed.evaluation.assessment.case_data import gather_cases
from tlmed.evaluation.assessment.threshold_choice import Target


def _table(num_units: int = 80, draw: int = 0, **columns: Any) -> pd.DataFrame:
    generator = np.random.default_rng(draw)
    ill = np.arange(num_units) % 2 == 0
    score = generator.beta(2 + ill, 3 - ill)
    names = [f"u{index:03}" for index in range(num_units)]
    table = pd.DataFrame({"unit": names, "label": np.where(ill, "ill", "well"), "p_ill": score, "p_well": 1 - score})
    return table.astype({"unit": object, "label": object}).assign(**columns)


def _assess(table: pd.DataFrame, *, columns: tuple[str, ...] = (), **settings: Any) -> Assessment:
    return assess(gather_cases(table, columns=columns), Question(**{"positive": ("ill",), **settings}))


def _counts(table: pd.DataFrame, threshold: float) -> tuple[float, float]:
    true_negative, false_positive, false_negative, true_positive = confusion_matrix(
        table["label"] == "ill", table["p_ill"] >= threshold
    ).ravel()
    return true_positive / (true_positive + false_negative), true_negative / (true_negative + false_positive)


def test_figures_are_those_at_the_stated_threshold() -> None:
    table = _table()
    found = _assess(table, threshold=0.3)
    sensitivity, specificity = _counts(table, 0.3)
    assert found.cells["sensitivity"]["value"] == pytest.approx(sensitivity)
    assert found.cells["specificity"]["value"] == pytest.approx(specificity)
    assert found.cells["accuracy"]["value"] == pytest.approx((sensitivity + specificity) / 2)
    # What does not depend on a threshold is that of the probabilities.
    assert found.cells["auroc"]["value"] == pytest.approx(roc_auc_score(table["label"] == "ill", table["p_ill"]))
    assert found.metrics["threshold"]["threshold"] == 0.3
    assert "if it was chosen on these cases" in found.metrics["threshold"]["origin"]
    assert found.metrics["by_unit"] == {"unit": found.metrics["arms"]}
    assert json.loads(json.dumps(found.metrics, allow_nan=False)) == found.metrics


def test_without_a_threshold_figures_are_those_above_a_half_and_marked() -> None:
    table = _table()
    found = _assess(table)
    assert found.cells["sensitivity"]["value"] == pytest.approx(_counts(table, np.nextafter(0.5, 1))[0])
    assert "nobody's choice" in found.metrics["threshold"]["origin"]
    assert found.metrics["notes"] == ["Groups are unknown: image-level; leakage cannot be excluded."]


def test_what_does_not_exist_at_the_threshold_is_named() -> None:
    found = _assess(_table(), threshold=0.9999)
    assert found.cells["ppv"]["value"] is None
    assert found.cells["ppv"]["undefined"]
    assert "model/ppv" in found.metrics["undefined"]


def test_a_threshold_from_val_rows_is_applied_to_test_rows() -> None:
    val, test = _table(draw=1, split="val"), _table(draw=2, split="test")
    val["unit"] = "v" + val["unit"]
    found = _assess(pd.concat([val, test]), target=Target("aim", "sensitivity", 0.9))
    threshold = found.metrics["threshold"]["threshold"]
    assert _counts(val, threshold)[0] == pytest.approx(0.9)
    assert found.cells["sensitivity"]["value"] == pytest.approx(_counts(test, threshold)[0])
    assert found.metrics["num_units"] == 80


def test_a_threshold_from_test_rows_is_refused() -> None:
    with pytest.raises(InputError, match="chosen on the rows that it is then measured on is refused"):
        _assess(_table(), target=Target("aim", "sensitivity", 0.9))


def test_a_threshold_from_val_rows_of_the_test_rows_groups_is_refused() -> None:
    val, test = _table(draw=1, split="val"), _table(draw=2, split="test")
    patients = np.arange(80) // 4
    val, test = val.assign(unit="v" + val["unit"], group=patients + 18), test.assign(group=patients)
    both = pd.concat([val, test]).astype({"group": str})
    with pytest.raises(InputError, match=r"groups with rows in val and in test: 18, 19 \(2 in all\); .* take those"):
        _assess(both, target=Target("aim", "sensitivity", 0.9))
    assert _assess(both, threshold=0.5).metrics["num_units"] == 80  # val rows do not matter


def test_groups_that_span_folds_are_refused() -> None:
    with pytest.raises(InputError, match="folds must keep groups whole"):
        _assess(_table(fold=np.arange(80) // 2 % 4, group=[f"p{index // 4}" for index in range(80)]))


def test_the_decision_curve_is_in_the_metrics() -> None:
    table = _table()
    curve = _assess(table).metrics["decision_curve"]
    assert set(curve) == {"prevalence", "reweighted", "thresholds", "model", "treat_all"}
    at = curve["thresholds"].index(0.3)
    called, ill = table["p_ill"] >= 0.3, table["label"] == "ill"
    assert curve["model"][at] == pytest.approx(((called & ill).sum() - (called & ~ill).sum() * 0.3 / 0.7) / 80)
    assert curve["treat_all"][at] == pytest.approx(0.5 - 0.5 * 0.3 / 0.7)


def test_the_delivered_thresholds_stay_and_the_first_one_leads() -> None:
    table = _table()
    found = _assess(table, delivered=((0.3, "first"), (0.6, "second")))
    assert found.metrics["threshold"] == {"threshold": 0.3, "origin": "first"}
    (further,) = found.metrics["operating_points"]
    assert (further["threshold"], further["origin"]) == (0.6, "second")
    assert further["sensitivity"]["value"] == pytest.approx(_counts(table, 0.6)[0])


def test_out_of_fold_rows_say_so() -> None:
    table = _table(fold=np.arange(80) // 2 % 4)
    found = _assess(table, target=Target("aim", "sensitivity", 0.8))
    assert any(note.startswith("Out-of-fold") for note in found.metrics["notes"])
    within = [roc_auc_score(part["label"] == "ill", part["p_ill"]) for _, part in table.groupby("fold")]
    assert found.cells["auroc"]["value"] == pytest.approx(np.mean(within))
    assert "others" in found.metrics["threshold"]["origin"]
    assert found.metrics["threshold"]["lowest"] < found.metrics["threshold"]["highest"]


def test_of_several_seeds_the_figure_is_the_mean_of_theirs() -> None:
    tables = [_table(draw=draw, seed=str(draw)) for draw in (0, 1)]
    found = _assess(pd.concat(tables, ignore_index=True), threshold=0.4)
    expected = np.mean([_counts(table, 0.4)[0] for table in tables])
    assert found.cells["sensitivity"]["value"] == pytest.approx(expected)
    assert len(found.units) == 160


def test_subgroups_and_recalibration_are_there_when_asked_for() -> None:
    sex = np.where(np.arange(80) % 4 < 2, "f", "m")
    found = _assess(_table(sex=sex), columns=("sex",), subgroups=("sex",), recalibrate=True)
    assert [level["value"] for level in found.metrics["subgroups"]["columns"]["sex"]] == ["f", "m"]
    assert found.metrics["recalibration"]["reported_on"]["num_groups"] == 40
    assert json.dumps(found.metrics, allow_nan=False)


def test_one_of_several_classes_is_measured_against_the_rest() -> None:
    table = _table().rename(columns={"p_well": "p_mild"}).assign(p_none=0.0)
    table["p_none"] = table["p_mild"] / 2
    table["p_mild"] /= 2
    table.loc[table.index % 4 == 1, "label"] = "mild"
    table.loc[table.index % 4 == 3, "label"] = "none"
    found = _assess(table)
    assert found.metrics["positive"] == ["ill"]
    assert found.cells["auroc"]["value"] == pytest.approx(roc_auc_score(table["label"] == "ill", table["p_ill"]))
    averages = assess(gather_cases(table), Question())
    assert averages.metrics["threshold"] is None
    assert "called" not in averages.units


def test_what_is_left_out_is_counted() -> None:
    table = _table()
    table.loc[:1, ["p_ill", "p_well"]] = np.nan
    found = _assess(table, threshold=0.3)
    assert [(one["class"], one["num_units"]) for one in found.metrics["excluded"]] == [("ill", 1), ("well", 1)]
    measured = found.cells["sensitivity"]["value"]
    assert found.metrics["if_excluded_were_wrong"]["sensitivity"] == pytest.approx(measured * 39 / 40)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"positive": ()}, "positive is missing: say which"),
        ({"positive": ("sick",)}, "no class 'sick'"),
        ({"positive": ("ill", "well")}, "leave at least one that does not"),
        ({"prevalence": 1.0}, "--prevalence: 1 must lie between 0 and 1"),
        ({"threshold": 0.0}, "between 0 and 1, not 0"),
        ({"threshold": 0.5, "target": Target("aim", "sensitivity", 0.9)}, "either stated .* or chosen"),
    ],
)
def test_what_cannot_be_asked_is_said(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        _assess(_table(), **settings)


def test_several_classes_without_a_positive_one_have_no_threshold() -> None:
    table = _table().assign(p_other=0.0)
    with pytest.raises(InputError, match="need a class that counts as disease; name one or more of ill, well, other"):
        _assess(table, positive=(), threshold=0.5)


def test_a_unit_whose_images_differ_in_a_column_is_refused() -> None:
    table = pd.concat([_table(sex="f", path="a"), _table(sex="m", path="b")], ignore_index=True)
    table["path"] += table["unit"]
    with pytest.raises(InputError, match="--subgroup sex: unit 'u000' has images with several values"):
        assess(gather_cases(table, columns=("sex",)), Question(positive=("ill",), subgroups=("sex",)))
