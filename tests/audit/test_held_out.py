from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tlmed.audit import held_out
from tlmed.audit.held_out import HeldOutUnits, draw_by_group, fold_by_group, majority_classes, measure


def _units(num_groups: int = 40, each: int = 3, num_classes: int = 2) -> HeldOutUnits:
    groups = np.repeat(np.arange(num_groups), each)
    return fold_by_group(groups % num_classes, groups, seed=0)


def _both(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], axis=1)


def test_the_value_is_the_mean_over_folds() -> None:
    units = _units()
    scores = np.random.default_rng(1).random(120) + 0.3 * units.labels
    expected = np.mean([roc_auc_score(units.labels[units.folds == f], scores[units.folds == f]) for f in range(5)])
    told = measure(units, _both(scores))
    assert told.value == pytest.approx(expected, abs=1e-12)
    assert told.low is not None
    assert told.high is not None
    assert told.low < told.value < told.high


def test_with_three_classes_each_stands_against_the_rest() -> None:
    units = _units(45, 2, num_classes=3)
    scores = np.random.default_rng(2).random((90, 3)) + np.eye(3)[units.labels] * 0.4
    expected = np.mean(
        [
            roc_auc_score(units.labels[units.folds == f] == k, scores[units.folds == f, k])
            for f in range(5)
            for k in range(3)
        ]
    )
    assert measure(units, scores).value == pytest.approx(expected, abs=1e-12)


def test_scores_that_shift_between_folds_do_no_harm() -> None:
    units = _units()
    scores = np.random.default_rng(3).random(120) + 0.3 * units.labels
    assert measure(units, _both(scores + units.folds)) == measure(units, _both(scores))


def test_folds_and_draws_keep_groups_whole() -> None:
    units = _units(60, 4)
    assert all(len(set(units.folds[units.groups == group])) == 1 for group in range(60))
    groups = np.repeat(np.arange(300), 3)
    labels = (groups < 30).astype(np.int64)
    drawn = draw_by_group(labels, groups, seed=0, max_units=300)
    assert len(drawn) == 300
    assert (np.bincount(groups[drawn], minlength=300) % 3 == 0).all()
    assert labels[drawn].sum() == 90  # all of the rare class
    assert draw_by_group(labels, groups, seed=0).tolist() == list(range(900))


def test_the_class_of_a_group_is_that_of_most_of_its_units() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0, 1, 0, 0])
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3])
    assert majority_classes(labels, groups).tolist() == [0, 1, 1, 0]  # of the tie the rarer


def test_permuted_labels_stay_with_groups_and_in_folds() -> None:
    units = _units(40, 3)
    permuted = units.permuted_labels
    by_group = permuted.reshape(len(permuted), 40, 3)  # groups of one class each stay so
    assert (by_group == by_group[:, :, :1]).all()
    for fold in range(5):
        sums = permuted[:, units.folds == fold].sum(axis=1)
        assert (sums == units.labels[units.folds == fold].sum()).all()
    assert len(np.unique(permuted, axis=0)) > 900


def test_groups_of_both_classes_are_permuted_within_as_well() -> None:
    groups = np.repeat(np.arange(20), 2)
    labels = np.tile([0, 1], 20)
    units = fold_by_group(labels, groups, seed=0)
    assert 0.3 < (units.permuted_labels == labels).mean() < 0.7
    assert measure(units, _both(labels.astype(np.float64))).p_value < 0.01


def test_a_perfect_separation_has_limits_by_the_number_of_groups() -> None:
    few, many = (measure(u, _both(u.labels * 1.0)) for u in (_units(20), _units(100)))
    assert few.value == many.value == 1
    assert few.low is not None
    assert many.low is not None
    assert 0.6 < few.low < many.low < 1
    assert few.p_value < 0.01


def test_scores_that_are_all_the_same_tell_nothing_and_have_no_limits() -> None:
    units = _units()
    told = measure(units, np.full((120, 2), 0.5))
    assert (told.value, told.low, told.high, told.p_value) == (0.5, None, None, 1)


def test_p_values_of_groups_that_differ_by_chance_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "NUM_RESAMPLES", 200)
    # Scores are alike within a group: units taken for independent would make small p-values common.
    p_values = []
    for seed in range(60):
        groups = np.repeat(np.arange(40), 5)
        units = fold_by_group(groups % 2, groups, seed)
        scores = np.random.default_rng(seed).normal(size=40)[groups]
        p_values.append(measure(units, _both(scores)).p_value)
    assert np.mean(np.array(p_values) < 0.05) <= 0.13  # 3 expected; 9 or more with a chance below 0.4 %
    assert 0.35 < np.mean(p_values) < 0.65
