"""Where statsmodels has the same figure, both agree to 1e-10."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.discrete.discrete_model import Logit
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tlmed.evaluation.calibration import calibration_intercept, calibration_slope
from tlmed.evaluation.statistics.agreement import quadratic_weighted_kappa
from tlmed.evaluation.statistics.multiplicity import holm
from tlmed.evaluation.statistics.one_class import score_one_class
from tlmed.evaluation.statistics.proportions import wilson_interval
from tlmed.evaluation.tests import mcnemar


@pytest.mark.parametrize(("count", "number"), [(0, 7), (3, 11), (50, 50), (180, 203)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson(count: int, number: int, level: float) -> None:
    ours = wilson_interval(count, number, level=level)
    assert (ours.low, ours.high) == pytest.approx(
        proportion_confint(count, number, alpha=1 - level, method="wilson"), abs=1e-10
    )


def test_holm() -> None:
    p_values = np.random.default_rng(0).random(12) ** 3
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-10)


def test_exact_mcnemar() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random(60) < 0.8, generator.random(60) < 0.6
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    expected = mcnemar_of_statsmodels(table, exact=True).pvalue
    assert mcnemar(first, second).exact_p == pytest.approx(expected, abs=1e-10)


def test_quadratic_weighted_kappa() -> None:
    generator = np.random.default_rng(2)
    true, called = generator.integers(0, 4, 80), generator.integers(0, 4, 80)
    table = np.zeros((4, 4))
    np.add.at(table, (true, called), 1)
    expected = cohens_kappa(table, wt="quadratic").kappa
    assert quadratic_weighted_kappa(true, called, 4) == pytest.approx(expected, abs=1e-10)


def test_calibration_slope_and_intercept() -> None:
    generator = np.random.default_rng(3)
    probabilities = generator.uniform(0.05, 0.95, 200)
    is_positive = generator.random(200) < 0.2 + 0.5 * probabilities
    log_odds = np.log(probabilities / (1 - probabilities))
    design = np.stack([np.ones(200), log_odds], axis=1)
    intercept, slope = Logit(is_positive.astype(float), design).fit(disp=0, tol=1e-12, maxiter=100).params
    scored, once = score_one_class(is_positive, probabilities), np.ones((1, 200))
    assert calibration_slope(scored, once)[0] == pytest.approx(slope, abs=1e-10)
    assert calibration_intercept(scored, once)[0] == pytest.approx(intercept, abs=1e-10)
