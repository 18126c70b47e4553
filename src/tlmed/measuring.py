"""From predictions to `metrics.json`: every figure of a run, each beside what qualifies it. Imports no torch.

What takes seconds (intervals, baselines, whether the model follows a shortcut) is computed once for the same
predictions and kept in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlmed.audit.baselines import baseline_predictions
from tlmed.audit.shortcuts import border_score
from tlmed.audit.thumbnails import Thumbnails, make_thumbnails
from tlmed.audit.usage import check_usage
from tlmed.data.manifest import Manifest, metadata_columns
from tlmed.data.prepare import PreparedImages
from tlmed.errors import InputError
from tlmed.evaluation.assessment.drift import input_summary
from tlmed.evaluation.comparison.compare import compare_arms
from tlmed.evaluation.comparison.contrasts import Asked
from tlmed.evaluation.comparison.recipe_question import arms_without_chance, asked_of_recipe
from tlmed.evaluation.decisions.calibrated_metrics import measure_calibrated
from tlmed.evaluation.estimates.baseline_comparison import compare_with_baselines
from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.external import ExternalPredictions
from tlmed.recipe.recipe import Recipe, image_of, training_of
from tlmed.runtime.digests import source_digest
from tlmed.runtime.store import Store, content_key, write_json_durably
from tlmed.transfer.plan import NO_FOLD, ChainPlan

MEASUREMENTS = "measurements"
_METRICS, _COMPARISON, _INPUT = "metrics.json", "comparison.json", "input.json"
_HEADERS = ["width", "height", "ratio", "mode", "format"]


@dataclass(frozen=True, eq=False)
class Measured:
    """What a run is measured on.

    Attributes:
        target: whose test rows, or out-of-fold rows, the predictions are of; table with `digest`.
        plan: trained.
        predictions: of every arm, seed and fold.
        images: decoded, of the target.
        external: by set.
        flagged: paths of rows that waived findings are about; every headline is also given without them.
    """

    target: Manifest
    plan: ChainPlan
    predictions: pd.DataFrame
    images: PreparedImages
    external: Mapping[str, ExternalPredictions]
    flagged: Collection[str] = ()

    @property
    def groups_known(self) -> bool:
        """Whether something says which images of the target belong together."""
        return self.target.group_column is not None


@dataclass(frozen=True)
class Measurements:
    """What was found.

    Attributes:
        key: in the store, under the kind `measurements`.
        metrics: content of `metrics.json`.
        comparison: of the arms; None where there is nothing to compare.
        input_summary: of the images trained on, for later comparison with others; see `evaluation.drift`.
    """

    key: str
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    input_summary: dict[str, Any]


def measure_once(recipe: Recipe, measured: Measured, store: Store) -> Measurements:
    """Measure a run, or take from the store what was found when it was measured before."""
    asked = asked_of_recipe(recipe, measured.predictions["arm"].unique())
    key = content_key(
        {
            "code": source_digest("evaluation", "audit", "measuring.py"),
            "evaluation": recipe.evaluation.model_dump(mode="json", exclude={"seeds", "external"}),
            "fixed_seeds": _fixed_stages(recipe),
            "weighted": _is_weighted(recipe),
            "asked": None if asked is None else asdict(asked),
            "deterministic": arms_without_chance(recipe),
            "delivered": recipe.delivered_arm,
            "image": image_of(recipe, recipe.target).model_dump(mode="json"),
            "target": _table_digest(measured.target.table.drop(columns="file")),
            "groups_known": measured.groups_known,
            "predictions": _table_digest(measured.predictions),
            "external": {
                name: [_table_digest(one.table), one.num_unreadable, one.groups_known]
                for name, one in measured.external.items()
            },
            "flagged": sorted(measured.flagged),
        }
    )
    if not store.is_complete(MEASUREMENTS, key):
        with store.publish(MEASUREMENTS, key) as folder:
            if not store.is_complete(MEASUREMENTS, key):
                thumbnails = _thumbnails(recipe, measured.target, store)
                write_json_durably(folder / _METRICS, _measure(recipe, measured, thumbnails))
                write_json_durably(folder / _COMPARISON, _compare(recipe, measured, asked))
                write_json_durably(folder / _INPUT, _summarise_input(measured, thumbnails))
    metrics, comparison, summary = (
        json.loads((store.folder(MEASUREMENTS, key) / name).read_text(encoding="utf-8"))
        for name in (_METRICS, _COMPARISON, _INPUT)
    )
    return Measurements(key, metrics, comparison, summary)


def _measure(recipe: Recipe, measured: Measured, thumbnails: Thumbnails) -> dict[str, Any]:
    evaluation, predictions = recipe.evaluation, measured.predictions
    metrics = _evaluate(recipe, predictions, groups_known=measured.groups_known)
    metrics["interval"] += _seeds_in_words(recipe, predictions)
    metrics["delivered"] = _compared_arm(recipe, predictions)
    metrics["weighted_training"] = _is_weighted(recipe)
    metrics["protocol"] = evaluation.protocol.model_dump(mode="json")
    metrics |= _measure_calibrated(recipe, predictions)
    if evaluation.protocol.split == "leave-one-source-out":
        metrics["by_source"] = _measure_by_source(recipe, measured)
    metrics["baselines"] = _compare_with_baselines(recipe, measured, thumbnails)
    metrics["usage"] = _check_usage(recipe, measured, thumbnails)
    if measured.flagged:
        metrics["without_flagged"] = _measure_without_flagged(recipe, measured)
    metrics["external"] = {
        name: {"num_unreadable": one.num_unreadable, **_measure_external(recipe, predictions, one)}
        for name, one in measured.external.items()
    }
    return metrics


def _compare(recipe: Recipe, measured: Measured, asked: Asked | None) -> dict[str, Any] | None:
    evaluation = recipe.evaluation
    if asked is None:
        return None
    return compare_arms(
        measured.predictions,
        asked,
        positive=evaluation.positive,
        unit=evaluation.unit,
        groups_known=measured.groups_known,
        split=evaluation.protocol.split,
        deterministic=arms_without_chance(recipe),
    )


def _evaluate(recipe: Recipe, predictions: pd.DataFrame, *, groups_known: bool) -> dict[str, Any]:
    evaluation = recipe.evaluation
    return evaluate_predictions(
        predictions,
        positive=evaluation.positive,
        unit=evaluation.unit,
        groups_known=groups_known,
        sampling=evaluation.sampling,
        prevalence=evaluation.prevalence,
    )


def _measure_by_source(recipe: Recipe, measured: Measured) -> dict[str, Any]:
    """Of each source, as a test set of its own for models that were not trained on it."""
    folds = measured.plan.folds
    assert folds is not None  # the protocol has some
    predictions = measured.predictions
    of_sources = {}
    for fold, source in enumerate(folds.names):
        rows = predictions[predictions["fold"] == fold].assign(fold=NO_FOLD)
        of_sources[source] = _evaluate(recipe, rows, groups_known=measured.groups_known)
    return of_sources


def _measure_without_flagged(recipe: Recipe, measured: Measured) -> dict[str, Any]:
    """Measure on what is left without the flagged images, or say why that cannot be done."""
    predictions = measured.predictions
    is_flagged = predictions["path"].isin(measured.flagged) & (predictions["split"] == "test")
    told: dict[str, Any] = {"num_flagged": int(predictions.loc[is_flagged, "path"].nunique())}
    try:
        return told | _evaluate(recipe, predictions[~is_flagged], groups_known=measured.groups_known)
    except InputError as error:
        return told | {"not_measured": str(error)}


def _measure_calibrated(recipe: Recipe, predictions: pd.DataFrame) -> dict[str, Any]:
    evaluation = recipe.evaluation
    return measure_calibrated(
        predictions,
        positive=evaluation.positive,
        calibration=evaluation.calibration,
        operating_points=evaluation.operating_points,
        sampling=evaluation.sampling,
        prevalence=evaluation.prevalence,
    )


def _measure_external(recipe: Recipe, predictions: pd.DataFrame, external: ExternalPredictions) -> dict[str, Any]:
    """With calibration and thresholds from here, unchanged there: out-of-fold rows stand in for val."""
    known = predictions if (predictions["fold"] < 0).all() else predictions.assign(split="val", fold=-1)
    fitted_on = known[known["split"] == "val"]
    held_out = fitted_on.merge(external.table[["arm", "seed"]].drop_duplicates(), on=["arm", "seed"])
    return {
        **_evaluate(recipe, external.table, groups_known=external.groups_known),
        **_measure_calibrated(recipe, pd.concat([held_out, external.table], ignore_index=True)),
    }


def _thumbnails(recipe: Recipe, target: Manifest, store: Store) -> Thumbnails:
    files = [Path(file) for file in target.table["file"]]
    value_range = image_of(recipe, recipe.target).value_range
    return make_thumbnails(files, target.table["digest"].tolist(), store, value_range=value_range)


def _summarise_input(measured: Measured, thumbnails: Thumbnails) -> dict[str, Any]:
    """Of the training rows; under folds every row is one."""
    trained = np.flatnonzero(measured.target.table["split"] == "train")
    table = measured.target.table.iloc[trained]
    rows = np.array([measured.images.row_of[digest] for digest in table["digest"]])
    headers = thumbnails.metadata.iloc[trained][_HEADERS].reset_index(drop=True)
    return input_summary(np.asarray(measured.images.pixels[rows]), headers, table["group"])


def _compare_with_baselines(recipe: Recipe, measured: Measured, thumbnails: Thumbnails) -> dict[str, Any]:
    evaluation, table, folds = recipe.evaluation, measured.target.table, measured.plan.folds
    held_out = None if folds is None else folds.rows(table)[["path", "seed", "fold"]].reset_index(drop=True)
    return compare_with_baselines(
        measured.predictions,
        baseline_predictions(table, thumbnails, held_out),
        arm=_compared_arm(recipe, measured.predictions),
        positive=evaluation.positive,
        unit=evaluation.unit,
        sampling=evaluation.sampling,
        prevalence=evaluation.prevalence,
    )


def _compared_arm(recipe: Recipe, predictions: pd.DataFrame) -> str:
    """The delivered arm, or the last one where a run (yet) lacks it."""
    arms = predictions["arm"].unique().tolist()
    return recipe.delivered_arm if recipe.delivered_arm in arms else str(arms[-1])


def _check_usage(recipe: Recipe, measured: Measured, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """For every arm with the truth in sight: whether its score follows a variable of files or table."""
    if recipe.evaluation.positive is None:
        return []
    table = measured.target.table
    columns = table[metadata_columns(table)].reset_index(drop=True)
    variables = pd.concat([thumbnails.metadata, columns.add_prefix("column ")], axis=1)
    variables["border score"] = border_score(table, thumbnails, positive=recipe.evaluation.positive).to_numpy()
    findings = check_usage(
        measured.predictions,
        variables.set_axis(table["path"]),
        positive=recipe.evaluation.positive,
        unit=recipe.evaluation.unit,
    )
    return [asdict(finding) for finding in findings]


def _is_weighted(recipe: Recipe) -> bool:
    """Whether the target's training makes the rarer class count for more, which distorts the probabilities."""
    training = training_of(recipe, recipe.target)
    return training.class_weights or training.sampling == "balanced"


def _fixed_stages(recipe: Recipe) -> list[str]:
    return [stage.name for stage in recipe.chain if stage.seed is not None]


def _seeds_in_words(recipe: Recipe, predictions: pd.DataFrame) -> str:
    said = ""
    fixed = _fixed_stages(recipe)
    if fixed:
        said += f" Stages with a seed of their own ({', '.join(fixed)}): this holds for that checkpoint."
    seeds = {str(arm): sorted(set(part["seed"])) for arm, part in predictions.groupby("arm", sort=False)}
    if len({tuple(of_arm) for of_arm in seeds.values()}) > 1:
        stated = "; ".join(f"{arm}: {', '.join(map(str, of_arm))}" for arm, of_arm in seeds.items())
        said += f" The arms have different seeds ({stated}), so they cannot be compared yet."
    return said


def _table_digest(table: pd.DataFrame) -> str:
    hashed = pd.util.hash_pandas_object(table.reset_index(drop=True), index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes() + "\0".join(map(str, table.columns)).encode()).hexdigest()
