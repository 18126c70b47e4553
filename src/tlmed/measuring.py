"""From predictions to `metrics.json`: every figure of a run, each beside what qualifies it. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from tlmed.data.manifest import Manifest
from tlmed.evaluation.calibrated_metrics import measure_calibrated
from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.recipe.recipe import Recipe


def measure_run(
    recipe: Recipe,
    target: Manifest,
    predictions: pd.DataFrame,
    *,
    flagged: Collection[str] = (),
    external: Mapping[str, tuple[pd.DataFrame, int]],
    num_openings: int,
) -> dict[str, Any]:
    """Return the content of `metrics.json`.

    Args:
        target: whose test rows, or out-of-fold rows, the predictions are of.
        predictions: of every arm, seed and fold.
        flagged: paths of test rows that waived findings are about; every headline is also given without them.
        external: by set: predictions, and the number of unreadable images.
        num_openings: how often this test set was opened, this time included.
    """
    groups_known = target.group_column is not None
    metrics = _evaluate(recipe, predictions, groups_known=groups_known)
    metrics["interval"] += _seeds_in_words(recipe, predictions)
    evaluation = recipe.evaluation
    metrics |= measure_calibrated(
        predictions,
        positive=evaluation.positive,
        calibration=evaluation.calibration,
        operating_points=evaluation.operating_points,
        sampling=evaluation.sampling,
        prevalence=evaluation.prevalence,
    )
    metrics["protocol"] = recipe.evaluation.protocol.model_dump(mode="json")
    metrics["test_openings"] = num_openings
    if flagged:
        rest = predictions[~predictions["path"].isin(flagged)]
        metrics["without_flagged"] = {
            "num_flagged": int(predictions.loc[predictions["path"].isin(flagged), "path"].nunique()),
            **_evaluate(recipe, rest, groups_known=groups_known),
        }
    metrics["external"] = {
        name: {"num_unreadable": num_unreadable, **_evaluate(recipe, table, groups_known=groups_known)}
        for name, (table, num_unreadable) in external.items()
    }
    return metrics


def _evaluate(recipe: Recipe, predictions: pd.DataFrame, *, groups_known: bool) -> dict[str, Any]:
    evaluation = recipe.evaluation
    return evaluate_predictions(
        predictions, positive=evaluation.positive, unit=evaluation.unit, groups_known=groups_known
    )


def _seeds_in_words(recipe: Recipe, predictions: pd.DataFrame) -> str:
    said = ""
    fixed = [stage.name for stage in recipe.chain if stage.seed is not None]
    if fixed:
        said += f" Stages with a seed of their own ({', '.join(fixed)}): this holds for that checkpoint."
    seeds = {str(arm): sorted(set(part["seed"])) for arm, part in predictions.groupby("arm", sort=False)}
    if len({tuple(of_arm) for of_arm in seeds.values()}) > 1:
        stated = "; ".join(f"{arm}: {', '.join(map(str, of_arm))}" for arm, of_arm in seeds.items())
        said += f" The arms have different seeds ({stated}), so they cannot be compared yet."
    return said
