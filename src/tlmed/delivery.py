"""From a finished run to its bundle: which stage is delivered, and all that is known about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tlmed.models.licences import licence_concern
from tlmed.models.weight_sources import WeightSource
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.store import Store
from tlmed.serving.bundle import render_model_card, write_bundle
from tlmed.transfer.plan import STAGES, ChainPlan, StageTask


def deliver_bundle(folder: Path, recipe: Recipe, plan: ChainPlan, metrics: dict[str, Any], store: Store) -> None:
    """Write the bundle of the delivered arm's first seed, where this run has that arm."""
    arm = recipe.delivered_arm
    seeds = [seed for name, seed in plan.last if name == arm]
    if not seeds:
        return
    seed = seeds[0]
    task = plan.tasks[plan.last[arm, seed]]
    stage_folder = store.folder(STAGES, task.key)
    stage = json.loads((stage_folder / "stage.json").read_text(encoding="utf-8"))
    card = {
        "name": recipe.name,
        "arm": arm,
        "seed": seed,
        "num_seeds": len(seeds),
        "backbone": recipe.backbone.model_dump(mode="json"),
        "classes": list(task.classes),
        "positive": recipe.evaluation.positive,
        "image": task.image.model_dump(mode="json"),
        "mean": task.image.mean,
        "std": task.image.std,
        "input_range": [0.0, 1.0],
        "calibration": None,
        "operating_points": [],
        "sampling": recipe.evaluation.sampling,
        "groups_known": metrics["groups_known"],
        "waived": list(recipe.waive),
        "synthetic": recipe.target.data.phantom is not None,
        "lineage": [_lineage_step(one) for one in task.lineage()],
        "licences": _licences(task),
        "digest": stage["digest"],
        "stage_key": task.key,
        "versions": stage["versions"],
    }
    write_bundle(folder, stage_folder / "model.safetensors", card, render_model_card(card, metrics))


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
