from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, norm, ttest_rel

from tests.evaluation.van_dyke import (
    AUROCS,
    COV1,
    COV2,
    COV2_OF_WAYS,
    COV3,
    IS_POSITIVE,
    RATINGS,
    VARIANCE,
    VARIANCE_OF_WAYS,
)
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.multi_reader import (
    MultiReader,
    compare_readers,
    error_covariances,
    mean_over_readers,
    reader_aurocs,
    variance_over_readers,
)


def _published_covariance() -> Floats:
    """(2, 5, 2, 5) with the published averages in place of the single values."""
    covariance = np.full((2, 5, 2, 5), COV3)
    for way, (variance, cov2) in enumerate(zip(VARIANCE_OF_WAYS, COV2_OF_WAYS, strict=True)):
        covariance[way, :, way, :] = cov2
        covariance[way, range(5), way, range(5)] = variance
        covariance[way, range(5), 1 - way, range(5)] = COV1
    return covariance


def _check_published(result: MultiReader) -> None:
    """Every figure of analysis 1 (random readers and cases), to the last digit printed."""
    assert round(result.mean_squares[0], 8) == 0.00479617
    assert round(result.mean_squares[1], 8) == 0.00055103
    assert round(result.f_statistic, 2) == 4.46
    assert result.degrees_of_freedom[0] == 1
    assert round(result.degrees_of_freedom[1], 2) == 15.26
    assert round(result.p_value, 4) == 0.0517
    difference = result.differences[0, 1]
    assert round(difference.value, 5) == -0.04380
    assert round(difference.standard_error, 5) == 0.02075
    assert round(difference.degrees_of_freedom, 2) == 15.26
    assert (round(difference.low, 5), round(difference.high, 5)) == (-0.08796, 0.00036)
    assert difference.p_value == pytest.approx(result.p_value)
    published = (
        (0.89703704, 0.03317360, 12.74, 0.82522360, 0.96885048),
        (0.94083736, 0.02156637, 12.71, 0.89413783, 0.98753689),
    )
    for arm, (value, error, freedom, low, high) in zip(result.arms, published, strict=True):
        assert arm.value == pytest.approx(value, abs=1e-8)
        assert round(arm.degrees_of_freedom, 2) == freedom
        # The published covariances have five digits that count, so what follows from them has no more.
        assert (arm.standard_error, arm.low, arm.high) == pytest.approx((error, low, high), abs=3e-7)


def test_van_dyke_from_the_published_areas_and_covariances() -> None:
    _check_published(compare_readers(AUROCS, _published_covariance()))


def test_van_dyke_from_the_ratings() -> None:
    values, covariance = reader_aurocs(IS_POSITIVE, RATINGS)
    np.testing.assert_allclose(values, AUROCS, atol=5e-9)
    result = compare_readers(values, covariance)
    _check_published(result)
    averages = result.covariances
    assert (averages.variance, averages.cov1, averages.cov2, averages.cov3) == pytest.approx(
        (VARIANCE, COV1, COV2, COV3), abs=5e-9
    )
    arms = [error_covariances(covariance[[way]][:, :, [way]], 1, 5) for way in (0, 1)]
    assert [arm.variance for arm in arms] == pytest.approx(VARIANCE_OF_WAYS, abs=5e-9)
    assert [arm.cov2 for arm in arms] == pytest.approx(COV2_OF_WAYS, abs=5e-9)
    assert [arm.standard_error for arm in result.arms] == pytest.approx([0.03317360, 0.02156637], abs=5e-9)


def test_without_case_variance_two_arms_are_a_paired_t_test_of_readers() -> None:
    """What the same software prints as analysis 3: F 8.70 with 1 and 4 degrees of freedom, p 0.0420."""
    result = compare_readers(AUROCS, np.zeros((2, 5, 2, 5)))
    reference = ttest_rel(AUROCS[0], AUROCS[1])
    assert result.f_statistic == pytest.approx(reference.statistic**2)
    assert result.p_value == pytest.approx(reference.pvalue)
    assert (round(result.f_statistic, 2), round(result.p_value, 4)) == (8.70, 0.0420)
    assert result.degrees_of_freedom == pytest.approx((1, 4))


def test_readers_who_do_not_vary_leave_the_cases() -> None:
    """All readers differ alike between arms: a normal test with the covariances of cases alone."""
    figures = np.array([[0.80, 0.82, 0.84], [0.85, 0.87, 0.89], [0.83, 0.85, 0.87]])
    covariance = np.zeros((3, 3, 3, 3))
    for arm in range(3):
        covariance[arm, :, arm, :] = 4e-4
    result = compare_readers(figures, covariance)
    assert result.degrees_of_freedom[1] > 1e6  # infinite, but for rounding
    assert result.p_value == pytest.approx(chi2.sf(result.f_statistic * 2, 2))
    difference = result.differences[0, 1]
    assert difference.p_value == pytest.approx(2 * norm.sf(0.05 / math.sqrt(2 * 4e-4)))
    assert set(result.differences) == {(0, 1), (0, 2), (1, 2)}


def test_limits_stay_where_a_figure_can_be() -> None:
    mean = mean_over_readers([0.99, 0.97, 1.0], np.full((3, 3), 1e-3))
    assert mean.high == 1.0
    assert mean.p_value is None


def test_groups_are_left_out_whole() -> None:
    """Every patient twice, in one group: the same as once."""
    values, covariance = reader_aurocs(IS_POSITIVE, RATINGS)
    copied = np.repeat(np.arange(114), 2)
    twice_values, twice_covariance = reader_aurocs(IS_POSITIVE[copied], RATINGS[:, :, copied], copied)
    np.testing.assert_allclose(twice_values, values)
    np.testing.assert_allclose(twice_covariance, covariance, rtol=1e-9, atol=1e-15)


def test_wrong_input_is_named() -> None:
    zeros = np.zeros((2, 5, 2, 5))
    with pytest.raises(ValueError, match="two arms or more"):
        compare_readers(AUROCS[:1], zeros[:1, :, :1])
    with pytest.raises(ValueError, match="one reader does not show"):
        compare_readers(AUROCS[:, :1], zeros[:, :1, :, :1])
    with pytest.raises(ValueError, match="does not fit 2 arms and 5 readers"):
        compare_readers(AUROCS, np.zeros((2, 4, 2, 4)))
    with pytest.raises(ValueError, match="neither readers nor cases vary"):
        compare_readers(np.full((2, 5), 0.8), zeros)
    with pytest.raises(ValueError, match="neither readers nor cases vary"):
        mean_over_readers([0.8, 0.8], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="missing"):
        compare_readers(np.where(AUROCS > 0.99, np.nan, AUROCS), zeros)
    skewed = zeros.copy()
    skewed[0, 0, 1, 1] = 1.0
    with pytest.raises(ValueError, match="symmetric"):
        compare_readers(AUROCS, skewed)


def test_the_variance_over_readers_is_that_of_their_mean_and_0_without_variation() -> None:
    mean = mean_over_readers([0.8, 0.85, 0.9], np.full((3, 3), 1e-4))
    variance, freedom = variance_over_readers([0.8, 0.85, 0.9], np.full((3, 3), 1e-4))
    # MS(R) = 0.0025, E = MS(R) + 3 Cov2, variance E / 3, freedom E^2 / (MS(R)^2 / 2).
    assert variance == pytest.approx(0.0028 / 3)
    assert freedom == pytest.approx(0.0028**2 / (0.0025**2 / 2))
    assert (mean.standard_error, mean.degrees_of_freedom) == pytest.approx((math.sqrt(variance), freedom))
    assert variance_over_readers([-2.0, -2.0], np.zeros((2, 2))) == (0.0, math.inf)
