"""Nested choice of settings: each training set chooses for itself, by inner folds that hold groups out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlmed.data.folds import stratified_folds
from tlmed.data.manifest import Manifest
from tlmed.data.prepare import PreparedImages, images_name
from tlmed.evaluation.evaluate import aggregate_units
from tlmed.evaluation.statistics.multiclass_auroc import one_vs_rest_auroc
from tlmed.recipe.recipe import Arm, Recipe, candidate_target, training_of
from tlmed.runtime.store import Store
from tlmed.transfer.chain import train_chain
from tlmed.transfer.plan import ChainLayout, ChainPlan, Fit
from tlmed.transfer.predictions import predict_rows
from tlmed.transfer.stage_task import StageTask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What one training set chose.

    Attributes:
        candidate: the one with the highest mean; of equal ones the first.
        inner_auroc: mean over the inner folds, by candidate.
    """

    candidate: str
    inner_auroc: dict[str, float]


@dataclass(frozen=True)
class _InnerFit:
    """One inner training: of a candidate, without an inner fold."""

    fit: Fit
    candidate: str
    task: StageTask
    held_out: pd.DataFrame


@dataclass(frozen=True)
class InnerPlan:
    """All inner trainings of a run."""

    tasks: dict[str, StageTask]
    fits: list[_InnerFit]


def plan_choice(recipe: Recipe, domains: Mapping[str, Manifest], outer: ChainPlan, store: Store) -> InnerPlan:
    """Lay out the inner trainings; none where the recipe chooses nothing.

    Args:
        recipe: resolved.
        domains: by stage.
        outer: the plan of the recipe's own settings, whose fits choose.
        store: that holds the stages.

    Raises:
        InputError: an inner fold cannot hold every class, and what `plan_chain` refuses.
    """
    choose = recipe.evaluation.choose
    if choose is None:
        return InnerPlan({}, [])
    laying = ChainLayout(recipe, domains, [fit.arm for fit in outer.last], store)
    target = domains[recipe.target.name].table
    inner = []
    for fit in outer.last:
        rows = target if outer.folds is None else target[outer.folds.of_seed[fit.seed] != fit.fold]
        train = rows[rows["split"] == "train"]
        seed = [recipe.evaluation.protocol.seed, fit.seed, fit.fold + 1]
        folds = stratified_folds(train, choose.folds, seed, name=f"{recipe.target.name}, inner choice")
        if not _has_choice(recipe, laying.arms[fit.arm]):
            continue
        for fold in range(choose.folds):
            for candidate in choose.among:
                task = laying.add(fit.arm, fit.seed, train[folds != fold], candidate)
                inner.append(_InnerFit(fit, candidate, task, train[folds == fold]))
    return InnerPlan(laying.tasks, inner)


def _has_choice(recipe: Recipe, arm: Arm) -> bool:
    """Whether candidates differ in anything that the arm reads: logistic regression takes no steps."""
    choose = recipe.evaluation.choose
    trainings = [] if choose is None else [training_of(recipe, candidate_target(recipe, name)) for name in choose.among]
    is_solved = arm.strategy.kind == "logistic-regression"
    read = [training.class_weights if is_solved else training for training in trainings]
    return any(one != read[0] for one in read)


def choose_settings(plan: InnerPlan, images: Mapping[str, PreparedImages], store: Store) -> dict[Fit, Choice]:
    """Train what is missing and let each training set choose.

    Raises:
        InputError, Stopped: as `train_chain`.
    """
    if plan.fits:
        log.info("choosing settings within each training set: %d inner trainings", len(plan.tasks))
    train_chain(ChainPlan(plan.tasks, {}), images, store)
    of_candidates: dict[Fit, dict[str, list[float]]] = {}
    for one in plan.fits:
        auroc = _auroc(one, images[images_name(one.task.stage.name, one.task.image)], store)
        of_candidates.setdefault(one.fit, {}).setdefault(one.candidate, []).append(auroc)
    choices = {}
    for fit, by_candidate in of_candidates.items():
        means = {candidate: float(np.mean(of_folds)) for candidate, of_folds in by_candidate.items()}
        choices[fit] = Choice(max(means, key=means.__getitem__), means)
    return choices


def choices_card(choices: Mapping[Fit, Choice]) -> list[dict[str, Any]]:
    """Return a JSON-able row a fit: arm, seed, fold, candidate, inner_auroc."""
    return [{**fit._asdict(), **asdict(choice)} for fit, choice in choices.items()]


def _auroc(one: _InnerFit, images: PreparedImages, store: Store) -> float:
    """By unit; with more than two classes each against the rest, averaged."""
    table = one.held_out.reset_index(drop=True)
    probabilities = predict_rows(one.task, table, images, store)
    columns = {f"p_{name}": probabilities[:, position] for position, name in enumerate(one.task.classes)}
    units = aggregate_units(table[["unit", "group", "label"]].assign(**columns))
    labels = np.array([one.task.classes.index(label) for label in units["label"]])
    return one_vs_rest_auroc(labels, units[list(columns)].to_numpy())
