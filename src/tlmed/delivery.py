"""From a finished run to its bundle: which stages are delivered, and all that is known about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.evaluation.decisions.held_out_fit import fit_held_out
from tlmed.models.licences import licence_concern
from tlmed.models.weight_sources import MODEL_FILE, WeightSource
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.digests import short_digest
from tlmed.runtime.store import Store
from tlmed.serving.bundle import render_model_card, write_bundle
from tlmed.transfer.plan import ChainPlan, Fit
from tlmed.transfer.stage_task import STAGES, StageTask


def deliver_bundle(
    folder: Path,
    recipe: Recipe,
    plan: ChainPlan,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    input_summary: dict[str, Any],
    store: Store,
) -> None:
    """Write the bundle of the delivered arm's first seed, where this run has that arm.

    After folds it is the mean of the fold models of that seed, or with `bundle: refit` the model of all rows.

    Args:
        folder: the bundle.
        recipe: resolved.
        plan: trained.
        predictions: of the plan, before calibration.
        metrics: content of `metrics.json`, with what `measure_calibrated` returns.
        input_summary: of the images trained on, see `evaluation.drift.input_summary`.
        store: holds the stages.
    """
    arm = recipe.delivered_arm
    seeds = list(dict.fromkeys(fit.seed for fit in plan.last if fit.arm == arm))
    if not seeds:
        return
    whole = Fit(arm, seeds[0])
    delivered = [whole] if whole in plan.last else sorted(fit for fit in plan.last if fit[:2] == whole[:2])
    tasks = [plan.tasks[plan.last[fit]] for fit in delivered]
    folders = [store.folder(STAGES, task.key) for task in tasks]
    stages = [json.loads((one / "stage.json").read_text(encoding="utf-8")) for one in folders]
    rule = fit_held_out(
        predictions[(predictions["arm"] == arm) & (predictions["seed"] == whole.seed)],
        positive=recipe.evaluation.positive,
        calibration=recipe.evaluation.calibration,
        operating_points=recipe.evaluation.operating_points,
    ).to_card()
    rule["calibration"]["transferred"] = recipe.evaluation.protocol.has_folds and delivered == [whole]
    card = {
        "name": recipe.name,
        "arm": arm,
        "seed": whole.seed,
        "num_seeds": len(seeds),
        "num_members": len(delivered),
        **_input_of(recipe, tasks[0]),
        **rule,
        "input_summary": input_summary,
        "trained_on": _trained_on(tasks),
        "unit": recipe.evaluation.unit,
        "sampling": recipe.evaluation.sampling,
        "stated_prevalence": recipe.evaluation.prevalence,
        "groups_known": metrics["groups_known"],
        "waived": list(recipe.waive),
        "synthetic": recipe.target.data.phantom is not None,
        "lineage": [_lineage_step(one) for one in tasks[0].lineage()],
        "licences": _licences(tasks[0]),
        "members": [
            {"fold": fit.fold, "stage_key": task.key, "digest": stage["digest"]}
            for fit, task, stage in zip(delivered, tasks, stages, strict=True)
        ],
        "versions": stages[0]["versions"],
    }
    write_bundle(folder, [one / MODEL_FILE for one in folders], card, render_model_card(card, metrics))


def _input_of(recipe: Recipe, task: StageTask) -> dict[str, Any]:
    """What the network is, and what it takes."""
    return {
        "backbone": recipe.backbone.model_dump(mode="json"),
        "image": task.image.model_dump(mode="json"),
        "mean": task.image.mean,
        "std": task.image.std,
        "input_range": [0.0, 1.0],
    }


def _trained_on(tasks: Sequence[StageTask]) -> list[str]:
    """The beginnings of the digests of every image that any stage trained on or validated: no test for this bundle."""
    seen = {digest for task in tasks for step in task.lineage() for digest in step.table["digest"]}
    return sorted(short_digest(digest) for digest in seen)


def _lineage_step(task: StageTask) -> dict[str, Any]:
    return {
        "name": task.stage.name,
        "start": task.start if task.parent is None else f"stage {task.parent.stage.name}",
        "key": task.key,
        "seed": task.seed,
        "num_train_images": len(task.rows("train")),
        "num_val_images": len(task.rows("val")),
        "classes": list(task.classes),
        "weights": task.weights.card() if task.weights is not None else None,
    }


def _licences(task: StageTask) -> list[dict[str, str | None]]:
    source = task.lineage()[0].weights
    return [
        *([_weights_licence(source)] if source is not None else []),
        *({"what": f"images of the domain {one.stage.name}", "licence": _data_licence(one)} for one in task.lineage()),
    ]


def _weights_licence(source: WeightSource) -> dict[str, str | None]:
    revision = f" at revision {source.revision}" if source.revision else ""
    return {
        "what": f"starting weights {source.card()['spec']}{revision}",
        "licence": source.licence,
        "concern": licence_concern(source.licence, gated=source.gated),
    }


def _data_licence(task: StageTask) -> str | None:
    return "synthetic, made by tlmed" if task.stage.data.phantom is not None else None
