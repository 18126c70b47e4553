from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import nct, norm, t

from tlmed.evaluation.statistics.auroc import auroc_covariance
from tlmed.evaluation.statistics.design import (
    CORRELATION_OF_ARMS,
    CORRELATION_OF_SEEDS,
    TRAINING_VARIANCE,
    auroc_variance,
    detectable_difference,
    detectable_difference_over_folds,
    too_few_groups,
)
from tlmed.evaluation.statistics.multi_reader import compare_readers
from tlmed.evaluation.tests import compare_aurocs, corrected_resampled_t_test

_AUROC = 0.8


def test_the_variance_is_that_of_hanley_and_mcneil_by_hand() -> None:
    # Q1 = 0.8 / 1.2, Q2 = 1.28 / 1.8, A^2 = 0.64, 30 positives, 50 negatives.
    expected = (0.16 + 29 * (2 / 3 - 0.64) + 49 * (1.28 / 1.8 - 0.64)) / 1500
    assert auroc_variance(0.8, 30, 50) == pytest.approx(expected, rel=1e-12)
    assert auroc_variance(0.5, 1, 1) == pytest.approx(0.25)


def test_with_one_seed_it_is_the_usual_formula_for_two_correlated_areas() -> None:
    error = math.sqrt(2 * (1 - 0.6) * auroc_variance(0.8, 40, 60))
    expected = (norm.ppf(0.975) + norm.ppf(0.9)) * error
    found = detectable_difference(40, 60, auroc=0.8, correlation=0.6, power=0.9)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("num_seeds", "correlation"), [(2, 0.82), (3, 0.82), (3, 0.95), (5, 0.5)])
def test_with_several_seeds_the_noncentral_t_has_the_power(num_seeds: int, correlation: float) -> None:
    difference = detectable_difference(50, 50, num_seeds=num_seeds, correlation=correlation)
    by_seed = 1 - CORRELATION_OF_SEEDS + TRAINING_VARIANCE
    error = by_seed + num_seeds * (CORRELATION_OF_SEEDS - correlation)
    freedom = (num_seeds - 1) * (error / by_seed) ** 2
    shift = difference / math.sqrt(2 * error / num_seeds * auroc_variance(0.8, 50, 50))
    power = nct.sf(t.ppf(0.975, freedom), freedom, shift)
    assert power == pytest.approx(0.8, abs=0.02)


def test_more_patients_and_more_alike_arms_show_smaller_differences() -> None:
    base = detectable_difference(40, 40)
    assert detectable_difference(80, 80) == pytest.approx(base / math.sqrt(2), rel=0.02)
    assert detectable_difference(40, 40, correlation=0.95) < base < detectable_difference(40, 40, correlation=0.3)
    many = detectable_difference(40, 40, num_seeds=50)
    assert many < detectable_difference(40, 40, num_seeds=3)
    # Seeds take away what training adds, not what patients add.
    of_patients = 2 * (CORRELATION_OF_SEEDS - CORRELATION_OF_ARMS) * auroc_variance(0.8, 40, 40)
    assert many == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) * math.sqrt(of_patients), rel=0.05)


def _scores(generator: np.random.Generator, is_positive: np.ndarray, aurocs: np.ndarray, shared: float) -> np.ndarray:
    """(A, N) normal scores of which the share `shared` of the variance is the same in all arms."""
    common = math.sqrt(shared) * generator.normal(size=len(is_positive))
    own = math.sqrt(1 - shared) * generator.normal(size=(len(aurocs), len(is_positive)))
    return np.asarray(common + own + math.sqrt(2) * norm.ppf(aurocs)[:, None] * is_positive)


def test_delongs_test_finds_that_difference_four_times_in_five() -> None:
    generator = np.random.default_rng(0)
    is_positive = np.arange(130) < 60
    equal = np.array([_AUROC, _AUROC])
    pilot = [auroc_covariance(is_positive, _scores(generator, is_positive, equal, 0.8)).covariance for _ in range(200)]
    mean = np.mean(pilot, axis=0)
    correlation = float(mean[0, 1] / math.sqrt(mean[0, 0] * mean[1, 1]))
    difference = detectable_difference(60, 70, auroc=_AUROC, correlation=correlation)
    aurocs = _AUROC + np.array([difference, -difference]) / 2
    p_values = []
    for _ in range(1000):
        first, second = _scores(generator, is_positive, aurocs, 0.8)
        p_values.append(compare_aurocs(is_positive, first, second).p_value)
    assert 0.75 <= np.mean(np.array(p_values) < 0.05) <= 0.85


def test_the_multi_reader_test_finds_that_difference_four_times_in_five() -> None:
    """Estimates drawn as the design takes them to be: errors of cases, and what training adds."""
    generator = np.random.default_rng(1)
    num_seeds, variance = 3, auroc_variance(_AUROC, 60, 60)
    same_arm = np.equal.outer(np.repeat([0, 1], num_seeds), np.repeat([0, 1], num_seeds))
    covariance = variance * np.where(same_arm, CORRELATION_OF_SEEDS, CORRELATION_OF_ARMS)
    np.fill_diagonal(covariance, variance)
    drawn = covariance + TRAINING_VARIANCE * variance * np.eye(2 * num_seeds)
    difference = detectable_difference(60, 60, auroc=_AUROC, num_seeds=num_seeds)
    means = np.repeat(_AUROC + np.array([difference, -difference]) / 2, num_seeds)
    estimates = generator.multivariate_normal(means, drawn, size=2000).reshape(-1, 2, num_seeds)
    shaped = covariance.reshape(2, num_seeds, 2, num_seeds)
    p_values = [compare_readers(one, shaped).p_value for one in estimates]
    assert 0.75 <= np.mean(np.array(p_values) < 0.05) <= 0.85


@pytest.mark.parametrize(("num_folds", "num_repeats"), [(5, 1), (5, 3), (10, 2), (2, 3)])
def test_over_folds_the_noncentral_t_has_the_power(num_folds: int, num_repeats: int) -> None:
    difference = detectable_difference_over_folds(60, 80, num_folds=num_folds, num_repeats=num_repeats, correlation=0.7)
    num_splits, sizes = num_folds * num_repeats, (60 / num_folds, 80 / num_folds)
    both = 0.8 + difference / 2, 0.8 - difference / 2
    # What single units add is what remains of the variance where pairs no longer count: with many of both.
    of_units = [auroc_variance(auroc, 1e9 * sizes[0], 1e9 * sizes[1]) * 1e9 for auroc in both]
    variance = sum(auroc_variance(auroc, *sizes) for auroc in both) - 2 * 0.7 * math.sqrt(of_units[0] * of_units[1])
    shift = difference / math.sqrt((1 / num_splits + 1 / (num_folds - 1)) * variance)
    power = nct.sf(t.ppf(0.975, num_splits - 1), num_splits - 1, shift)
    assert power == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("num_groups", "num_folds", "num_repeats"), [(20, 5, 3), (60, 3, 2), (60, 5, 1)])
def test_nadeau_and_bengios_test_finds_that_difference_at_least_as_often(
    num_groups: int, num_folds: int, num_repeats: int
) -> None:
    """Fixed scores, parted anew for each repeat; the arms' scores share 0.9 of their variance."""
    generator = np.random.default_rng(0)
    is_positive = np.arange(2 * num_groups) < num_groups
    many = np.arange(20_000) < 10_000
    pair = auroc_covariance(many, _scores(generator, many, np.array([_AUROC, _AUROC]), 0.9)).covariance
    correlation = float(pair[0, 1] / math.sqrt(pair[0, 0] * pair[1, 1]))
    difference = detectable_difference_over_folds(
        num_groups, num_groups, num_folds=num_folds, num_repeats=num_repeats, correlation=correlation
    )
    aurocs = _AUROC + np.array([difference, -difference]) / 2
    found = 0
    for _ in range(200):
        scores = _scores(generator, is_positive, aurocs, 0.9)
        differences = []
        for _ in range(num_repeats):
            folds = np.concatenate([generator.permutation(num_groups) % num_folds for _ in range(2)])
            for fold in range(num_folds):
                inside = folds == fold
                first, second = (
                    np.greater.outer(one[inside & is_positive], one[inside & ~is_positive]).mean() for one in scores
                )
                differences.append(first - second)
        test = corrected_resampled_t_test(differences, num_train=num_folds - 1, num_test=1)
        assert test.low is not None
        found += test.low > 0
    assert found / 200 >= 0.75


def test_too_few_folds_detect_nothing_and_wrong_ones_are_refused() -> None:
    assert detectable_difference_over_folds(60, 60, num_folds=3) == math.inf
    assert detectable_difference_over_folds(60, 60, num_folds=3, num_repeats=2) < 1
    assert detectable_difference_over_folds(20, 20, num_folds=5) == math.inf  # none that leaves AUROCs below 1
    more = [detectable_difference_over_folds(60, 60, num_folds=5, num_repeats=number) for number in (1, 3, 10)]
    assert more == sorted(more, reverse=True)
    # Never less than one test set of all these groups would show.
    assert more[-1] > detectable_difference(60, 60)
    with pytest.raises(ValueError, match=r"0\.8 positives and 12 negatives a fold"):
        detectable_difference_over_folds(4, 60, num_folds=5)
    with pytest.raises(ValueError, match="two folds and one repeat or more"):
        detectable_difference_over_folds(60, 60, num_folds=1)
    with pytest.raises(ValueError, match="the correlation of the arms"):
        detectable_difference_over_folds(60, 60, num_folds=5, correlation=1.0)


def test_every_ordinary_design_has_a_number() -> None:
    for number, seeds, correlation, auroc in itertools.product(
        (1, 10, 1000), (1, 2, 3, 30), (0.01, 0.5, CORRELATION_OF_SEEDS, 0.99), (0.5, 0.8, 0.99)
    ):
        found = detectable_difference(number, 2 * number, num_seeds=seeds, correlation=correlation, auroc=auroc)
        assert math.isfinite(found) and found > 0


def test_classes_with_few_groups_are_named() -> None:
    assert too_few_groups({"COVID": 10, "NonCOVID": 42}) is None
    sentence = too_few_groups({"COVID": 9, "NonCOVID": 42})
    assert sentence is not None
    assert "9 of COVID" in sentence
    assert "NonCOVID" not in sentence


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_positive_groups": 0}, "0 positives and 30 negatives"),
        ({"num_seeds": 0}, "one seed or more"),
        ({"auroc": 1.0}, "the AUROC must be between 0 and 1"),
        ({"correlation": 1.0}, "the correlation of the arms"),
        ({"power": 0.0}, "the power must be"),
        ({"alpha": 1.0}, "confidence level"),
    ],
)
def test_wrong_input_is_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detectable_difference(**{"num_positive_groups": 30, "num_negative_groups": 30, **arguments})  # type: ignore[arg-type]
