from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm

from tlmed.evaluation.statistics.prevalence_shift import shift_to_class_shares, shift_to_prevalence


def test_by_hand() -> None:
    # At even odds 0.8 means a likelihood ratio of 4; at 1 to 9 it leaves 4 to 9.
    assert shift_to_prevalence([0.8], calibrated_to=0.5, prevalence=0.1) == pytest.approx([4 / 13])


def test_the_log_odds_move_by_a_constant_and_back() -> None:
    probabilities = np.linspace(0.01, 0.99, 50)
    shifted = shift_to_prevalence(probabilities, calibrated_to=0.3, prevalence=0.02)
    assert logit(shifted) - logit(probabilities) == pytest.approx(np.full(50, logit(0.02) - logit(0.3)))
    assert shift_to_prevalence(shifted, calibrated_to=0.02, prevalence=0.3) == pytest.approx(probabilities)
    assert shift_to_prevalence([0.0, 1.0], calibrated_to=0.3, prevalence=0.02).tolist() == [0.0, 1.0]


def test_it_is_bayes_theorem() -> None:
    x = np.linspace(-4, 4, 30)
    densities = np.stack([norm.pdf(x, mean) for mean in (-1, 0.5, 1)], axis=1)

    def posterior(shares: list[float]) -> np.ndarray:
        joint = densities * np.array(shares)
        return np.asarray(joint / joint.sum(axis=1, keepdims=True))

    here, there = [0.5, 0.3, 0.2], [0.05, 0.15, 0.8]
    assert shift_to_class_shares(posterior(here), calibrated_to=here, class_shares=there) == pytest.approx(
        posterior(there)
    )


def test_of_two_classes_both_are_the_same() -> None:
    of_one = np.array([0.1, 0.6, 0.9])
    both = shift_to_class_shares(
        np.stack([1 - of_one, of_one], axis=1), calibrated_to=[0.6, 0.4], class_shares=[0.9, 0.1]
    )
    assert both[:, 1] == pytest.approx(shift_to_prevalence(of_one, calibrated_to=0.4, prevalence=0.1))


def test_what_is_wrong_is_said() -> None:
    for wrong in (0.0, 1.0, 5.0):
        with pytest.raises(ValueError, match="the prevalence must be between 0 and 1"):
            shift_to_prevalence([0.5], calibrated_to=0.5, prevalence=wrong)
        with pytest.raises(ValueError, match="the prevalence calibrated to must be between 0 and 1"):
            shift_to_prevalence([0.5], calibrated_to=wrong, prevalence=0.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        shift_to_prevalence([1.5], calibrated_to=0.5, prevalence=0.5)
    even = np.full((2, 3), 1 / 3)
    for shares, sentence in (
        ([0.5, 0.5], "2 values for 3"),
        ([0.5, 0.5, 0.0], "each class share must be between"),
        ([0.5, 0.4, 0.3], r"must sum to 1, not 1\.2"),
    ):
        with pytest.raises(ValueError, match=sentence):
            shift_to_class_shares(even, calibrated_to=[0.2, 0.3, 0.5], class_shares=shares)
