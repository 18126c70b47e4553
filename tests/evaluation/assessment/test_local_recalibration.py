from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from tlmed.errors import InputError
from tlmed.evaluation.assessment.local_recalibration import recalibrate_locally, two_classes


def _units(num_groups: int = 200, shift: float = 2.0, images: int = 2) -> pd.DataFrame:
    """Scores that are right but for log-odds that are `shift` too high; half of the groups are positive."""
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(num_groups), images)
    positive = group % 2 == 0
    # Normal log-likelihood ratios with mean and half the variance equal: calibrated at a prevalence of a half.
    score = expit(generator.normal(np.where(positive, 1.0, -1.0), np.sqrt(2.0)) + shift)
    names = [f"u{index}" for index in range(len(group))]
    return pd.DataFrame({"unit": names, "group": [f"g{g}" for g in group], "seed": "0", "fold": -1}).assign(
        is_positive=positive, score=score
    )


def test_what_was_too_high_is_right_afterwards_on_the_other_half() -> None:
    found = recalibrate_locally(_units(), unit="image", groups_known=True, sampling="consecutive")
    assert found["map"]["slope"] == pytest.approx(1.0, abs=0.25)
    assert found["map"]["intercept"] == pytest.approx(-2.0, abs=0.5)
    assert found["before"]["calibration_in_the_large"]["value"] == pytest.approx(-2.0, abs=0.4)
    assert found["after"]["calibration_in_the_large"]["value"] == pytest.approx(0.0, abs=0.4)
    assert found["after"]["brier"]["value"] < found["before"]["brier"]["value"]
    assert found["fitted_on"] == found["reported_on"] == {"num_units": 200, "num_positives": 100, "num_groups": 100}


def test_the_reported_half_does_not_enter_the_fit() -> None:
    units = _units()
    before = recalibrate_locally(units, unit="image", groups_known=True, sampling="unknown")
    in_fit = {
        name: recalibrate_locally(
            units.assign(score=np.where(units["group"] == name, 0.5, units["score"])),
            unit="image",
            groups_known=True,
            sampling="unknown",
        )["map"]["intercept"]
        != before["map"]["intercept"]
        for name in ("g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7")
    }
    # A group changes either the map or the report, whole.
    assert 0 < sum(in_fit.values()) < len(in_fit)


def test_below_a_hundred_of_the_rarer_class_the_intercept_alone_is_fitted() -> None:
    found = recalibrate_locally(_units(num_groups=80), unit="image", groups_known=True, sampling="unknown")
    assert found["map"]["intercept_only"]
    assert found["map"]["slope"] == 1.0
    assert "the intercept alone (fewer than 100 of the rarer class)" in found["note"]


def test_too_few_groups_are_refused_with_how_many_are_needed() -> None:
    with pytest.raises(InputError, match=r"at least 20 groups with positive and 20 with negative units.*are 19 and 19"):
        recalibrate_locally(_units(num_groups=38), unit="image", groups_known=True, sampling="unknown")


def test_several_models_have_no_one_map() -> None:
    both = pd.concat([_units(), _units().assign(seed="1")])
    with pytest.raises(InputError, match="several seeds or folds, and a map belongs to one model"):
        recalibrate_locally(both, unit="image", groups_known=True, sampling="unknown")


def test_a_backward_score_is_refused() -> None:
    units = _units().assign(score=lambda table: 1 - table["score"])
    with pytest.raises(InputError, match="--recalibrate: negative units score higher"):
        recalibrate_locally(units, unit="image", groups_known=True, sampling="unknown")


def test_the_map_is_applied_as_it_says() -> None:
    units = _units()
    scaling = recalibrate_locally(units, unit="image", groups_known=True, sampling="unknown")["map"]
    assert scaling["apply"].startswith("log-odds of the positive class -> slope * log-odds + intercept")
    assert expit(scaling["slope"] * logit(0.9) + scaling["intercept"]) < 0.9


def test_a_table_of_two_classes_has_their_probabilities() -> None:
    table = two_classes(_units(num_groups=2, images=1), np.array([0.7, 0.2]))
    assert table["label"].tolist() == ["positive", "negative"]
    assert table["p_positive"].tolist() == [0.7, 0.2]
    assert table["p_negative"].tolist() == pytest.approx([0.3, 0.8])
