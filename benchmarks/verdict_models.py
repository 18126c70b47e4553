"""Comparisons of small models that are really fitted, of arms between which there is no difference.

A patient has variables that both arms see and two blocks of others, drawn alike; the first arm sees one block, the
second the other. Over training sets the arms are therefore equally good, and yet differ on each patient and by each
training set. For one training set they are equally good where it holds every patient a second time with the blocks
exchanged: both arms then learn from the same rows, and differ by seed and by what they see of a new patient.

The model is logistic regression, on the variables or on random features of them (ReLU), which a seed draws.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import expit

from tlmed.evaluation.comparison.claims import (
    ArmFigures,
    Claim,
    claim_over_seeds,
    claim_over_training_sets,
    refuses_training_set_claim,
)
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.auroc import auroc, placements
from tlmed.evaluation.statistics.jackknife import leave_one_group_out_aurocs

NUM_SHARED, NUM_OWN, NUM_FEATURES = 6, 6, 25
DISTANCE = 0.4
CONTRAST = {"first": 1.0, "second": -1.0}


@dataclasses.dataclass(frozen=True)
class RefittedSeeds:
    """Claim (b): models on random features, drawn by seed, trained on 40 + 40 patients and their mirror images.

    Attributes:
        num_groups: positive and negative patients, in test.
        num_seeds: of each arm.
        is_same: whether both arms see the first block: one arm twice, with other seeds.
    """

    num_groups: tuple[int, int]
    num_seeds: int
    is_same: bool

    def columns(self) -> dict[str, str]:
        return {
            "groups": f"{self.num_groups[0]} + {self.num_groups[1]}",
            "design": f"{self.num_seeds} seeds",
            "AUROC": "fitted",
            "training": "one arm twice, other seeds" if self.is_same else "two views of a patient",
        }

    def refusal(self) -> str | None:
        return None

    def compare(self, generator: np.random.Generator) -> Claim | None:
        views, labels = draw_patients((40, 40), generator)
        rows, labels = np.concatenate(views), np.concatenate([labels, labels])
        tested, of_tested = draw_patients(self.num_groups, generator)
        is_positive = of_tested == 1
        arms = {}
        for arm, view in zip(CONTRAST, (tested[0], tested[0 if self.is_same else 1]), strict=True):
            scores = np.stack([fit_and_score(rows, labels, view, generator) for _ in range(self.num_seeds)])
            seeds = tuple(f"{arm} {seed}" if self.is_same else seed for seed in range(self.num_seeds))
            values = placements(is_positive, scores)[0].mean(axis=1)
            arms[arm] = ArmFigures(seeds, values, leave_one_group_out_aurocs(is_positive, scores))
        return claim_over_seeds(CONTRAST, arms)


@dataclasses.dataclass(frozen=True)
class RefittedFolds:
    """Claim (c): a new training set in each comparison.

    Attributes:
        num_groups: positive and negative patients, in all.
        num_folds: of a repeat.
        num_repeats: of the division.
        is_seeded: whether models are on random features, drawn anew for each.
    """

    num_groups: tuple[int, int]
    num_folds: int
    num_repeats: int
    is_seeded: bool

    def columns(self) -> dict[str, str]:
        return {
            "groups": f"{self.num_groups[0]} + {self.num_groups[1]}",
            "design": f"{self.num_folds} folds x {self.num_repeats}",
            "AUROC": "fitted",
            "training": "random features" if self.is_seeded else "the variables",
        }

    def refusal(self) -> str | None:
        return refuses_training_set_claim(num_folds=self.num_folds, num_repeats=self.num_repeats)

    def compare(self, generator: np.random.Generator) -> Claim | None:
        views, labels = draw_patients(self.num_groups, generator)
        of_features = generator if self.is_seeded else None
        differences = []
        for _ in range(self.num_repeats):
            folds = np.concatenate([generator.permutation(np.arange(one) % self.num_folds) for one in self.num_groups])
            for fold in range(self.num_folds):
                test, train = folds == fold, folds != fold
                of_arms = [
                    auroc(labels[test], fit_and_score(view[train], labels[train], view[test], of_features))
                    for view in views
                ]
                differences.append(of_arms[0] - of_arms[1])
        num_test = len(labels) / self.num_folds
        return claim_over_training_sets(np.array(differences), num_train=len(labels) - num_test, num_test=num_test)


def draw_patients(
    num_groups: tuple[int, int], generator: np.random.Generator
) -> tuple[tuple[Floats, Floats], Integers]:
    """Two (N, V) views, and (N,) labels: positives first."""
    labels = np.repeat([1, 0], num_groups)

    def draw(number: int) -> Floats:
        return np.asarray(generator.normal(size=(len(labels), number)) + DISTANCE * labels[:, None])

    shared = draw(NUM_SHARED)
    first, second = (np.concatenate([shared, draw(NUM_OWN)], axis=1) for _ in range(2))
    return (first, second), labels


def fit_and_score(rows: Floats, labels: Integers, tested: Floats, of_features: np.random.Generator | None) -> Floats:
    """Scores of the rows that are tested, by a model on the variables or, with a generator, on random features."""
    if of_features is not None:
        directions = of_features.normal(size=(rows.shape[1], NUM_FEATURES)) / np.sqrt(rows.shape[1])
        offsets = of_features.normal(size=NUM_FEATURES)
        rows, tested = (np.maximum(one @ directions + offsets, 0) for one in (rows, tested))
    coefficients = fit_logistic_regression(rows, labels)
    return np.asarray(tested @ coefficients[1:] + coefficients[0])


def fit_logistic_regression(rows: Floats, labels: Integers) -> Floats:
    """(1 + V,) intercept and coefficients, by Newton's steps; scikit-learn's with C = 1, in a tenth of the time."""
    design = np.column_stack([np.ones(len(rows)), rows])
    penalty = np.diag([0.0] + [1.0] * rows.shape[1])
    coefficients = np.zeros(design.shape[1])
    for _ in range(8):
        shares = expit(design @ coefficients)
        information = (design * (shares * (1 - shares))[:, None]).T @ design + penalty
        gradient = design.T @ (labels - shares) - penalty @ coefficients
        coefficients += np.linalg.solve(information, gradient)
    return coefficients
