from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.evaluation.prediction_rows import in_folds, measure, random_rows, three_classes
from tlmed.errors import InputError
from tlmed.evaluation.estimates.prediction_table import read_test_rows
from tlmed.evaluation.estimates.unit_scores import score_units
from tlmed.evaluation.evaluate import evaluate_predictions


def test_an_arm_or_seed_that_lacks_units_is_named() -> None:
    whole, part = random_rows(10, arm="whole", seed=0), random_rows(10, arm="part", seed=0)[:7]
    with pytest.raises(InputError, match=r"arm 'part', seed 0 lacks 3 units .*image 007, image 008, image 009"):
        measure(pd.concat([whole, part]))
    with pytest.raises(InputError, match="arm 'part', seed 1 lacks 9 units"):
        measure(pd.concat([random_rows(10, arm="part", seed=0), random_rows(10, arm="part", seed=1)[9:]]))
    with pytest.raises(InputError, match="arm 'part', seed 0 lacks 3 units"):
        measure(pd.concat([part, whole]))


def test_test_rows_of_one_class_alone_are_refused() -> None:
    table = random_rows(8).assign(label="sick")
    with pytest.raises(InputError, match="all test rows are of the class 'sick'"):
        measure(table)


def test_seeds_that_come_to_the_same_count_as_one() -> None:
    probe = [random_rows(arm="probe", seed=seed) for seed in (0, 1, 2)]
    tuned = [random_rows(draw=seed, arm="tuned", seed=seed) for seed in (0, 1, 2)]
    alone, once, both = (measure(pd.concat(parts)) for parts in (probe, probe[:1], [*probe, *tuned]))
    assert alone["arms"] == once["arms"]
    assert "one seed, so they cover the choice of cases, not the chance of training" in alone["interval"]
    assert "All seeds come to the same in probe: that counts as one seed." in both["interval"]
    assert "with one seed they leave out the chance of training" in both["interval"]
    assert "same" not in once["interval"] + measure(pd.concat(tuned))["interval"]


def test_a_class_of_few_groups_is_left_out_of_macro_averages_by_name() -> None:
    table = three_classes()
    few = pd.concat([table[table["label"] != "c"], table[table["label"] == "c"][:4]])
    metrics = evaluate_predictions(few, positive=None, unit="image")
    assert metrics["left_out_of_macro"] == ["c"]
    assert "Left out of macro averages, being of too few groups: c." in metrics["interval"]
    of_two = np.mean([roc_auc_score(few["label"] == name, few[f"p_{name}"]) for name in "ab"])
    row = metrics["arms"]["model"]
    assert row["auroc"]["value"] == pytest.approx(of_two, abs=1e-10)
    assert row["auroc"]["low"] < of_two < row["auroc"]["high"]
    assert evaluate_predictions(table, positive=None, unit="image")["left_out_of_macro"] == []


def test_a_single_fold_is_a_fixed_test_set() -> None:
    table = random_rows(40, group=np.arange(40))
    assert measure(table.assign(fold=3)) == measure(table)
    assert measure(table)["num_folds"] is None


def test_a_fold_without_a_class_is_named_with_what_would_work() -> None:
    table = random_rows(40, fold=np.arange(40) // 8).assign(label=["sick"] * 12 + ["well"] * 28)
    with pytest.raises(InputError, match=r"fold 0 of arm 'model', seed 0 has no unit of the class 'well'.*fewer folds"):
        measure(table)
    with pytest.raises(InputError, match=r"fold 2 of arm 'model', seed 0 has no unit of the class 'sick'"):
        measure(table[8:])


def test_units_are_in_the_order_of_their_names_for_every_seed() -> None:
    table = in_folds(20).sample(frac=1, random_state=0)
    scores = score_units(read_test_rows(table, "sick", "image"))
    for one in scores.arms["model"]:
        rows = table[table["seed"] == one.seed].sort_values("unit")
        assert one.scored.probabilities[:, 0].tolist() == rows["p_sick"].tolist()
        assert one.folds is not None
        assert one.folds.tolist() == rows["fold"].tolist()
        by_fold = one.by_fold()
        assert [fold for fold, _ in by_fold] == [0, 1, 2, 3, 4]
        assert sorted(np.concatenate([members for _, members in by_fold])) == list(range(20))
