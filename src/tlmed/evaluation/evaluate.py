"""The predictions table to `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tlmed.errors import InputError
from tlmed.evaluation.estimates.across_folds import estimate_over_folds
from tlmed.evaluation.estimates.figure_cells import Cell, Conditions
from tlmed.evaluation.estimates.fixed_split import estimate_on_fixed_test
from tlmed.evaluation.estimates.interval_sentence import describe_intervals
from tlmed.evaluation.estimates.prediction_table import aggregate_units, read_test_rows, with_images_as_units
from tlmed.evaluation.estimates.unit_scores import SeedScores, UnitScores, score_units
from tlmed.evaluation.metrics import Integers
from tlmed.evaluation.statistics.prevalence import Sampling

__all__ = ["aggregate_units", "check_prevalence", "estimate_arm", "evaluate_predictions"]

_IMAGE = "image"


def evaluate_predictions(
    predictions: pd.DataFrame,
    *,
    positive: str | Sequence[str] | None,
    unit: str,
    groups_known: bool | None = None,
    sampling: Sampling = "unknown",
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Measure every arm on the test rows.

    Args:
        predictions: a row an image, arm and seed. Needed: `unit`, `label` and the `p_<class>` columns. A table without
            `split` is test rows alone; without `arm`, one arm called `model`; without `seed`, one seed; without
            `group`, each unit is its own group; without `fold`, or with -1, a fixed test set.
        positive: the class that counts as disease, needed with two classes; without effect with more, where metrics are
            macro averages. A list of classes: their probabilities are summed, and figures are those of two classes.
        unit: what a decision is about, the name of what the `unit` column holds.
        groups_known: False where the `group` column is a stand-in; default: whether there is such a column.
        sampling: how the cases came together; unless `consecutive`, figures that depend on the prevalence are
            re-weighted to the stated one, or marked.
        prevalence: of disease where the model is to be used, if stated.

    Returns:
        The content of `metrics.json`: `positive` (None for macro averages), `unit`, `num_units`, `num_groups`,
        `num_units_by_class`, `groups_known`, `sampling`, `prevalence`, `num_folds` (None with a fixed test set),
        `left_out_of_macro` (classes that fewer than 10 groups hold), `interval` (what the intervals cover), `undefined`
        (ARM/METRIC without a value), `arms` {ARM: {METRIC: cell}}, and `by_unit` {UNIT: same as arms}, which holds
        `image` too where that is another unit and the table has paths. A cell is a `figure_cells.Cell` as JSON.

    Raises:
        InputError: the table is malformed, `positive` is missing or no class, a unit has two labels, the test rows or a
            fold hold one class, arms or seeds are not over the same units, or the prevalence is none.
    """
    tested = read_test_rows(predictions, positive, unit)
    check_prevalence(prevalence, tested.classes)
    scores = score_units(tested)
    conditions = Conditions(tested.classes, sampling, prevalence)
    arms = _estimate_arms(scores, conditions)
    by_unit = {unit: arms}
    images = with_images_as_units(tested) if unit != _IMAGE else None
    if images is not None:
        by_unit[_IMAGE] = _estimate_arms(score_units(images), conditions)
    known = "group" in predictions if groups_known is None else groups_known
    return {
        "positive": tested.stated_positive,
        "unit": unit,
        "num_units": len(scores.labels),
        "num_groups": scores.num_groups,
        "num_units_by_class": {name: int((scores.labels == index).sum()) for index, name in enumerate(tested.classes)},
        "groups_known": known,
        "sampling": sampling,
        "prevalence": prevalence,
        "num_folds": scores.num_folds,
        "left_out_of_macro": scores.left_out_of_macro,
        "interval": describe_intervals(scores, arms, unit, groups_known=known) + _unused(prevalence, sampling, scores),
        "undefined": [f"{arm}/{name}" for arm, row in arms.items() for name, cell in row.items() if cell.value is None],
        "arms": _as_json(arms),
        "by_unit": {name: _as_json(of_unit) for name, of_unit in by_unit.items()},
    }


def estimate_arm(seeds: Sequence[SeedScores], groups: Integers, conditions: Conditions) -> dict[str, Cell]:
    """Return every figure of one arm, on a fixed test set or over folds."""
    if seeds[0].folds is None:
        return estimate_on_fixed_test([one.part for one in seeds], groups, conditions)
    return estimate_over_folds(seeds, groups, conditions)


def check_prevalence(prevalence: float | None, classes: Sequence[str]) -> None:
    """Raise InputError unless a stated prevalence can be one, of two classes."""
    if prevalence is None:
        return
    if not 0 < prevalence < 1:
        raise InputError(f"prevalence: {prevalence:g} is none; state the share of disease, between 0 and 1.")
    if len(classes) > 2:
        raise InputError(
            f"prevalence: it is of one disease, and the predictions have {len(classes)} classes; say which of them "
            "count as disease by a list, such as positive: [A, B], or leave the prevalence out."
        )


def _unused(prevalence: float | None, sampling: Sampling, scores: UnitScores) -> str:
    """The sentence that says so where a stated prevalence has no effect."""
    if prevalence is None or sampling != "consecutive":
        return ""
    shares = ", ".join(f"{name} {(scores.labels == index).mean():.2g}" for index, name in enumerate(scores.classes))
    return (
        f" The stated prevalence of {prevalence:g} has no effect: the cases are consecutive, so what depends on the "
        f"prevalence is given at theirs ({shares})."
    )


def _estimate_arms(scores: UnitScores, conditions: Conditions) -> dict[str, dict[str, Cell]]:
    return {arm: estimate_arm(seeds, scores.groups, conditions) for arm, seeds in scores.arms.items()}


def _as_json(arms: dict[str, dict[str, Cell]]) -> dict[str, dict[str, dict[str, Any]]]:
    return {arm: {name: cell.as_json() for name, cell in row.items()} for arm, row in arms.items()}
