from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu
from sklearn import metrics as reference

from tlmed.evaluation.metrics import (
    METRICS,
    METRICS_OF_SEVERAL_CLASSES,
    Floats,
    Integers,
    Scored,
    Weights,
    decide,
)
from tlmed.evaluation.statistics.multiclass_auroc import hand_till_auroc


def _measure(name: str, scored: Scored, weights: Weights | None = None) -> float:
    ones = np.ones(len(scored.labels)) if weights is None else weights
    return float(METRICS[name](scored, ones[None, :])[0])


def _binary(labels: Sequence[int], scores: Sequence[float], positive: int = 1) -> Scored:
    """Two classes; `scores` are the probabilities of class 1."""
    of_one = np.array(scores, dtype=np.float64)
    return Scored(np.array(labels), np.stack([1 - of_one, of_one], axis=1), positive)


def _from_confusion(confusion: Sequence[Sequence[int]], positive: int | None = None) -> Scored:
    """Units in each cell (true, predicted), all with the same confidence."""
    num_classes = len(confusion)
    cells = [
        (true, called)
        for true in range(num_classes)
        for called in range(num_classes)
        for _ in range(confusion[true][called])
    ]
    labels, called = np.array(cells).T
    probabilities = np.where(np.eye(num_classes)[called] > 0, 0.8, 0.2 / (num_classes - 1))
    return Scored(labels, probabilities, positive)


def _random(num_classes: int, seed: int, num_units: int = 150) -> Scored:
    """Probabilities in steps of 0.1, so that many scores are tied, of a classifier better than chance."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(num_classes, size=num_units)
    inclination = generator.dirichlet(np.ones(num_classes), size=num_units) + 0.5 * np.eye(num_classes)[labels]
    counts = generator.multinomial(10, inclination / inclination.sum(axis=1, keepdims=True))
    return Scored(labels, counts / 10, seed % 2 if num_classes == 2 else None)


# Each of one class against the rest: truth, decision and scores of N units, and their weights.
_AGAINST_REST: dict[str, Callable[..., float]] = {
    "sensitivity": lambda t, d, s, w: reference.recall_score(t, d, sample_weight=w),
    "specificity": lambda t, d, s, w: reference.recall_score(~t, ~d, sample_weight=w),
    "ppv": lambda t, d, s, w: reference.precision_score(t, d, sample_weight=w),
    "npv": lambda t, d, s, w: reference.precision_score(~t, ~d, sample_weight=w),
    "f1": lambda t, d, s, w: reference.f1_score(t, d, sample_weight=w),
    "auroc": lambda t, d, s, w: reference.roc_auc_score(t, s, sample_weight=w),
    "auprc": lambda t, d, s, w: reference.average_precision_score(t, s, sample_weight=w),
    "brier": lambda t, d, s, w: reference.mean_squared_error(t.astype(float), s, sample_weight=w),
}
# Each of all classes at once: labels and decisions of N units, and their weights.
_OF_ALL_CLASSES: dict[str, Callable[..., float]] = {
    "accuracy": lambda t, d, w: reference.accuracy_score(t, d, sample_weight=w),
    "balanced_accuracy": lambda t, d, w: reference.balanced_accuracy_score(t, d, sample_weight=w),
    "macro_f1": lambda t, d, w: reference.f1_score(t, d, average="macro", sample_weight=w),
    "mcc": lambda t, d, w: reference.matthews_corrcoef(t, d, sample_weight=w),
}


def _by_scikit_learn(name: str, scored: Scored, weights: Floats) -> float:
    labels, probabilities, positive = scored.labels, scored.probabilities, scored.positive
    called = probabilities.argmax(axis=1) if positive is None else _more_likely(probabilities, positive)
    if name == "ece":
        return _calibration_error(probabilities.max(axis=1), called == labels, weights)
    if name in _OF_ALL_CLASSES:
        return float(_OF_ALL_CLASSES[name](labels, called, weights))
    classes = range(probabilities.shape[1]) if positive is None else [positive]
    one = _AGAINST_REST[name]
    by_class = [one(labels == index, called == index, probabilities[:, index], weights) for index in classes]
    return float(np.sum(by_class) if name == "brier" else np.mean(by_class))


def _more_likely(probabilities: Floats, positive: int) -> Integers:
    return np.where(probabilities[:, positive] > 0.5, positive, 1 - positive)


def _calibration_error(confidence: Floats, correct: np.ndarray, weights: Floats) -> float:
    table = pd.DataFrame({"w": weights, "wa": weights * correct, "wc": weights * confidence})
    bins = pd.Series(pd.cut(confidence, (np.arange(16) / 15).tolist()))
    sums = table.groupby(bins, observed=True).sum()
    return float((sums["wa"] - sums["wc"]).abs().sum() / weights.sum())


def test_two_classes_by_hand() -> None:
    # TP 3, FN 1, FP 2, TN 4.
    scored = _from_confusion([[4, 2], [1, 3]], positive=1)
    expected = {
        "accuracy": 7 / 10,
        "sensitivity": 3 / 4,
        "specificity": 4 / 6,
        "balanced_accuracy": (3 / 4 + 4 / 6) / 2,
        "ppv": 3 / 5,
        "npv": 4 / 5,
        "f1": 6 / 9,  # 2 * 3 / (2 * 3 + 2 + 1)
        "macro_f1": (6 / 9 + 8 / 11) / 2,  # of the negative class: 2 * 4 / (2 * 4 + 1 + 2)
        "mcc": (3 * 4 - 2 * 1) / np.sqrt(5 * 4 * 6 * 5),
        "brier": (7 * 0.2**2 + 3 * 0.8**2) / 10,
        "ece": 0.8 - 0.7,  # one bin
    }
    assert {name: _measure(name, scored) for name in expected} == pytest.approx(expected)


def test_the_other_class_as_the_positive_one_swaps_sensitivity_with_specificity_and_ppv_with_npv() -> None:
    of_one, of_zero = (_from_confusion([[4, 2], [1, 3]], positive) for positive in (1, 0))
    for name, other in {"sensitivity": "specificity", "ppv": "npv"}.items():
        assert _measure(name, of_one) == _measure(other, of_zero)
        assert _measure(other, of_one) == _measure(name, of_zero)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "brier", "ece"):
        assert _measure(name, of_one) == pytest.approx(_measure(name, of_zero))


def test_more_classes_by_hand_are_means_of_each_against_the_rest() -> None:
    scored = _from_confusion([[2, 1, 0], [0, 3, 1], [1, 0, 2]])
    expected = {
        "accuracy": 7 / 10,
        "sensitivity": (2 / 3 + 3 / 4 + 2 / 3) / 3,
        "specificity": (6 / 7 + 5 / 6 + 6 / 7) / 3,
        "ppv": (2 / 3 + 3 / 4 + 2 / 3) / 3,
        "npv": (6 / 7 + 5 / 6 + 6 / 7) / 3,
        "f1": (4 / 6 + 6 / 8 + 4 / 6) / 3,
        # correct 7, total 10, true and predicted both (3, 4, 3): (70 - 34) / (100 - 34)
        "mcc": 36 / 66,
        # right: 0.2^2 + 2 * 0.1^2; wrong: 0.8^2 + 0.9^2 + 0.1^2
        "brier": (7 * 0.06 + 3 * 1.46) / 10,
    }
    assert {name: _measure(name, scored) for name in expected} == pytest.approx(expected)
    assert _measure("balanced_accuracy", scored) == pytest.approx(expected["sensitivity"])
    assert _measure("macro_f1", scored) == pytest.approx(expected["f1"])


def test_ranking_by_hand_counts_ties_one_half_and_lets_equal_scores_enter_together() -> None:
    # Diseased 0.9, 0.6, 0.4; healthy 0.6, 0.4, 0.1.
    scored = _binary([1, 1, 1, 0, 0, 0], [0.9, 0.6, 0.4, 0.6, 0.4, 0.1])
    # Pairs won: 3 of 3, 2.5 of 3, 1.5 of 3.
    assert _measure("auroc", scored) == pytest.approx(7 / 9)
    # Precision at 0.9: 1 of 1; at 0.6: 2 of 3; at 0.4: 3 of 5.
    assert _measure("auprc", scored) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_equal_scores_for_all_rank_as_chance() -> None:
    scored = _binary([1, 0, 0, 0], [0.3] * 4)
    assert _measure("auroc", scored) == 0.5
    assert _measure("auprc", scored) == 0.25


def test_the_calibration_bins_hold_their_upper_edge() -> None:
    # 0.55 and 0.6 = 9 / 15 are both in (8 / 15, 9 / 15]; gaps 0 - 0.55 and 1 - 0.6 cancel but for 0.15.
    assert _measure("ece", _binary([0, 1], [0.55, 0.6])) == pytest.approx(0.15 / 2)
    # 0.62 is in the next bin, so nothing cancels.
    assert _measure("ece", _binary([0, 1], [0.55, 0.62])) == pytest.approx((0.55 + 0.38) / 2)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("name", METRICS)
def test_agrees_with_scikit_learn_with_and_without_weights(name: str, num_classes: int) -> None:
    for seed in range(4):
        scored = _random(num_classes, seed)
        counts = np.random.default_rng(seed).multinomial(150, np.full(150, 1 / 150), size=3)
        weights = np.vstack([np.ones(150), counts, np.random.default_rng(seed).random(150)])
        expected = [_by_scikit_learn(name, scored, row) for row in weights]
        assert METRICS[name](scored, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("name", METRICS)
def test_a_count_is_the_same_as_so_many_copies_of_the_unit(name: str, num_classes: int) -> None:
    scored = _random(num_classes, seed=9)
    counts = np.random.default_rng(1).integers(0, 4, size=150)
    repeated = Scored(scored.labels.repeat(counts), scored.probabilities.repeat(counts, axis=0), scored.positive)
    assert _measure(name, scored, counts) == pytest.approx(_measure(name, repeated), abs=1e-12)


def test_auroc_is_the_mann_whitney_statistic() -> None:
    scored = _random(2, seed=5)
    scores, is_positive = scored.probabilities[:, 1], scored.labels == 1
    statistic = mannwhitneyu(scores[is_positive], scores[~is_positive]).statistic
    assert scored.positive == 1
    assert _measure("auroc", scored) == pytest.approx(statistic / is_positive.sum() / (~is_positive).sum())


def test_mcc_of_two_classes_is_the_correlation_of_truth_and_decision() -> None:
    scored = _random(2, seed=3)
    assert _measure("mcc", scored) == pytest.approx(np.corrcoef(scored.labels, scored.predicted)[0, 1])


@pytest.mark.parametrize("name", METRICS)
def test_the_order_of_units_has_no_effect(name: str) -> None:
    scored = _random(3, seed=2)
    order = np.random.default_rng(0).permutation(150)
    shuffled = Scored(scored.labels[order], scored.probabilities[order])
    assert _measure(name, shuffled) == pytest.approx(_measure(name, scored), abs=1e-12)


def test_without_positive_predictions_the_ppv_does_not_exist_and_f1_is_zero() -> None:
    scored = _binary([1, 0, 0], [0.4, 0.3, 0.2])
    assert np.isnan([_measure("ppv", scored), _measure("mcc", scored)]).all()
    assert [_measure(name, scored) for name in ("sensitivity", "specificity", "f1")] == [0, 1, 0]
    assert _measure("npv", scored) == pytest.approx(2 / 3)


def test_rounding_of_fractional_weights_makes_up_no_correlation() -> None:
    always_the_second = _from_confusion([[0, 20, 0], [0, 20, 0], [0, 20, 0]])
    weights = np.random.default_rng(0).random((200, 60))
    assert np.isnan(METRICS["mcc"](always_the_second, weights)).all()


def test_without_diseased_units_what_needs_them_does_not_exist() -> None:
    scored = _binary([0, 0, 0], [0.7, 0.3, 0.2])
    missing = ("sensitivity", "balanced_accuracy", "mcc", "auroc", "auprc")
    assert np.isnan([_measure(name, scored) for name in missing]).all()
    assert _measure("specificity", scored) == pytest.approx(2 / 3)
    assert _measure("ppv", scored) == 0


def test_without_healthy_units_specificity_and_auroc_do_not_exist_but_auprc_is_one() -> None:
    scored = _binary([1, 1], [0.7, 0.3])
    assert np.isnan([_measure(name, scored) for name in ("specificity", "balanced_accuracy", "auroc")]).all()
    assert _measure("auprc", scored) == 1


def test_one_missing_class_of_three_leaves_macro_means_without_a_value() -> None:
    scored = _from_confusion([[2, 1, 0], [0, 3, 0], [0, 0, 0]])
    for name in ("balanced_accuracy", "sensitivity", "ppv", "f1", "macro_f1", "auroc", "auprc"):
        assert np.isnan(_measure(name, scored)), name
    assert _measure("accuracy", scored) == pytest.approx(5 / 6)
    assert np.isfinite([_measure(name, scored) for name in ("specificity", "npv", "mcc", "brier", "ece")]).all()


def test_a_weight_of_zero_removes_a_class_like_its_absence() -> None:
    scored = _binary([1, 1, 0], [0.9, 0.2, 0.6])
    weights = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    assert np.isnan(METRICS["auroc"](scored, weights)).tolist() == [True, True, False]
    assert np.isnan(METRICS["sensitivity"](scored, weights)).tolist() == [False, True, False]


@pytest.mark.parametrize("name", METRICS)
def test_no_units_at_all_have_no_value(name: str) -> None:
    assert np.isnan(_measure(name, _random(3, seed=0), np.zeros(150)))


def test_a_tie_goes_to_the_negative_class_of_two_and_to_the_first_of_more() -> None:
    halves = np.array([[0.5, 0.5]])
    assert decide(halves, positive=1).tolist() == [0]
    assert decide(halves, positive=0).tolist() == [1]
    assert decide(np.array([[0.2, 0.4, 0.4]]), None).tolist() == [1]


def test_scores_that_do_not_fit_are_refused() -> None:
    two = np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match="positive"):
        Scored(np.zeros(3, dtype=np.int64), two)
    with pytest.raises(ValueError, match="positive"):
        Scored(np.zeros(3, dtype=np.int64), two, positive=2)
    with pytest.raises(ValueError, match="do not fit"):
        Scored(np.zeros(2, dtype=np.int64), two, positive=1)
    with pytest.raises(ValueError, match="do not fit"):
        Scored(np.zeros(3, dtype=np.int64), np.ones((3, 1)), positive=1)


@pytest.mark.parametrize("num_classes", [3, 4])
def test_hand_till_auroc_and_kappa_are_those_of_scikit_learn_and_of_repeated_units(num_classes: int) -> None:
    generator = np.random.default_rng(num_classes)
    labels = np.arange(60) % num_classes
    # Few different values, so that there are ties.
    probabilities = generator.multinomial(20, np.full(num_classes, 1 / num_classes), 60) / 20
    scored, times = Scored(labels, probabilities), generator.integers(0, 4, size=60)
    for counts in (np.ones(60, dtype=np.int64), times):
        rows = np.repeat(np.arange(60), counts)
        kappa = reference.cohen_kappa_score(labels[rows], scored.predicted[rows], weights="quadratic")
        assert METRICS_OF_SEVERAL_CLASSES["quadratic_weighted_kappa"](scored, counts[None])[0] == pytest.approx(kappa)
        expected = hand_till_auroc(labels[rows], probabilities[rows])
        assert METRICS_OF_SEVERAL_CLASSES["auroc_hand_till"](scored, counts[None])[0] == pytest.approx(expected)


def test_macro_averages_are_over_the_chosen_classes_and_units_of_all_classes_stay() -> None:
    labels, probabilities = np.arange(60) % 3, np.random.default_rng(0).dirichlet(np.ones(3), 60)
    chosen, ones = Scored(labels, probabilities, macro_classes=(0, 2)), np.ones((1, 60))
    recalls = reference.recall_score(labels, chosen.predicted, average=None)
    for name in ("sensitivity", "balanced_accuracy"):
        assert METRICS[name](chosen, ones)[0] == pytest.approx(recalls[[0, 2]].mean())
    f1s = reference.f1_score(labels, chosen.predicted, average=None)
    assert METRICS["macro_f1"](chosen, ones)[0] == pytest.approx(f1s[[0, 2]].mean())
    aurocs = [reference.roc_auc_score(labels == index, probabilities[:, index]) for index in (0, 2)]
    assert METRICS["auroc"](chosen, ones)[0] == pytest.approx(np.mean(aurocs))
    pair = labels != 1
    hand_till = [reference.roc_auc_score(labels[pair] == index, probabilities[pair, index]) for index in (0, 2)]
    assert METRICS_OF_SEVERAL_CLASSES["auroc_hand_till"](chosen, ones)[0] == pytest.approx(np.mean(hand_till))
    for name in ("accuracy", "mcc", "brier", "ece"):
        assert METRICS[name](chosen, ones) == METRICS[name](Scored(labels, probabilities), ones)
