from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from tlmed.evaluation.decisions.recalibration import fit_isotonic, fit_platt, fit_platt_intercept, fit_platt_locally


def _distorted(seed: int, num_units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the probabilities that they were drawn from, and what an overconfident classifier makes of those."""
    generator = np.random.default_rng(seed)
    truth = generator.beta(3, 3, num_units)
    return generator.random(num_units) < truth, truth, expit(2.5 * logit(truth) + 0.7)


def test_platt_by_hand() -> None:
    # Seen 1 of 4 where 0.1 was claimed, 3 of 4 where 0.9 was: log 3 instead of log 9.
    is_positive = [1, 0, 0, 0, 1, 1, 1, 0]
    platt = fit_platt(is_positive, [0.1] * 4 + [0.9] * 4)
    assert (platt.slope, platt.intercept) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-10))
    assert (platt.prevalence, platt.num_units, platt.intercept_only) == (0.5, 8, False)
    assert platt.apply([0.1, 0.5, 0.9]) == pytest.approx([0.25, 0.5, 0.75])


def test_platt_is_logistic_regression_on_the_log_odds() -> None:
    is_positive, _, claimed = _distorted(0, 300)
    platt = fit_platt(is_positive, claimed)
    solver = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(logit(claimed)[:, None], is_positive)
    assert platt.slope == pytest.approx(solver.coef_[0, 0], abs=1e-10)
    assert platt.intercept == pytest.approx(solver.intercept_[0], abs=1e-10)
    assert platt.apply(claimed) == pytest.approx(solver.predict_proba(logit(claimed)[:, None])[:, 1], abs=1e-10)


def test_platt_takes_a_distortion_back_and_keeps_the_order() -> None:
    is_positive, truth, claimed = _distorted(1, 20_000)
    mended = fit_platt(is_positive, claimed).apply(claimed)
    assert np.abs(mended - truth).max() < 0.02
    assert mended.mean() == pytest.approx(is_positive.mean())
    assert (np.argsort(mended) == np.argsort(claimed)).all()


def test_the_intercept_alone_keeps_the_slope_and_mends_the_mean() -> None:
    is_positive, _, claimed = _distorted(2, 150)
    platt = fit_platt_intercept(is_positive, claimed)
    assert (platt.slope, platt.intercept_only) == (1.0, True)
    mended = platt.apply(claimed)
    assert mended.mean() == pytest.approx(is_positive.mean())
    assert logit(mended) - logit(claimed) == pytest.approx(np.full(150, platt.intercept))


def test_local_data_bear_a_slope_from_100_units_in_the_rarer_class() -> None:
    _, _, claimed = _distorted(3, 300)
    order = np.argsort(claimed + np.random.default_rng(0).normal(0, 0.5, 300))
    for num_positives, intercept_only in ((99, True), (100, False), (200, False), (201, True)):
        is_positive = np.zeros(300, dtype=bool)
        is_positive[order[-num_positives:]] = True
        platt = fit_platt_locally(is_positive, claimed)
        assert platt == (fit_platt_intercept if intercept_only else fit_platt)(is_positive, claimed)
        assert platt.intercept_only is intercept_only


def test_certain_probabilities_are_mended_to_finite_log_odds() -> None:
    platt = fit_platt([0, 1, 0, 1, 0, 1], [0.0, 0.0, 0.4, 0.6, 1.0, 1.0])
    assert 0 < platt.slope < 1
    assert np.isfinite(logit(platt.apply([0.0, 1.0]))).all()


def test_no_map_is_made_up() -> None:
    with pytest.raises(ValueError, match="separate the classes perfectly or not at all"):
        fit_platt([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert np.isfinite(fit_platt_intercept([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]).intercept)
    with pytest.raises(ValueError, match="turn their order around"):
        fit_platt([1, 0, 1, 0], [0.1, 0.2, 0.3, 0.9])
    for fit in (fit_platt, fit_platt_intercept, fit_platt_locally):
        with pytest.raises(ValueError, match="all units are of one class"):
            fit([1, 1], [0.1, 0.2])
        with pytest.raises(ValueError, match="from 0 to 1"):
            fit([1, 0], [0.1, 1.2])


def test_isotonic_is_scikit_learns() -> None:
    is_positive, _, claimed = _distorted(4, 1200)
    claimed = claimed.round(3)
    isotonic = fit_isotonic(is_positive, claimed)
    expected = IsotonicRegression(out_of_bounds="clip").fit(claimed, is_positive)
    new = np.linspace(0, 1, 501)
    assert isotonic.apply(new) == pytest.approx(expected.predict(new), abs=1e-10)
    assert isotonic.prevalence == is_positive.mean()
    assert len(isotonic.shares) < len(np.unique(claimed)) / 2


def test_isotonic_needs_1000_units() -> None:
    is_positive, _, claimed = _distorted(5, 1000)
    assert fit_isotonic(is_positive, claimed).num_units == 1000
    with pytest.raises(ValueError, match="needs at least 1,000 units, and here are 999"):
        fit_isotonic(is_positive[1:], claimed[1:])
    constant = fit_isotonic(np.arange(1000) < 250, np.full(1000, 0.5))
    assert constant.apply([0.1, 0.9]) == pytest.approx([0.25, 0.25])
