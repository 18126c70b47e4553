"""The chain as a graph of stage tasks, each under the key that determines its weights. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from tlmed.data.folds import Folds, draw_folds
from tlmed.data.manifest import Manifest
from tlmed.data.permuting import permute_labels
from tlmed.errors import InputError
from tlmed.models.weight_sources import WeightSource, find_weights, weights_from_stage
from tlmed.recipe.model import IMAGENET_MEAN, IMAGENET_STD, ImageSettings
from tlmed.recipe.recipe import (
    GENERIC_STAGE,
    Arm,
    Recipe,
    StageSettings,
    image_of,
    merge,
    primary_pair,
    resolve_arms,
    target_of,
    training_of,
)
from tlmed.recipe.training import StrategySettings, num_batches_per_epoch
from tlmed.runtime.integrity import find_damage, sealed_text
from tlmed.runtime.store import Store
from tlmed.transfer.stage_task import STAGES, StageTask

NO_FOLD = -1


class Fit(NamedTuple):
    """One training of an arm.

    Attributes:
        seed: of all it draws; under repeated folds, of the repeat.
        fold: that it is trained without; -1 where there are no folds, and for a refit on all rows.
    """

    arm: str
    seed: int
    fold: int = NO_FOLD


@dataclass(frozen=True)
class ChainPlan:
    """All stage tasks of a run.

    Attributes:
        tasks: by key, parents before children; what arms share stands once.
        last: the key of each fit's target stage.
        folds: which fold holds each row of the target out, where there are folds.
    """

    tasks: dict[str, StageTask]
    last: dict[Fit, str]
    folds: Folds | None = None

    def seeds_of(self, key: str) -> list[int]:
        """The run's seeds whose chains have this task."""
        return sorted({fit.seed for fit, last in self.last.items() if self.tasks[key] in self.tasks[last].lineage()})

    def predicted_rows(self, fit: Fit, target: pd.DataFrame) -> pd.DataFrame:
        """The target's rows that a fit is measured on: val and test, or those of its fold as test; none of a refit."""
        if self.folds is None:
            return target[target["split"].isin(["val", "test"])]
        held_out: pd.DataFrame = target[self.folds.of_seed[fit.seed] == fit.fold]
        return held_out.assign(split="test")

    def foreign_stages(self) -> list[str]:
        """Keys of stages of other runs whose weights this plan starts from."""
        sources = [task.weights for task in self.tasks.values() if task.weights is not None]
        return sorted({source.path.parent.name for source in sources if source.kind == "stage"})

    def missing(self, store: Store) -> list[StageTask]:
        """Tasks whose result the store does not hold, or not as it was written; nothing is changed.

        What they start from is read again in full, for a disk may change what it holds unnoticed.
        """
        damaged = find_damage(store, STAGES, list(self.tasks))
        missing = [task for key, task in self.tasks.items() if key in damaged or not store.is_complete(STAGES, key)]
        read = {task.parent.key for task in missing if task.parent is not None} - {task.key for task in missing}
        if find_damage(store, STAGES, sorted(read), read_again=True):
            return self.missing(store)
        return missing


def plan_chain(
    recipe: Recipe,
    domains: Mapping[str, Manifest],
    pairs: Sequence[tuple[str, int]],
    store: Store,
    chosen: Mapping[Fit, str] = MappingProxyType({}),
) -> ChainPlan:
    """Lay out the stage tasks of (arm, seed) pairs, under folds of each fold.

    Args:
        recipe: resolved.
        domains: by stage; tables with `digest`, `label` and `split`.
        chosen: the candidate of `evaluation.choose` that each fit takes.

    Raises:
        InputError: weights that cannot be found, batches that cannot be shared, folds that cannot be drawn.
    """
    protocol, target = recipe.evaluation.protocol, domains[recipe.target.name]
    folds = draw_folds(target, protocol, list(dict.fromkeys(seed for _, seed in pairs)))
    fits = _fits(recipe, pairs, folds)
    laying = ChainLayout(recipe, domains, [fit.arm for fit in fits], store)
    last = {}
    # What takes minutes comes first: the probe's figures are there before the first network has been trained.
    for fit in sorted(fits, key=lambda fit: laying.arms[fit.arm].strategy.kind != "logistic-regression"):
        rows = target.table if folds is None else target.table[folds.of_seed[fit.seed] != fit.fold]
        last[fit] = laying.add(fit.arm, fit.seed, rows, chosen.get(fit)).key
    return ChainPlan(laying.tasks, {fit: last[fit] for fit in fits}, folds)


class ChainLayout:
    """Chains laid out one by one; what they share stands once.

    Attributes:
        arms: the recipe's, by name.
        tasks: by key, parents before children.
    """

    def __init__(self, recipe: Recipe, domains: Mapping[str, Manifest], arms: Iterable[str], store: Store) -> None:
        self.arms = resolve_arms(recipe)
        self.tasks: dict[str, StageTask] = {}
        self._recipe, self._domains = recipe, domains
        self._starts = {spec: find_starting_weights(spec, store) for spec in {self.arms[arm].weights for arm in arms}}

    def add(self, arm_name: str, seed: int, target_rows: pd.DataFrame, candidate: str | None = None) -> StageTask:
        """Add the chain of an arm whose target stage has these rows; returns its last task."""
        arm, task = self.arms[arm_name], None
        for name in arm.stages:
            is_target = name == self._recipe.target.name
            stage = target_of(self._recipe, arm, candidate) if is_target else self._recipe.stage(name)
            rows = target_rows if is_target else self._domains[name].table
            weights = self._starts[arm.weights] if task is None else None
            if is_target and arm.control == "longer":
                stage = self._trained_longer(arm, stage, rows)
            task = _next_task(self._recipe, rows, arm, stage, weights, task, seed)
            if task.key not in self.tasks:
                _check_batch(task)
            task = self.tasks.setdefault(task.key, task)
        assert task is not None  # an arm has at least the target stage
        return task

    def _trained_longer(self, arm: Arm, stage: StageSettings, rows: pd.DataFrame) -> StageSettings:
        """The target stage with the steps of the stages that the primary contrast's first arm has beyond this one."""
        pair = primary_pair(self._recipe)
        lacking = [] if pair is None else [name for name in self.arms[pair[0]].stages if name not in arm.stages]
        num_more = sum(self._num_steps(self._recipe.stage(name), self._domains[name].table) for name in lacking)
        epochs = training_of(self._recipe, stage).epochs
        steps_per_epoch = self._num_steps(stage, rows) // epochs
        more = {"epochs": epochs + math.ceil(num_more / steps_per_epoch)}
        return stage.model_copy(update={"training": merge(stage.training, more)})

    def _num_steps(self, stage: StageSettings, rows: pd.DataFrame) -> int:
        training = training_of(self._recipe, stage)
        num_images = int((rows["split"] == "train").sum())
        return training.epochs * num_batches_per_epoch(num_images, training.batch_size)


def _fits(recipe: Recipe, pairs: Sequence[tuple[str, int]], folds: Folds | None) -> list[Fit]:
    if folds is None:
        return [Fit(arm, seed) for arm, seed in pairs]
    fits = [Fit(arm, seed, fold) for arm, seed in pairs for fold in range(len(folds.names))]
    delivered = [seed for arm, seed in pairs if arm == recipe.delivered_arm]
    if recipe.evaluation.protocol.bundle == "refit" and delivered:
        fits.append(Fit(recipe.delivered_arm, delivered[0]))
    return fits


def _next_task(
    recipe: Recipe,
    rows: pd.DataFrame,
    arm: Arm,
    stage: StageSettings,
    weights: WeightSource | None,
    parent: StageTask | None,
    seed: int,
) -> StageTask:
    is_target = stage.name == recipe.target.name
    table = rows[rows["split"].isin(["train", "val"])]
    strategy = arm.strategy if is_target else stage.strategy
    image = image_of(recipe, stage)
    is_middle = not is_target and stage.name != GENERIC_STAGE
    has_permuted_labels = (is_target and arm.control == "permuted-labels") or (is_middle and arm.control == "placebo")
    own_seed = seed if stage.seed is None else stage.seed
    seed_of_start = parent.seed if parent is not None else 0
    return StageTask(
        stage=stage,
        strategy=strategy,
        seed=own_seed if _draws_numbers(recipe, strategy, parent, weights) else seed_of_start,
        parent=parent,
        weights=weights,
        image=_normalised(image.model_copy(update={"blanking": arm.blanking}) if is_target else image, parent, weights),
        recipe=recipe,
        classes=tuple(sorted(table["label"].unique())),
        table=(permute_labels(table, seed) if has_permuted_labels else table)[
            ["path", "digest", "label", "split", "group"]
        ],
        has_permuted_labels=has_permuted_labels,
    )


def _check_batch(task: StageTask) -> None:
    """Refuse before the run what `TrainingSteps` could not divide in its midst."""
    training, num_images = task.training, len(task.rows("train"))
    num_parts = task.num_processes * training.accumulation
    if task.strategy.kind != "logistic-regression" and (training.batch_size % num_parts or num_images < num_parts):
        raise InputError(
            f"stage {task.stage.name!r}: {min(num_images, training.batch_size)} images a step (training.batch_size: "
            f"{training.batch_size}, of {num_images} training images) cannot be shared equally by {task.num_processes} "
            f"processes (runtime.devices) in {training.accumulation} parts each (training.accumulation): set "
            f"training.batch_size to a multiple of {num_parts}, or lower runtime.devices or training.accumulation."
        )


def _draws_numbers(
    recipe: Recipe, strategy: StrategySettings, parent: StageTask | None, weights: WeightSource | None
) -> bool:
    """Whether the seed changes the result: logistic regression draws nothing but a backbone that starts at random."""
    starts_whole = parent is not None or (weights is not None and not recipe.allow_unmatched)
    return strategy.kind != "logistic-regression" or not starts_whole


def _normalised(image: ImageSettings, parent: StageTask | None, weights: WeightSource | None) -> ImageSettings:
    """Fill in mean and std: the recipe's, else those the weights were trained with, else ImageNet's."""
    mean: tuple[float, ...] | None = image.mean
    std: tuple[float, ...] | None = image.std
    if parent is not None:
        mean, std = mean or parent.image.mean, std or parent.image.std
    elif weights is not None:
        mean, std = mean or weights.mean, std or weights.std
    return image.model_copy(update={"mean": mean or IMAGENET_MEAN, "std": std or IMAGENET_STD})


def find_starting_weights(spec: str, store: Store) -> WeightSource | None:
    """Find weights by their name in a recipe, `stage:NAME` included: a stage of this store by its name or key.

    Raises:
        InputError: not found, damaged, or `stage:NAME` fits several stages (their keys are named).
    """
    kind, _, name = spec.partition(":")
    if kind != "stage":
        return find_weights(spec, store_root=store.root)
    found = [store.folder(STAGES, key) for key in store.entries(STAGES) if _is_called(store.folder(STAGES, key), name)]
    if len(found) == 1:
        _check_starting_stage(spec, store, found[0].name)
        return weights_from_stage(found[0], spec)
    if not found:
        raise InputError(
            f"weights {spec}: the store {store.root} holds no such stage; `tlmed clean` lists what it holds."
        )
    keys = ", ".join(folder.name[:12] for folder in found)
    raise InputError(
        f"weights {spec}: {len(found)} stages fit; name one by its key, as in stage:{found[0].name[:12]} ({keys})."
    )


def _is_called(folder: Path, name: str) -> bool:
    if folder.name.startswith(name) and len(name) >= 8:
        return True
    text = sealed_text(folder, "stage.json")
    if text is None:
        return False
    card: dict[str, Any] = json.loads(text)
    # Logistic regression leaves the backbone as it found it: nobody means it where another stage has the name too.
    is_trained: bool = card["strategy"]["kind"] != "logistic-regression"
    return is_trained and name in (card["name"], f"{card['recipe']}/{card['name']}")


def _check_starting_stage(spec: str, store: Store, key: str) -> None:
    damage = find_damage(store, STAGES, [key]).get(key)
    if damage is not None:
        raise InputError(f"weights {spec}: {damage}; run the recipe that made it again, or start from other weights.")
