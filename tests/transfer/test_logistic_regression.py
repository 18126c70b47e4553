"""The head against an independent minimiser and hand-computed folds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlmed.transfer import logistic_regression
from tlmed.transfer.logistic_regression import FIXED_C, GRID, mean_cross_entropy, solve_head


def blobs(num_classes: int, num_images: int = 60, num_features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds whose features differ in scale and offset, one of them constant."""
    generator = np.random.default_rng(num_classes)
    labels = np.arange(num_images) % num_classes
    centres = generator.normal(size=(num_classes, num_features))
    values = (centres[labels] + generator.normal(size=(num_images, num_features))) * 10.0 ** np.arange(
        num_features
    ) + 7.0
    values[:, -1] = 3.0
    return values.astype(np.float32), labels


def minimised(features: np.ndarray, labels: np.ndarray, c: float) -> np.ndarray:
    """Logits by minimising the penalised likelihood of a softmax over all K rows, without scikit-learn."""
    values = features.astype(np.float64)
    deviation = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1.0)
    num_classes, num_features = labels.max() + 1, features.shape[1]

    def logits(flat: np.ndarray) -> np.ndarray:
        parameters = flat.reshape(num_classes, num_features + 1)
        return scaled @ parameters[:, :-1].T + parameters[:, -1]

    def objective(flat: np.ndarray) -> float:
        weight = flat.reshape(num_classes, num_features + 1)[:, :-1]
        # Two rows of opposite sign share the penalty of the one row of two-class logistic regression.
        penalty = (weight**2).sum() * (1.0 if num_classes == 2 else 0.5)
        likelihood = log_softmax(logits(flat), axis=1)[np.arange(len(labels)), labels].sum()
        return float(penalty - c * likelihood)

    start = np.zeros(num_classes * (num_features + 1))
    return logits(minimize(objective, start, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}).x)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_probabilities_are_those_of_an_independent_minimiser(num_classes: int) -> None:
    features, labels = blobs(num_classes)
    head = solve_head(features, labels, np.arange(len(labels)))
    assert head.weight.shape == (num_classes, features.shape[1])
    expected = log_softmax(minimised(features, labels, head.c), axis=1)
    np.testing.assert_allclose(log_softmax(head.logits(features), axis=1), expected, atol=1e-4)


def test_two_rows_give_the_logistic_function_of_scikit_learn() -> None:
    features, labels = blobs(2)
    head = solve_head(features, labels, np.arange(len(labels)))
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=head.c, tol=1e-8, max_iter=10_000))
    reference.fit(features.astype(np.float64), labels)
    expected = reference.predict_proba(features.astype(np.float64))[:, 1]
    logits = head.logits(features)
    np.testing.assert_allclose(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), expected, atol=1e-5)


def test_the_penalty_is_the_best_of_an_independent_cross_validation_by_group() -> None:
    features, labels = blobs(2, num_images=40)
    # Five groups of eight images, four of each class: the folds can only be the groups themselves.
    groups = np.repeat(np.arange(5), 8)
    losses = {}
    for c in GRID:
        held_out = np.empty((len(labels), 2))
        for fitted, held in LeaveOneGroupOut().split(features, labels, groups):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-8, max_iter=10_000))
            held_out[held] = model.fit(features[fitted].astype(np.float64), labels[fitted]).predict_proba(
                features[held].astype(np.float64)
            )
        losses[c] = log_loss(labels, held_out)
    head = solve_head(features, labels, groups)
    assert head.num_folds == 5
    assert head.held_out_losses == pytest.approx(losses, abs=1e-5)
    assert head.c == min(losses, key=lambda c: losses[c])


def test_copies_in_one_group_do_not_loosen_the_penalty() -> None:
    generator = np.random.default_rng(0)
    features = np.repeat(generator.normal(size=(20, 30)), 6, axis=0)  # noise: there is nothing to learn
    labels = np.repeat(np.arange(20) % 2, 6)
    by_group = solve_head(features, labels, np.repeat(np.arange(20), 6))
    by_image = solve_head(features, labels, np.arange(120))
    # By image, a copy of every held-out image is fitted, and the loosest penalty recognises it.
    assert by_group.c <= 1e-2
    assert by_image.c == GRID[-1]


def test_equal_losses_give_the_smaller_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic_regression, "_held_out_loss", lambda *_: 0.5)
    features, labels = blobs(2)
    assert solve_head(features, labels, np.arange(len(labels))).c == GRID[0]


def test_folds_are_as_many_as_the_rarest_class_has_groups() -> None:
    features, labels = blobs(2, num_images=20)
    groups = np.where(labels == 0, np.arange(20) % 3, 10 + np.arange(20))
    assert solve_head(features, labels, groups).num_folds == 3


def test_too_few_groups_give_the_stated_c() -> None:
    features, labels = blobs(2)
    head = solve_head(features, labels, labels)  # a group a class: no fold leaves both classes to fit
    assert (head.c, head.num_folds, head.held_out_losses) == (FIXED_C, 0, {})


def test_names_of_groups_do_not_count() -> None:
    features, labels = blobs(2)
    groups = np.arange(len(labels)) // 2
    one, other = (solve_head(features, labels, codes) for codes in (groups, groups * 7 + 5))
    assert one.weight.tobytes() == other.weight.tobytes()


def test_class_weights_undo_a_class_that_is_nine_times_as_frequent() -> None:
    features, labels = np.zeros((100, 2)), np.repeat([0, 1], [90, 10])
    plain, weighted = (solve_head(features, labels, np.arange(100), class_weights=on) for on in (False, True))
    assert plain.bias[0] - plain.bias[1] == pytest.approx(np.log(9), abs=1e-3)
    assert weighted.bias[0] - weighted.bias[1] == pytest.approx(0, abs=1e-3)


def test_cross_entropy_is_the_hand_computed_one() -> None:
    logits = np.log([[0.25, 0.75], [0.5, 0.5]])
    assert mean_cross_entropy(logits, np.array([1, 0])) == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
