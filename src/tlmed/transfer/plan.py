"""The chain as a graph of stage tasks, each under the key that determines its weights. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from tlmed.data.folds import Folds, draw_folds
from tlmed.data.manifest import Manifest
from tlmed.data.permuting import permute_labels
from tlmed.data.prepare import DECODING_VERSION
from tlmed.errors import InputError
from tlmed.models.weight_sources import WeightSource, find_weights, weights_from_stage
from tlmed.recipe.model import IMAGENET_MEAN, IMAGENET_STD, ImageSettings
from tlmed.recipe.recipe import Arm, Recipe, StageSettings, candidate_target, image_of, resolve_arms, training_of
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.runtime.integrity import find_damage, sealed_text
from tlmed.runtime.store import Store, content_key

# Raised whenever a change of the code changes what the same settings train.
NUMERICS_VERSION = 3

STAGES = "stages"
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


@dataclass(frozen=True, eq=False)
class StageTask:
    """One training step with nothing left open.

    Attributes:
        strategy: the arm's in the target stage, else the stage's own.
        seed: where it draws no numbers its parent's, or 0 without one, so that seeds share what is the same for all.
        parent: the task whose weights it starts from, if any.
        weights: foreign weights it starts from, if any; never both.
        image: with mean and std filled in.
        table: train and val rows with path, digest, label, split, group.
        has_permuted_labels: a control: the labels in `table` are not the true ones.
    """

    stage: StageSettings
    strategy: StrategySettings
    seed: int
    parent: StageTask | None
    weights: WeightSource | None
    image: ImageSettings
    recipe: Recipe
    classes: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    has_permuted_labels: bool = False

    @cached_property
    def key(self) -> str:
        """Digest of everything that determines the weights; not fold, workers, device, paths or logging."""
        start = (
            self.parent.key if self.parent is not None else self.weights.digest if self.weights is not None else "none"
        )
        rows = self.table.sort_values(["split", "digest", "label"])[["split", "digest", "label"]].to_numpy().tolist()
        return content_key(
            {
                "numerics": NUMERICS_VERSION,
                "decoding": DECODING_VERSION,
                "start": start,
                "rows": rows,
                "classes": self.classes,
                "image": self.image.model_dump(mode="json"),
                "backbone": self.recipe.backbone.model_dump(mode="json"),
                "allow_unmatched": self.recipe.allow_unmatched if self.weights is not None else (),
                "strategy": _what_counts(self.strategy),
                "training": self.training_card(),
                "groups": self._partition() if self._needs_groups else None,
                "precision": self.recipe.runtime.precision,
                "seed": self.seed,
            }
        )

    @property
    def training(self) -> TrainingSettings:
        """The stage's training settings."""
        return training_of(self.recipe, self.stage)

    def training_card(self) -> dict[str, Any]:
        """Return the training settings that this strategy reads, JSON-able."""
        if self.strategy.kind == "logistic-regression":
            return {"class_weights": self.training.class_weights}  # it takes no steps and sees no random views
        return self.training.model_dump(mode="json")

    @property
    def num_processes(self) -> int:
        """How many processes train it: without a loop over images there are no batches that are worth sharing."""
        strategy = self.strategy
        is_loop = strategy.kind == "finetune" or (strategy.kind == "linear-probe" and not strategy.cached_views)
        return self.recipe.runtime.devices if is_loop else 1

    @property
    def _needs_groups(self) -> bool:
        return self.strategy.kind == "logistic-regression" or self.training.sampling == "balanced"

    def _partition(self) -> list[list[list[str]]]:
        """Which train images belong together, without the groups' names."""
        train = self.table[self.table["split"] == "train"]
        return sorted(sorted(part[["digest", "label"]].to_numpy().tolist()) for _, part in train.groupby("group"))

    @property
    def keeps_head(self) -> bool:
        """Whether the parent told the same classes apart, so that its head goes on."""
        return self.parent is not None and self.parent.classes == self.classes

    def lineage(self) -> list[StageTask]:
        """The tasks from the first stage to this one."""
        return [*(self.parent.lineage() if self.parent is not None else []), self]

    @property
    def start(self) -> str:
        """What the chain up to this task begins with, in words."""
        first = self.lineage()[0]
        return f"weights {first.weights.card()['spec']}" if first.weights else "random weights"

    @property
    def route(self) -> str:
        """The way of the weights up to this task, in words."""
        return " -> ".join([self.start, *(task.step for task in self.lineage())])

    @property
    def step(self) -> str:
        """The stage's name, how it learns where that is not by fine-tuning, and what it does without as a control."""
        told = [
            *([self.strategy.kind] if self.strategy.kind != "finetune" else []),
            *([self.image.blanking] if self.image.blanking is not None else []),
            *(["permuted-labels"] if self.has_permuted_labels else []),
        ]
        return self.stage.name + (f" ({', '.join(told)})" if told else "")

    def rows(self, split: str) -> pd.DataFrame:
        """The rows of one split, in an order that does not depend on the manifest's."""
        chosen = self.table[self.table["split"] == split]
        return chosen.sort_values(["digest", "label"], kind="stable").reset_index(drop=True)


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
            stage = candidate_target(self._recipe, candidate) if is_target else self._recipe.stage(name)
            rows = target_rows if is_target else self._domains[name].table
            weights = self._starts[arm.weights] if task is None else None
            task = _next_task(self._recipe, rows, arm, stage, weights, task, seed)
            if task.key not in self.tasks:
                _check_batch(task)
            task = self.tasks.setdefault(task.key, task)
        assert task is not None  # an arm has at least the target stage
        return task


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
    has_permuted_labels = is_target and arm.control == "permuted-labels"
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


def _what_counts(strategy: StrategySettings) -> dict[str, Any]:
    """The settings that this kind of strategy reads."""
    return strategy.model_dump(mode="json", exclude=set() if strategy.kind == "linear-probe" else {"cached_views"})


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
