from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from tlmed.evaluation.statistics.equivalence import two_one_sided_tests


@pytest.mark.parametrize("margin", [0.05, 0.3, 1.0])
def test_it_is_two_of_scipys_one_sided_t_tests(margin: float) -> None:
    values = np.random.default_rng(0).normal(0.1, 0.5, size=20)
    test = two_one_sided_tests(
        values.mean(), values.std(ddof=1) / math.sqrt(20), margin=margin, degrees_of_freedom=19, alpha=0.05
    )
    above = ttest_1samp(values, -margin, alternative="greater").pvalue
    below = ttest_1samp(values, margin, alternative="less").pvalue
    interval = ttest_1samp(values, 0).confidence_interval(0.9)
    assert test.p_value == pytest.approx(max(above, below), abs=1e-12)
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high))
    assert test.equivalent == (interval.low > -margin and interval.high < margin)


def test_normal_by_default() -> None:
    test = two_one_sided_tests(0.01, 0.01, margin=0.03)
    assert test.p_value == pytest.approx(norm.sf(2))
    assert test.equivalent


@pytest.mark.parametrize(
    "wrong",
    [{"margin": 0.0}, {"standard_error": 0.0}, {"difference": math.nan}, {"alpha": 0.5}, {"degrees_of_freedom": 0.0}],
)
def test_wrong_input_is_named(wrong: dict[str, float]) -> None:
    arguments = {"difference": 0.0, "standard_error": 0.1, "margin": 0.1} | wrong
    with pytest.raises(ValueError, match="must be"):
        two_one_sided_tests(**arguments)
