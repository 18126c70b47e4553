from __future__ import annotations

import itertools

import numpy as np
import pytest

from tlmed.evaluation.statistics.multiplicity import bonferroni_level, holm


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.5]), [1.0, 1.0])
    assert holm([0.3]).tolist() == [0.3]


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closed_test_of_bonferroni(seed: int) -> None:
    """The largest Bonferroni p over all sets of hypotheses that hold this one."""
    p_values = np.random.default_rng(seed).random(6) ** 3
    sets = [chosen for size in range(1, 7) for chosen in itertools.combinations(range(6), size)]
    expected = [
        max(min(1.0, len(chosen) * min(p_values[list(chosen)])) for chosen in sets if index in chosen)
        for index in range(6)
    ]
    np.testing.assert_allclose(holm(p_values), expected)


@pytest.mark.parametrize("p_values", [[-0.1], [1.1, 0.2], [float("nan")], []])
def test_what_is_no_p_value_is_refused(p_values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"p.values"):
        holm(p_values)


def test_the_level_of_each_of_several_intervals() -> None:
    assert bonferroni_level(0.95, 1) == pytest.approx(0.95)
    assert bonferroni_level(0.95, 5) == pytest.approx(0.99)
    with pytest.raises(ValueError, match="one interval or more"):
        bonferroni_level(0.95, 0)
    with pytest.raises(ValueError, match="confidence level"):
        bonferroni_level(95, 2)
