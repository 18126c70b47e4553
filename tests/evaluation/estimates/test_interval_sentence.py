from __future__ import annotations

import numpy as np

from tlmed.evaluation.estimates.figure_cells import Cell
from tlmed.evaluation.estimates.interval_sentence import describe_intervals
from tlmed.evaluation.estimates.unit_scores import SeedScores, UnitScores
from tlmed.evaluation.metrics import Scored

_WITH, _FEW = {"auroc": Cell(0.8, 0.7, 0.9, "Wilson")}, {"auroc": Cell(0.8, too_few="too few groups")}


def _scores(num_seeds: int = 1, *, folds: bool = False, num_units: int = 40, alike: str | None = None) -> UnitScores:
    labels = np.arange(num_units) % 2
    scored = Scored(labels, np.full((num_units, 2), 0.5), 1)
    of_units = np.arange(num_units) // 8 if folds else None
    seeds = [SeedScores(seed, scored, of_units) for seed in range(num_seeds)]
    alike_arms = [] if alike is None else [alike]
    return UnitScores(("well", "sick"), labels, np.arange(num_units), {"model": seeds}, alike_arms)


def test_a_fixed_test_set_is_said_to_cover_cases_and_several_seeds_training_too() -> None:
    one = describe_intervals(_scores(), {"model": _WITH}, "image", groups_known=True)
    assert one.startswith("95 % intervals by the 40 groups in test (shares: Wilson; AUROC: DeLong or Obuchowski;")
    assert one.endswith("one seed, so they cover the choice of cases, not the chance of training.")
    several = describe_intervals(_scores(3), {"model": _WITH}, "image", groups_known=True)
    assert several.endswith("by the 3 seeds: they cover the choice of cases and the chance of training.")


def test_folds_are_said_to_be_approximate_and_why() -> None:
    text = describe_intervals(_scores(2, folds=True), {"model": _WITH}, "image", groups_known=True)
    assert "tested once in each of 2 repeats, in 5 folds, by a model that was not trained on it" in text
    assert "approximate, because the folds' models share training data" in text
    assert "pooled scores of several models are no one model's" in text
    once = describe_intervals(_scores(folds=True), {"model": _WITH}, "image", groups_known=True)
    assert "tested once, in 5 folds" in once


def test_no_intervals_are_explained_and_not_described() -> None:
    text = describe_intervals(_scores(num_units=12), {"model": _FEW}, "image", groups_known=True)
    assert "95 %" not in text
    assert text.endswith("they need at least 10 groups of each class (well: 6, sick: 6).")
    of_shares = describe_intervals(_scores(), {"model": {**_WITH, "ppv": _FEW["auroc"]}}, "image", groups_known=True)
    assert of_shares.endswith(
        "Too few groups or folds for an interval of ppv; metrics.json says how many it takes, under `too_few`."
    )


def test_folds_without_intervals_are_described_all_the_same() -> None:
    text = describe_intervals(_scores(folds=True), {"model": _FEW}, "image", groups_known=True)
    assert text.startswith("Each of the 40 groups was tested once, in 5 folds")
    assert "95 %" not in text
    assert "an interval of auroc;" in text


def test_units_are_not_called_groups_where_groups_are_unknown() -> None:
    of_folds = describe_intervals(_scores(folds=True), {"model": _WITH}, "image", groups_known=False)
    assert of_folds.startswith("Each of the 40 images was tested once, in 5 folds")
    assert "the 40 units by study in test" in describe_intervals(
        _scores(), {"model": _WITH}, "study", groups_known=False
    )
    assert "by the 40 units in test" in describe_intervals(_scores(), {"model": _WITH}, "unit", groups_known=False)


def test_unknown_groups_and_alike_seeds_are_said() -> None:
    text = describe_intervals(_scores(alike="probe"), {"model": _WITH}, "image", groups_known=False)
    assert "All seeds come to the same in probe: that counts as one seed." in text
    assert "Groups are unknown: each image is its own, so the figures are image-level; leakage cannot be excl" in text
