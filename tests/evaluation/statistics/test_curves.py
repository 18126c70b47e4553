from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from tlmed.evaluation.metrics import Scored
from tlmed.evaluation.statistics.curves import GRID, precision_by_recall, sensitivity_by_false_alarms


def _scored(seed: int = 0, num_units: int = 90, digits: int = 1) -> Scored:
    generator = np.random.default_rng(seed)
    labels = (np.arange(num_units) % 3 == 0).astype(np.int64)
    score = np.round(generator.beta(2 + labels, 3 - labels), digits)
    return Scored(labels, np.stack([1 - score, score], axis=1), 1)


@pytest.mark.parametrize("digits", [1, 6])
def test_the_roc_curve_is_that_of_scikit_learn(digits: int) -> None:
    scored = _scored(digits=digits)
    alarms, found, _ = roc_curve(scored.labels, scored.probabilities[:, 1], drop_intermediate=False)
    expected = [found[alarms <= share + 1e-9].max() for share in GRID]
    assert sensitivity_by_false_alarms(scored, np.ones((1, 90)))[0] == pytest.approx(expected)


@pytest.mark.parametrize("digits", [1, 6])
def test_the_precision_recall_curve_is_that_of_scikit_learn(digits: int) -> None:
    scored = _scored(digits=digits)
    precision, recall, thresholds = precision_recall_curve(scored.labels, scored.probabilities[:, 1])
    found = precision_by_recall(scored, np.ones((1, 90)))[0]
    for share, value in list(zip(GRID, found, strict=True))[1:]:
        reached = np.flatnonzero(recall[:-1] >= share - 1e-9)
        assert value == pytest.approx(precision[reached[thresholds[reached].argmax()]])


def test_a_weight_is_as_many_units() -> None:
    scored = _scored(num_units=30)
    counts = np.random.default_rng(1).integers(0, 4, size=30)
    several = Scored(np.repeat(scored.labels, counts), np.repeat(scored.probabilities, counts, axis=0), 1)
    for curve in (sensitivity_by_false_alarms, precision_by_recall):
        weighted = curve(scored, np.stack([counts, np.ones(30)]).astype(float))
        assert weighted[0] == pytest.approx(curve(several, np.ones((1, counts.sum())))[0])
        assert weighted[1] == pytest.approx(curve(scored, np.ones((1, 30)))[0])


def test_by_hand() -> None:
    # In falling order: ill, well, ill, well.
    score = np.array([0.9, 0.8, 0.7, 0.6])
    scored = Scored(np.array([1, 0, 1, 0]), np.stack([1 - score, score], axis=1), 1)
    sensitivity = dict(zip(GRID.round(3), sensitivity_by_false_alarms(scored, np.ones((1, 4)))[0], strict=True))
    assert [sensitivity[share] for share in (0.0, 0.495, 0.5, 1.0)] == [0.5, 0.5, 1.0, 1.0]
    precision = dict(zip(GRID.round(3), precision_by_recall(scored, np.ones((1, 4)))[0], strict=True))
    assert [precision[share] for share in (0.0, 0.5, 0.505, 1.0)] == pytest.approx([1.0, 1.0, 2 / 3, 2 / 3])


def test_recall_0_is_the_first_threshold_that_finds_anything() -> None:
    score = np.array([0.9, 0.8])
    scored = Scored(np.array([0, 1]), np.stack([1 - score, score], axis=1), 1)
    assert precision_by_recall(scored, np.ones((1, 2)))[0] == pytest.approx(0.5)


def test_a_row_without_a_class_has_no_curve() -> None:
    scored = _scored(num_units=6)
    only_negatives = (scored.labels == 0).astype(float)[None]
    assert np.isnan(sensitivity_by_false_alarms(scored, only_negatives)).any()
    assert np.isnan(precision_by_recall(scored, only_negatives)).any()


def test_several_classes_have_no_one_curve() -> None:
    scored = Scored(np.array([0, 1, 2]), np.eye(3), None)
    with pytest.raises(ValueError, match="two classes"):
        sensitivity_by_false_alarms(scored, np.ones((1, 3)))
