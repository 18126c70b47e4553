from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from tlmed.evaluation.decisions.multiclass_recalibration import fit_temperature, fit_temperature_locally
from tlmed.evaluation.decisions.recalibration import fit_platt, fit_platt_intercept


def _distorted(seed: int, num_units: int, num_classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the probabilities that they were drawn from, and what an overconfident classifier makes of those."""
    generator = np.random.default_rng(seed)
    truth = generator.dirichlet(np.full(num_classes, 0.8), num_units)
    labels = (generator.random((num_units, 1)) > truth.cumsum(axis=1)).sum(axis=1).clip(max=num_classes - 1)
    return labels, truth, softmax(2.0 * np.log(truth) + np.linspace(-0.5, 0.8, num_classes), axis=1)


def test_with_two_classes_it_is_platts() -> None:
    labels, _, claimed = _distorted(0, 150, num_classes=2)
    both, platt = fit_temperature(labels, claimed), fit_platt(labels, claimed[:, 1])
    assert 1 / both.temperature == pytest.approx(platt.slope, abs=1e-9)
    assert both.intercepts[1] - both.intercepts[0] == pytest.approx(platt.intercept, abs=1e-9)
    assert both.apply(claimed)[:, 1] == pytest.approx(platt.apply(claimed[:, 1]), abs=1e-6)
    few = slice(None, 60)
    local, platt = fit_temperature_locally(labels[few], claimed[few]), fit_platt_intercept(labels[few], claimed[few, 1])
    assert local.temperature == 1.0
    assert local.intercepts[1] - local.intercepts[0] == pytest.approx(platt.intercept, abs=1e-6)


def test_it_is_the_maximum_of_the_likelihood() -> None:
    labels, _, claimed = _distorted(1, 200)

    def loss(parameters: np.ndarray) -> float:
        logits = parameters[0] * np.log(claimed) + np.array([0.0, *parameters[1:]])
        return -float(log_softmax(logits, axis=1)[np.arange(200), labels].mean())

    expected = minimize(loss, np.array([1.0, 0.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    found = fit_temperature(labels, claimed)
    assert 1 / found.temperature == pytest.approx(expected.x[0], abs=1e-6)
    assert np.diff(found.intercepts) == pytest.approx(np.diff([0.0, *expected.x[1:]]), abs=1e-6)
    assert sum(found.intercepts) == pytest.approx(0.0)


def test_it_takes_a_distortion_back_and_makes_the_mean_probabilities_the_shares_of_the_classes() -> None:
    labels, truth, claimed = _distorted(2, 20_000)
    found = fit_temperature(labels, claimed)
    mended = found.apply(claimed)
    assert found.temperature == pytest.approx(2.0, abs=0.05)
    # Some of the truth is below the least probability that is told from 0.
    assert np.abs(mended - truth).max() < 0.03
    assert mended.mean(axis=0) == pytest.approx(np.array(found.class_shares), abs=1e-9)
    assert found.class_shares == pytest.approx(np.bincount(labels) / 20_000)


def test_local_data_bear_a_temperature_from_100_units_in_the_rarest_class() -> None:
    labels, _, claimed = _distorted(3, 1200)
    kept = np.concatenate([np.flatnonzero(labels == index)[:num] for index, num in enumerate((150, 99, 150))])
    few = fit_temperature_locally(labels[kept], claimed[kept])
    assert (few.temperature, few.intercepts_only) == (1.0, True)
    assert few.apply(claimed[kept]).mean(axis=0) == pytest.approx(np.array(few.class_shares))
    kept = np.concatenate([np.flatnonzero(labels == index)[:num] for index, num in enumerate((150, 100, 150))])
    assert fit_temperature_locally(labels[kept], claimed[kept]) == fit_temperature(labels[kept], claimed[kept])


def test_no_map_is_made_up() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    right = 0.1 + 0.7 * np.eye(3)[labels]
    with pytest.raises(ValueError, match="separate classes perfectly or not at all"):
        fit_temperature(labels, right)
    with pytest.raises(ValueError, match="separate classes perfectly or not at all"):
        fit_temperature(labels, np.tile([0.2, 0.3, 0.5], (6, 1)))
    # The first two classes cannot be told apart, the third stands apart from both: the steeper the better.
    apart = np.array([[0.4, 0.4, 0.2]] * 4 + [[0.1, 0.1, 0.8]] * 2)
    with pytest.raises(ValueError, match="separate classes perfectly or not at all"):
        fit_temperature(labels, apart)
    labels, _, claimed = _distorted(4, 300)
    with pytest.raises(ValueError, match="rank the classes backwards"):
        fit_temperature(labels, softmax(-np.log(claimed), axis=1))
    with pytest.raises(ValueError, match="no unit is of class 1"):
        fit_temperature([0, 2, 2], np.full((3, 3), 1 / 3))
    with pytest.raises(ValueError, match="must sum to 1"):
        fit_temperature([0, 1, 2], np.full((3, 3), 0.5))
    with pytest.raises(ValueError, match="2 values for 3 units"):
        fit_temperature(labels, claimed).apply([[0.5, 0.5]])
