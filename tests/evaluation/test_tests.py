from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, norm, t, ttest_rel
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from tests.evaluation.haemorrhage import IS_POOR, S100B, WFNS
from tlmed.evaluation.metrics import Integers
from tlmed.evaluation.statistics.auroc import auroc, auroc_covariance
from tlmed.evaluation.tests import (
    clustered_mcnemar,
    compare_aurocs,
    corrected_half_width,
    corrected_resampled_t_test,
    mcnemar,
    splits_vary,
)


def _decisions(both: int, only_first: int, only_second: int, neither: int) -> tuple[Integers, Integers]:
    counts = [both, only_first, only_second, neither]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


def test_mcnemar_of_the_children_with_hyper_responsive_airways() -> None:
    """Fagerland et al. 2013, table 1 (Bentur et al.): 1, 1, 7 and 12 pairs; by their formulas 18/256 and 10/256."""
    test = mcnemar(*_decisions(1, 1, 7, 12))
    assert (test.only_first, test.only_second) == (1, 7)
    assert test.exact_p == pytest.approx(18 / 256, abs=1e-12)
    assert test.mid_p == pytest.approx(10 / 256, abs=1e-12)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 1), (3, 3), (2, 9), (40, 25)])
def test_mcnemar_is_a_throw_of_coins(only_first: int, only_second: int) -> None:
    test = mcnemar(*_decisions(5, only_first, only_second, 4))
    num_thrown = only_first + only_second
    assert test.exact_p == pytest.approx(binomtest(only_first, num_thrown).pvalue, abs=1e-12)
    # The mid-p by its definition: more extreme outcomes in full, the observed one half, then doubled; but for ties.
    chances = [math.comb(num_thrown, heads) / 2**num_thrown for heads in range(num_thrown + 1)]
    smaller = min(only_first, only_second)
    doubled = 2 * (sum(chances[:smaller]) + chances[smaller] / 2)
    assert test.mid_p == pytest.approx(doubled if only_first != only_second else 1 - chances[smaller] / 2, abs=1e-12)


def test_mcnemar_without_disagreement_shows_nothing() -> None:
    test = mcnemar(*_decisions(5, 0, 0, 4))
    assert (test.exact_p, test.mid_p) == (1.0, 1.0)


def test_mcnemar_takes_one_unit_a_group() -> None:
    first, second = _decisions(1, 1, 1, 1)
    assert mcnemar(first, second, ["a", "b", "c", "d"]) == mcnemar(first, second)
    with pytest.raises(ValueError, match="use the clustered McNemar test"):
        mcnemar(first, second, ["a", "a", "b", "c"])


def test_clustered_mcnemar_is_obuchowskis_by_proportions() -> None:
    """From the two proportions, their variances and covariance under a common one, as Obuchowski writes it."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), generator.integers(1, 7, size=20))
    first = generator.random(len(groups)) < 0.8
    second = np.where(generator.random(len(groups)) < 0.7, first, generator.random(len(groups)) < 0.5)
    test = clustered_mcnemar(first, second, groups)
    n, k = len(groups), 20
    pooled = (first.mean() + second.mean()) / 2
    x, y, m = (np.bincount(groups, weights=values) for values in (first, second, np.ones(n)))
    scale = k / ((k - 1) * n**2)
    variance = scale * (
        ((x - m * pooled) ** 2).sum() + ((y - m * pooled) ** 2).sum() - 2 * ((x - m * pooled) * (y - m * pooled)).sum()
    )
    assert test.difference == pytest.approx(first.mean() - second.mean())
    assert test.statistic == pytest.approx((first.mean() - second.mean()) ** 2 / variance, rel=1e-10)
    assert test.p_value == pytest.approx(chi2.sf(test.statistic, 1))
    assert test.low is not None
    assert test.high is not None
    assert test.low < test.difference < test.high


def test_clustered_mcnemar_of_single_units_is_mcnemars() -> None:
    test = clustered_mcnemar(*_decisions(30, 12, 5, 3), range(50))
    assert test.statistic == pytest.approx(49 / 50 * (12 - 5) ** 2 / (12 + 5))


def test_copies_of_a_unit_in_its_group_are_no_new_evidence() -> None:
    first, second = _decisions(30, 12, 5, 3)
    once = clustered_mcnemar(first, second, range(50))
    copied = clustered_mcnemar(np.repeat(first, 4), np.repeat(second, 4), np.repeat(range(50), 4))
    assert copied.statistic == pytest.approx(once.statistic)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_clustered_mcnemar_names_wrong_input() -> None:
    with pytest.raises(ValueError, match="nothing to test"):
        clustered_mcnemar([1, 0, 1], [1, 0, 1], [0, 0, 1])
    with pytest.raises(ValueError, match="two groups or more"):
        clustered_mcnemar([1, 0], [0, 0], ["a", "a"])
    with pytest.raises(ValueError, match="second_correct has 1 values for 2 units"):
        clustered_mcnemar([1, 0], [0], ["a", "b"])


def test_delong_as_published_by_proc() -> None:
    """The values in pROC's own tests (tests/testthat/test-roc.test.R)."""
    test = compare_aurocs(IS_POOR, WFNS, S100B)
    assert test.statistic == pytest.approx(2.20898359144091, rel=1e-12)
    assert test.p_value == pytest.approx(0.0271757822291882, rel=1e-12)
    assert (test.low, test.high) == pytest.approx((0.0104061769564846, 0.174214419249478), rel=1e-12)
    assert test.method == "DeLong test"


def test_clustered_comparison_rests_on_the_clustered_covariance() -> None:
    groups = np.arange(len(IS_POOR)) // 3
    test = compare_aurocs(IS_POOR, WFNS, S100B, groups)
    covariance = auroc_covariance(IS_POOR, np.stack([WFNS, S100B]), groups).covariance
    error = math.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]))
    assert test.difference == pytest.approx(auroc(IS_POOR, WFNS) - auroc(IS_POOR, S100B))
    assert test.statistic == pytest.approx(test.difference / error)
    assert test.p_value == pytest.approx(2 * norm.sf(test.difference / error))
    assert test.method == "clustered DeLong test (Obuchowski 1997)"


def test_the_same_scores_do_not_differ() -> None:
    test = compare_aurocs(IS_POOR, WFNS, WFNS)
    assert (test.difference, test.p_value, test.low, test.high) == (0.0, 1.0, None, None)


def test_a_difference_without_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="use the permutation test"):
        compare_aurocs([0, 0, 1, 1], [1, 2, 3, 4], [1, 1, 1, 1])


def test_scores_of_several_folds_are_no_one_models() -> None:
    folds = np.arange(len(IS_POOR)) % 5
    with pytest.raises(ValueError, match="Compute AUROC within each fold and average"):
        compare_aurocs(IS_POOR, WFNS, S100B, folds=folds)
    assert compare_aurocs(IS_POOR, WFNS, S100B, folds=np.zeros(len(IS_POOR))) == compare_aurocs(IS_POOR, WFNS, S100B)


def test_the_corrected_t_test_is_scikit_learns_example() -> None:
    """Statistical comparison of models using grid search: t 0.750, one-sided p 0.227, 95 % -0.016445 to 0.036445."""
    features, labels = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    radial, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), features, labels, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    )
    test = corrected_resampled_t_test(radial - linear, num_train=90, num_test=10)
    assert round(test.statistic, 3) == 0.750
    assert round(test.p_value / 2, 3) == 0.227
    assert test.low is not None
    assert test.high is not None
    assert (round(test.low, 6), round(test.high, 6)) == (-0.016445, 0.036445)
    assert test.degrees_of_freedom == 99
    assert "approximate" in test.method


def test_the_corrected_t_test_shrinks_the_paired_one() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 15))
    plain = ttest_rel(first, second)
    test = corrected_resampled_t_test(first - second, num_train=80, num_test=20)
    assert test.statistic == pytest.approx(plain.statistic / math.sqrt(1 + 15 * 20 / 80))


@pytest.mark.parametrize(
    ("differences", "num_train", "sentence"),
    [
        ([0.1], 80, "two or more"),
        ([0.1, 0.1, 0.1], 80, "give the same"),
        ([0.1, 0.2], 0, "units to train"),
        ([0.1, float("nan")], 80, "missing"),
    ],
)
def test_the_corrected_t_test_names_wrong_input(differences: list[float], num_train: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        corrected_resampled_t_test(differences, num_train=num_train, num_test=20)


def test_the_half_width_of_one_arm_is_that_of_the_corrected_t_test() -> None:
    figures = [0.81, 0.77, 0.9, 0.85, 0.8]
    test = corrected_resampled_t_test(figures, num_train=80, num_test=20)
    assert test.low is not None
    half_width = corrected_half_width(figures, num_train=80, num_test=20)
    assert half_width == pytest.approx(test.difference - test.low)
    assert half_width == pytest.approx(t.ppf(0.975, 4) * math.sqrt((1 / 5 + 0.25) * np.var(figures, ddof=1)))
    with pytest.raises(ValueError, match="give the figures of two or more"):
        corrected_half_width([0.8], num_train=80, num_test=20)


def test_equal_figures_of_splits_do_not_vary_though_they_round() -> None:
    assert not splits_vary(np.array([0.1 + 0.2, 0.3, 0.3]))
    assert splits_vary(np.array([0.3, 0.3, 0.301]))
