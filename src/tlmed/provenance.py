"""What the figures of a run come from: its images by split, its stages with their times, its training curves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.audit.chain import AuditReport
from tlmed.data.manifest import Manifest
from tlmed.domains import PreparedDomains
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.integrity import sealed_text
from tlmed.runtime.ledger import Registration
from tlmed.runtime.store import Store, write_durably, write_json_durably
from tlmed.transfer.plan import ChainPlan
from tlmed.transfer.stage_task import STAGES, StageTask

OUT_OF_FOLD = "out of fold"


def write_provenance(
    folder: Path, recipe: Recipe, audited: AuditReport, data: PreparedDomains, plan: ChainPlan, store: Store
) -> dict[str, Any]:
    """Write `domains.json`, `lineage.json` and `histories.csv`, once all stages are trained; returns the lineage.

    Raises:
        OSError: disk full; what was there before is intact.
    """
    domains = {name: _domain_card(recipe, name, domain, audited, data) for name, domain in data.manifests.items()}
    write_json_durably(folder / "domains.json", domains)
    lineage = _lineage(plan, store)
    write_json_durably(folder / "lineage.json", lineage)
    write_durably(folder / "histories.csv", _histories(plan, store).to_csv(index=False))
    return lineage


def completed_comparison(
    comparison: dict[str, Any] | None, registered: Registration | None, lineage: dict[str, Any]
) -> dict[str, Any] | None:
    """Return `comparison.json`: what was found, when it was asked, and what each arm cost."""
    if comparison is None or registered is None:
        return None
    return {**comparison, "registered": asdict(registered), "cost": _cost_of_arms(lineage)}


def _cost_of_arms(lineage: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return optimiser steps and seconds of all that an arm's chain trains, on average over its seeds and folds."""
    stages = lineage["stages"]
    costs: dict[str, list[tuple[int, float | None]]] = {}
    for fit in lineage["fits"]:
        chain, key = [], fit["key"]
        while key is not None:
            chain.append(stages[key])
            key = stages[key]["parent"]
        seconds = [stage["seconds"] for stage in chain]
        total = None if None in seconds else float(sum(seconds))
        costs.setdefault(fit["arm"], []).append((sum(stage["steps"] for stage in chain), total))
    return {
        arm: {
            "steps": sum(steps for steps, _ in of_fits) / len(of_fits),
            "seconds": None
            if any(seconds is None for _, seconds in of_fits)
            else sum(seconds for _, seconds in of_fits if seconds is not None) / len(of_fits),
        }
        for arm, of_fits in costs.items()
    }


def _domain_card(
    recipe: Recipe, name: str, domain: Manifest, audited: AuditReport, data: PreparedDomains
) -> dict[str, Any]:
    settings, table = recipe.stage(name).data, domain.table
    if name == recipe.target.name and recipe.evaluation.protocol.has_folds:
        table = table.assign(split=OUT_OF_FOLD)
    return {
        "source": _source(recipe, name),
        "synthetic": settings.phantom is not None,
        "licence": settings.licence,
        "reference": settings.reference,
        "group_column": domain.group_column,
        "num_images": _by_split(table, "path"),
        "num_units": _by_split(table, "unit"),
        "num_groups": _by_split(table, "group"),
        "num_groups_total": int(table["group"].nunique()),
        "num_dropped": int((audited.dropped["stage"] == name).sum()),
        "num_unreadable": int((data.skipped["stage"] == name).sum()),
    }


def _source(recipe: Recipe, name: str) -> str:
    """What the images are, without the way to them."""
    settings = recipe.stage(name).data
    if settings.phantom is not None:
        return f"synthetic images, {settings.phantom.kind}"
    place = settings.folder if settings.manifest is None else settings.manifest.parent
    return place.name if place is not None else name


def _by_split(table: pd.DataFrame, column: str) -> dict[str, dict[str, int]]:
    """How many different values of a column each split and class has; a group may hold several classes."""
    counts: dict[str, dict[str, int]] = {}
    for split, rows in table.groupby("split", sort=False):
        by_class = rows.groupby("label")[column].nunique()
        counts[str(split)] = {str(label): int(number) for label, number in by_class.items()}
    return counts


def _lineage(plan: ChainPlan, store: Store) -> dict[str, Any]:
    return {
        "stages": {key: _stage_card(task, store) for key, task in plan.tasks.items()},
        "fits": [{**fit._asdict(), "key": key} for fit, key in plan.last.items()],
    }


def _stage_card(task: StageTask, store: Store) -> dict[str, Any]:
    text = sealed_text(store.folder(STAGES, task.key), "stage.json")
    written = {} if text is None else json.loads(text)
    return {
        "name": task.stage.name,
        "strategy": task.strategy.kind,
        "seed": task.seed,
        "parent": None if task.parent is None else task.parent.key,
        "start": task.start,
        "route": task.route,
        "control": task.image.blanking or ("permuted-labels" if task.has_permuted_labels else None),
        "num_train_images": len(task.rows("train")),
        "num_val_images": len(task.rows("val")),
        "classes": list(task.classes),
        "epochs": task.training.epochs,
        "steps": written.get("num_steps", task.num_steps),
        "seconds": written.get("seconds"),
        "device": written.get("device"),
        "training": task.training_card(),
    }


def _histories(plan: ChainPlan, store: Store) -> pd.DataFrame:
    """Of every stage that takes steps; under folds of the stages that folds share alone."""
    of_folds = set(plan.last.values()) if plan.folds is not None else set()
    parts = [
        pd.read_csv(store.folder(STAGES, key) / "history.csv").assign(key=key)
        for key, task in plan.tasks.items()
        if task.strategy.kind != "logistic-regression" and key not in of_folds
    ]
    columns = ["key", "epoch", "learning_rate", "train_loss", "val_loss", "val_accuracy"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
