from __future__ import annotations

import numpy as np
import pytest

from tlmed.evaluation.metrics import Scored
from tlmed.evaluation.statistics.decision_curve import decision_curve, net_benefit_at
from tlmed.evaluation.statistics.one_class import score_one_class
from tlmed.evaluation.statistics.prevalence import weights_at_prevalence

_TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=bool)
_CLAIMED = np.array([0.9, 0.6, 0.2, 0.7, 0.5, 0.2, 0.1, 0.1, 0.0, 0.0])


def test_by_hand() -> None:
    curve = decision_curve(_TRUTH, _CLAIMED, [0.2, 0.5, 0.8])
    # At 0.2: 3 found, 3 needless at 1/4 each. At 0.5: 2 found, 2 needless at 1 each. At 0.8: 1 found.
    assert curve.model == pytest.approx([(3 - 3 / 4) / 10, 0.0, 0.1])
    assert curve.treat_all == pytest.approx([(3 - 7 / 4) / 10, (3 - 7) / 10, (3 - 7 * 4) / 10])
    assert curve.treat_none.tolist() == [0.0, 0.0, 0.0]


def test_against_counting_one_threshold_at_a_time() -> None:
    generator = np.random.default_rng(0)
    is_positive, claimed = generator.random(80) < 0.3, generator.random(80).round(2)
    curve = decision_curve(is_positive, claimed)
    assert curve.thresholds == pytest.approx(np.arange(1, 100) / 100)
    for threshold, model, everyone in zip(curve.thresholds, curve.model, curve.treat_all, strict=True):
        odds = threshold / (1 - threshold)
        found = sum(1 for truth, p in zip(is_positive, claimed, strict=True) if truth and p >= threshold)
        needless = sum(1 for truth, p in zip(is_positive, claimed, strict=True) if not truth and p >= threshold)
        assert model == pytest.approx((found - needless * odds) / 80)
        assert everyone == pytest.approx(is_positive.mean() - (1 - is_positive.mean()) * odds)


def test_treating_all_is_worth_nothing_where_the_threshold_is_the_prevalence() -> None:
    assert decision_curve(_TRUTH, _CLAIMED, [0.3]).treat_all == pytest.approx([0.0])


def test_weights_bring_the_curve_to_a_prevalence() -> None:
    weights = weights_at_prevalence(score_one_class(_TRUTH, _CLAIMED), np.ones((1, 10)), 0.05)[0]
    curve = decision_curve(_TRUTH, _CLAIMED, [0.2, 0.5], weights)
    assert curve.treat_all == pytest.approx([0.05 - 0.95 / 4, 0.05 - 0.95])
    assert curve.model == pytest.approx([0.05 - 0.95 * 3 / 7 / 4, 0.05 * 2 / 3 - 0.95 * 2 / 7])


def test_the_metric_is_a_point_of_the_curve_for_each_weighting() -> None:
    scored = score_one_class(_TRUTH, _CLAIMED)
    weights = np.stack([np.ones(10), np.arange(10), np.zeros(10)])
    values = net_benefit_at(0.5)(scored, weights)
    assert values[0] == decision_curve(_TRUTH, _CLAIMED, [0.5]).model[0]
    assert values[1] == pytest.approx((0 + 1 - 3 - 4) / 45)
    assert np.isnan(values[2])


def test_what_is_wrong_is_said() -> None:
    for threshold in (0.0, 1.0):
        with pytest.raises(ValueError, match="each threshold must be between 0 and 1"):
            decision_curve(_TRUTH, _CLAIMED, [0.5, threshold])
        with pytest.raises(ValueError, match="the threshold must be between 0 and 1"):
            net_benefit_at(threshold)
    with pytest.raises(ValueError, match="from 0 to 1"):
        decision_curve(_TRUTH, _CLAIMED + 0.5)
    with pytest.raises(ValueError, match="all units are of one class"):
        decision_curve(np.ones(10), _CLAIMED)
    with pytest.raises(ValueError, match="weights has 2 values for 10 units"):
        decision_curve(_TRUTH, _CLAIMED, weights=[1, 1])
    for weights in (np.zeros(10), np.arange(10) - 1):
        with pytest.raises(ValueError, match="weights must not be negative, and some must be above 0"):
            decision_curve(_TRUTH, _CLAIMED, weights=weights)
    with pytest.raises(ValueError, match="net benefit is of one class"):
        net_benefit_at(0.5)(Scored(np.array([0, 1, 2]), np.full((3, 3), 1 / 3)), np.ones((1, 3)))
