from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import f, norm, t, ttest_1samp, ttest_ind, ttest_rel

from tests.evaluation.van_dyke import AUROCS, IS_POSITIVE, RATINGS
from tlmed.evaluation.comparison.claims import (
    ArmFigures,
    Claim,
    claim_of_these_models,
    claim_over_seeds,
    claim_over_training_sets,
    refuses_training_set_claim,
)
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.jackknife import leave_one_group_out_aurocs
from tlmed.evaluation.statistics.multi_reader import compare_readers, reader_aurocs
from tlmed.evaluation.tests import compare_aurocs, corrected_resampled_t_test

SECOND_LESS_FIRST = {"second": 1.0, "first": -1.0}


def _of_van_dyke(*, seeds: Sequence[object] = range(5)) -> dict[str, ArmFigures]:
    """Two ways of imaging as arms, readers as seeds; `seeds` of the second."""
    left_out = [leave_one_group_out_aurocs(IS_POSITIVE, ratings) for ratings in RATINGS]
    return {
        "first": ArmFigures(tuple(range(5)), AUROCS[0], left_out[0]),
        "second": ArmFigures(tuple(seeds), AUROCS[1], left_out[1]),
    }


def _of_values(
    values: Sequence[float], *, seeds: Sequence[object] | None = None, case_spread: float = 0.0
) -> ArmFigures:
    """An arm, of which leaving out four groups changes all seeds alike: by the spread, up and down."""
    changes = case_spread * np.array([1.0, -1.0, 1.0, -1.0])
    of_seeds = np.asarray(values, dtype=np.float64)
    return ArmFigures(tuple(seeds or range(len(of_seeds))), of_seeds, of_seeds + changes[:, None])


def _claimed(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def test_of_van_dyke_the_standard_error_is_the_published_one() -> None:
    """OR-DBM MRMC: 0.02075 over readers and cases, 15.26 degrees of freedom with the cases taken as known."""
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, _of_van_dyke()))
    assert (round(claim.value, 5), round(claim.standard_error, 5)) == (0.04380, 0.02075)
    readers = compare_readers(*reader_aurocs(IS_POSITIVE, RATINGS)).differences[0, 1]
    assert claim.standard_error == pytest.approx(readers.standard_error)
    # Cases have degrees of freedom of their own here.
    assert 14 < claim.degrees_of_freedom < readers.degrees_of_freedom
    assert claim.low < -readers.high


def test_each_part_has_the_quantile_of_its_own_degrees_of_freedom() -> None:
    """By hand: S = 2 MS / R from the published mean square, C = the rest of the published standard error."""
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, _of_van_dyke()))
    of_seeds = 2 * 0.00055103 / 5
    of_cases = 0.02075**2 - of_seeds
    half_width = math.sqrt(t.ppf(0.975, 4) ** 2 * of_seeds + t.ppf(0.975, 113) ** 2 * of_cases)
    assert claim.high - claim.value == pytest.approx(half_width, rel=1e-3)
    assert claim.value - claim.low == pytest.approx(half_width, rel=1e-3)
    at_90 = math.sqrt(t.ppf(0.95, 4) ** 2 * of_seeds + t.ppf(0.95, 113) ** 2 * of_cases)
    assert claim.high_90 - claim.value == pytest.approx(at_90, rel=1e-3)


def test_the_p_value_is_where_a_limit_is_0() -> None:
    arms = _of_van_dyke()
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    at_p = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms, level=1 - claim.p_value))
    assert at_p.low == pytest.approx(0, abs=1e-9)
    assert (at_p.low_90, at_p.high_90) == (claim.low_90, claim.high_90)


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.01, 0.9])
def test_there_is_a_p_value_however_small_or_large_the_contrast(value: float) -> None:
    arms = {
        "first": _of_values([0.0, 0.01, 0.02], case_spread=0.01),
        "second": _of_values([0.01 + value] * 3),
    }
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    assert 0 < claim.p_value <= 1
    assert (claim.p_value < 0.05) == (claim.low > 0)


def test_with_endless_cases_it_is_a_paired_t_test_of_seeds() -> None:
    first, second = [0.80, 0.83, 0.79], [0.86, 0.84, 0.85]
    arms = {"first": _of_values(first), "second": _of_values(second)}
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    reference = ttest_rel(second, first)
    interval = reference.confidence_interval()
    assert claim.p_value == pytest.approx(reference.pvalue)
    assert (claim.low, claim.high) == pytest.approx((interval.low, interval.high))
    assert claim.degrees_of_freedom == pytest.approx(2)
    assert "not paired" not in claim.method


def test_seeds_are_paired_by_name_not_by_place() -> None:
    arms = {"first": _of_values([0.80, 0.83, 0.79]), "second": _of_values([0.85, 0.86, 0.84], seeds=[2, 0, 1])}
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    assert claim.p_value == pytest.approx(ttest_rel([0.86, 0.84, 0.85], [0.80, 0.83, 0.79]).pvalue)


def test_with_endless_cases_and_other_seeds_it_is_welchs_t_test() -> None:
    first, second = [0.80, 0.83, 0.79, 0.81], [0.86, 0.84]
    arms = {"first": _of_values(first), "second": _of_values(second, seeds=["a", "b"])}
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    reference = ttest_ind(second, first, equal_var=False)
    assert claim.p_value == pytest.approx(reference.pvalue)
    assert claim.degrees_of_freedom == pytest.approx(reference.df)
    assert "not paired" in claim.method


def test_an_arm_that_no_seed_changes_is_subtracted_from_each() -> None:
    arms = {"first": _of_values([0.8], seeds=[7]), "second": _of_values([0.86, 0.84, 0.85])}
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    assert claim.p_value == pytest.approx(ttest_1samp([0.86, 0.84, 0.85], 0.8).pvalue)


def test_unpaired_the_case_part_is_the_same_but_for_pairs() -> None:
    """Readers of other names: the arms' own mean squares, and covariances over all pairs of readers."""
    arms = _of_van_dyke(seeds="abcde")
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    covariance = reader_aurocs(IS_POSITIVE, RATINGS)[1]
    different = ~np.eye(5, dtype=bool)
    of_cases = sum(covariance[way, :, way][different].mean() for way in (0, 1)) - 2 * covariance[0, :, 1].mean()
    of_seeds = AUROCS.var(axis=1, ddof=1).sum() / 5
    assert claim.standard_error == pytest.approx(math.sqrt(of_seeds + of_cases))
    assert claim.value == pytest.approx(0.04380, abs=5e-6)


def test_seeds_that_do_not_vary_leave_the_cases() -> None:
    """DeLong's standard error, which the jackknife comes close to, with Student's t in place of z."""
    generator = np.random.default_rng(0)
    is_positive = np.repeat([True, False], [60, 80])
    scores = generator.normal(size=(2, 140)) + generator.normal(size=140) + is_positive * np.array([[1.6], [1.0]])
    delong = compare_aurocs(is_positive, scores[0], scores[1])
    left_out = leave_one_group_out_aurocs(is_positive, scores)
    values = np.array([delong.difference, 0.0])
    once = {arm: ArmFigures((0,), values[[i]], left_out[:, [i]]) for i, arm in enumerate(("second", "first"))}
    thrice = {
        arm: ArmFigures((0, 1, 2), values[[i] * 3], left_out[:, [i] * 3]) for i, arm in enumerate(("second", "first"))
    }
    for claim in (
        _claimed(claim_of_these_models(SECOND_LESS_FIRST, once)),
        _claimed(claim_of_these_models(SECOND_LESS_FIRST, thrice)),
        _claimed(claim_over_seeds(SECOND_LESS_FIRST, thrice)),
        _claimed(claim_over_seeds(SECOND_LESS_FIRST, once)),
    ):
        assert claim.value / claim.standard_error == pytest.approx(delong.statistic, rel=0.02)
        assert claim.p_value == pytest.approx(2 * t.sf(claim.value / claim.standard_error, 139))
        assert claim.p_value == pytest.approx(2 * norm.sf(delong.statistic), abs=0.005)


def test_these_models_have_the_jackknife_of_the_mean_over_seeds() -> None:
    """By hand: +-0.01 in four groups: (G - 1) / G sum of squares = 3 / 4 x 4 x 0.0001."""
    arms = {"first": _of_values([0.7, 0.9], case_spread=0.01), "second": _of_values([0.9, 0.9])}
    claim = _claimed(claim_of_these_models(SECOND_LESS_FIRST, arms))
    assert claim.kind == "a"
    assert claim.value == pytest.approx(0.1)
    assert claim.standard_error == pytest.approx(math.sqrt(0.0003))
    assert claim.degrees_of_freedom == pytest.approx(3)
    half_width = t.ppf(0.975, 3) * math.sqrt(0.0003)
    assert (claim.low, claim.high) == pytest.approx((0.1 - half_width, 0.1 + half_width))


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_new_seeds_make_nothing_surer_than_these_models_are(num_seeds: int, is_paired: bool) -> None:
    """Seeds that each take cases differently: where by luck they vary little, these models' limits are wider."""
    narrower_alone = 0
    for number in range(60):
        generator = np.random.default_rng([number, num_seeds])
        left_out = 0.002 * generator.normal(size=(2, 30, num_seeds))
        values = 0.8 + 0.01 * generator.normal(size=(2, num_seeds))
        seeds = (range(num_seeds), range(0 if is_paired else num_seeds, num_seeds + (0 if is_paired else num_seeds)))
        arms = {
            arm: ArmFigures(tuple(seeds[i]), values[i], values[i] + left_out[i])
            for i, arm in enumerate(("first", "second"))
        }
        of_models = _claimed(claim_of_these_models(SECOND_LESS_FIRST, arms))
        over_seeds = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
        assert (over_seeds.kind, over_seeds.value) == ("b", of_models.value)
        assert over_seeds.low <= of_models.low < of_models.high <= over_seeds.high
        assert over_seeds.low_90 <= of_models.low_90 < of_models.high_90 <= over_seeds.high_90
        assert over_seeds.p_value >= of_models.p_value
        assert over_seeds.standard_error >= of_models.standard_error
        assert over_seeds.method.endswith("no narrower than for these models") == (
            of_models.standard_error == over_seeds.standard_error
            or of_models.p_value == over_seeds.p_value
            or of_models.low == over_seeds.low
            or of_models.low_90 == over_seeds.low_90
        )
        assert (over_seeds.p_value < 0.05) == (over_seeds.low > 0 or over_seeds.high < 0)
        narrower_alone += over_seeds.low == of_models.low
    assert narrower_alone > 0


def test_where_seeds_show_nothing_these_models_limits_hold() -> None:
    """Two seeds of one value that cases move in opposite ways: by hand, no S, and a C below 0; the mean does vary."""
    changes = 0.01 * np.array([1.0, -1.0, 1.0, -1.0])
    moved = ArmFigures((0, 1), np.array([0.8, 0.8]), np.stack([0.8 + changes, 0.8 - 0.5 * changes], axis=1))
    arms = {"first": _of_values([0.7, 0.7]), "second": moved}
    of_models, over_seeds = (claim(SECOND_LESS_FIRST, arms) for claim in (claim_of_these_models, claim_over_seeds))
    assert of_models is not None
    # The mean over seeds changes by a quarter of 0.01 in each of four groups.
    assert of_models.standard_error == pytest.approx(0.0025 * math.sqrt(3))
    assert over_seeds == dataclasses.replace(of_models, kind="b", method=_claimed(over_seeds).method)


def test_weights_other_than_1_count() -> None:
    """An interaction of two by two arms whose seeds are paired: the t test of the contrast by seed."""
    values = np.random.default_rng(1).normal(size=(4, 5))
    weights = dict(zip("abcd", (1.0, -1.0, -0.5, 0.5), strict=True))
    arms = {arm: _of_values(row.tolist()) for arm, row in zip(weights, values, strict=True)}
    claim = _claimed(claim_over_seeds(weights, arms))
    by_seed = np.array(list(weights.values())) @ values
    assert claim.p_value == pytest.approx(ttest_1samp(by_seed, 0).pvalue)
    assert claim.value == pytest.approx(by_seed.mean())


def test_a_negative_covariance_of_seeds_counts_as_none() -> None:
    """Leaving out groups changes the seeds of the contrast in opposite ways, so seeds share no case effect."""
    changes = 0.01 * np.array([1.0, -1.0, 1.0, -1.0])
    moved = ArmFigures((0, 1), np.array([0.80, 0.84]), np.stack([0.80 + changes, 0.84 - changes], axis=1))
    arms = {"first": _of_values([0.7, 0.7]), "second": moved}
    claim = _claimed(claim_over_seeds(SECOND_LESS_FIRST, arms))
    assert claim.standard_error == pytest.approx(np.std([0.80, 0.84], ddof=1) / math.sqrt(2))
    # Squared, Student's t is F.
    assert claim.p_value == pytest.approx(f.sf((claim.value / claim.standard_error) ** 2, 1, 1))


def test_where_nothing_varies_there_is_no_claim() -> None:
    arms = {"first": _of_values([0.8, 0.8]), "second": _of_values([0.9, 0.9])}
    assert claim_of_these_models(SECOND_LESS_FIRST, arms) is None
    assert claim_over_seeds(SECOND_LESS_FIRST, arms) is None
    assert claim_over_training_sets(np.full(10, 0.1), num_train=80, num_test=20) is None


def test_over_training_sets_it_is_the_corrected_resampled_t_test() -> None:
    differences = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    claim = _claimed(claim_over_training_sets(differences, num_train=80, num_test=20))
    reference = corrected_resampled_t_test(differences, num_train=80, num_test=20)
    assert dataclasses.astuple(claim)[1:4] == pytest.approx((reference.difference, reference.low, reference.high))
    assert claim.p_value == pytest.approx(reference.p_value)
    assert claim.standard_error == pytest.approx(math.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1)))
    assert claim.degrees_of_freedom == pytest.approx(4)


def test_of_many_folds_only_five_count() -> None:
    """By hand: J = 5 of 25 folds, (1 / 5 + 1 / 4) s^2 with 7 degrees of freedom."""
    differences = np.random.default_rng(0).normal(0.02, 0.05, 25)
    claim = _claimed(claim_over_training_sets(differences, num_train=80, num_test=20))
    error = math.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    assert claim.standard_error == pytest.approx(error)
    assert claim.high - claim.value == pytest.approx(t.ppf(0.975, 7) * error)


def test_folds_that_cancel_have_a_claim_of_0() -> None:
    claim = _claimed(claim_over_training_sets(np.array([-0.1, 0.1, -0.2, 0.2, 0.0]), num_train=80, num_test=20))
    assert (claim.value, claim.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("num_folds", "num_repeats", "word"), [(2, 2, "4 folds in all"), (5, 1, None), (5, 3, None), (10, 1, None)]
)
def test_designs_without_a_claim_over_training_sets_say_why(num_folds: int, num_repeats: int, word: str | None) -> None:
    reason = refuses_training_set_claim(num_folds=num_folds, num_repeats=num_repeats)
    assert reason is None if word is None else word in str(reason)


def test_wrong_input_is_named() -> None:
    arms = {"first": _of_values([0.8, 0.9]), "second": _of_values([0.9, 0.8])}
    with pytest.raises(ValueError, match="level"):
        claim_over_seeds(SECOND_LESS_FIRST, arms, level=1.5)
    one_group: Floats = np.array([[0.8]])
    alone = {arm: ArmFigures((0,), np.array([0.8]), one_group) for arm in arms}
    with pytest.raises(ValueError, match="two groups or more"):
        claim_of_these_models(SECOND_LESS_FIRST, alone)
    with pytest.raises(ValueError, match="1 folds of 20 groups, 80 in training: too few"):
        claim_over_training_sets(np.array([0.1]), num_train=80, num_test=20)
    with pytest.raises(ValueError, match="missing"):
        claim_over_training_sets(np.array([0.1, np.nan]), num_train=80, num_test=20)
