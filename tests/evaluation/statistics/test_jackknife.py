from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tlmed.evaluation.statistics.jackknife import jackknife_covariance, leave_one_group_out_aurocs


@pytest.mark.parametrize("seed", range(4))
def test_areas_without_a_group_are_scikit_learns_of_the_rest(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(12, size=60)
    labels = (generator.random(60) < 0.4).astype(int)
    scores = generator.integers(0, 7, size=(3, 60)).astype(float) + labels
    left_out = leave_one_group_out_aurocs(labels, scores, groups)
    expected = [
        [roc_auc_score(labels[groups != group], row[groups != group]) for row in scores]
        for group in dict.fromkeys(groups.tolist())
    ]
    np.testing.assert_allclose(left_out, expected, rtol=1e-12)


def test_without_groups_each_unit_is_left_out() -> None:
    labels, scores = np.array([0, 1, 0, 1, 1]), np.array([[1.0, 3.0, 2.0, 2.0, 0.0]])
    expected = [roc_auc_score(np.delete(labels, unit), np.delete(scores[0], unit)) for unit in range(5)]
    np.testing.assert_allclose(leave_one_group_out_aurocs(labels, scores)[:, 0], expected)


def test_of_means_the_jackknife_is_the_covariance_of_means() -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    left_out = (values.sum(axis=0) - values) / 29
    np.testing.assert_allclose(jackknife_covariance(left_out), np.cov(values.T) / 30, rtol=1e-10)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="all units of a class are of one group"):
        leave_one_group_out_aurocs([1, 1, 0, 0], [[1, 2, 3, 4]], ["a", "a", "b", "c"])
    with pytest.raises(ValueError, match="two groups or more"):
        jackknife_covariance([[0.5, 0.6]])
    with pytest.raises(ValueError, match="missing"):
        jackknife_covariance([[0.5], [np.nan]])
