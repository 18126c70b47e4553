from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, roc_auc_score

from tests.evaluation.comparison.arm_tables import arm_rows, in_folds
from tests.evaluation.prediction_rows import three_classes
from tlmed.evaluation.comparison.arm_figures import figures_on_fixed_test, figures_over_folds
from tlmed.evaluation.estimates.prediction_table import read_test_rows
from tlmed.evaluation.estimates.unit_scores import UnitScores, score_units
from tlmed.evaluation.metrics import Floats
from tlmed.recipe.comparison import ComparedMetric

_BY_SCIKIT_LEARN = {
    "auroc": roc_auc_score,
    "auprc": average_precision_score,
    "accuracy": lambda truth, score: accuracy_score(truth, score > 0.5),
    "balanced_accuracy": lambda truth, score: balanced_accuracy_score(truth, score > 0.5),
}


def _scores(rows: pd.DataFrame) -> UnitScores:
    return score_units(read_test_rows(rows, "sick", "image"))


def _without(rows: pd.DataFrame, metric: str, group: str | None = None) -> Floats:
    """(R,) by seed."""
    kept = rows[rows["group"] != group]
    measure = _BY_SCIKIT_LEARN[metric]
    return np.array([measure(part["label"] == "sick", part["p_sick"]) for _, part in kept.groupby("seed")])


@pytest.mark.parametrize("metric", get_args(ComparedMetric))
def test_figures_by_seed_and_without_each_group(metric: ComparedMetric) -> None:
    rows = arm_rows("a", num_units=60)
    of_arm = figures_on_fixed_test(_scores(rows), metric)["a"]
    assert of_arm.seeds == (0, 1, 2)
    np.testing.assert_allclose(of_arm.values, _without(rows, metric), atol=1e-12)
    expected = [_without(rows, metric, group) for group in rows["group"].unique()]
    np.testing.assert_allclose(of_arm.left_out, expected, atol=1e-12)


def test_macro_auroc_without_each_group() -> None:
    rows = three_classes()
    scores = score_units(read_test_rows(rows, None, "image"))
    of_arm = figures_on_fixed_test(scores, "auroc")["model"]
    # Units are in the order of their names as text.
    ordered = rows.sort_values("unit", key=lambda column: column.astype(str))
    for index in (0, 7, 59):
        kept = ordered.drop(ordered.index[index])
        truth = np.array(["abc".index(label) for label in kept["label"]])
        one_against_rest = [roc_auc_score(truth == k, kept[f"p_{name}"]) for k, name in enumerate("abc")]
        assert of_arm.left_out[index, 0] == pytest.approx(np.mean(one_against_rest))


def test_nothing_is_left_out_where_nothing_is_claimed_of_other_cases() -> None:
    of_arm = figures_on_fixed_test(_scores(arm_rows("a")), "auroc", without_groups=False)["a"]
    assert of_arm.left_out.shape == (0, 3)


def test_a_bounded_number_of_weights_at_a_time_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = _scores(arm_rows("a"))
    at_once = figures_on_fixed_test(scores, "accuracy")["a"]
    monkeypatch.setattr("tlmed.evaluation.comparison.arm_figures._WEIGHTS_AT_ONCE", 7 * 120)
    np.testing.assert_array_equal(figures_on_fixed_test(scores, "accuracy")["a"].left_out, at_once.left_out)


def test_figures_within_folds() -> None:
    rows = in_folds(arm_rows("a", seeds=(0, 1)))
    of_arm = figures_over_folds(_scores(rows), "auroc")["a"]
    by_fold = {
        key: roc_auc_score(part["label"] == "sick", part["p_sick"]) for key, part in rows.groupby(["seed", "fold"])
    }
    assert sorted(of_arm.by_split.values()) == pytest.approx(sorted(by_fold.values()))
    assert of_arm.by_seed[1] == pytest.approx(np.mean([value for key, value in by_fold.items() if key[0] == 1]))
    assert of_arm.value == pytest.approx(np.mean(list(by_fold.values())))


def test_seeds_on_the_same_folds_are_averaged() -> None:
    rows = in_folds(arm_rows("a", seeds=(0, 1)))
    same = rows.assign(fold=np.tile(rows.loc[rows["seed"] == 0, "fold"], 2))
    assert len(figures_over_folds(_scores(same), "auroc")["a"].by_split) == 5
