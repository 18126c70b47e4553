from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tlmed.evaluation.statistics.agreement import quadratic_weighted_kappa


@pytest.mark.parametrize("seed", range(5))
def test_it_is_scikit_learns(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(5, size=60)
    predicted = np.clip(labels + generator.integers(-2, 3, size=60), 0, 4)
    reference = cohen_kappa_score(labels, predicted, labels=range(5), weights="quadratic")
    assert quadratic_weighted_kappa(labels, predicted, 5) == pytest.approx(reference, abs=1e-12)


def test_by_hand() -> None:
    """Squared distances 0, 0, 1, 4; by chance all 16 pairs of a label and a prediction."""
    assert quadratic_weighted_kappa([0, 0, 1, 2], [0, 0, 2, 0], 3) == pytest.approx(
        1 - 1.25 / np.mean([(i - j) ** 2 for i in (0, 0, 1, 2) for j in (0, 0, 2, 0)])
    )
    assert quadratic_weighted_kappa([0, 1, 2], [0, 1, 2], 3) == 1.0
    assert quadratic_weighted_kappa([0, 2], [2, 0], 3) == -1.0


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="kappa is undefined"):
        quadratic_weighted_kappa([1, 1], [1, 1], 3)
    with pytest.raises(ValueError, match="predicted has 3 values for 2 units"):
        quadratic_weighted_kappa([1, 0], [1, 0, 1], 3)
    with pytest.raises(ValueError, match="labels must be class indices from 0 to 1"):
        quadratic_weighted_kappa([1, 2], [1, 0], 2)
