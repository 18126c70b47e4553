"""The chain as a graph of stage tasks, each under the key that determines its weights. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.data.manifest import Manifest
from tlmed.data.prepare import DECODING_VERSION
from tlmed.errors import InputError
from tlmed.models.weight_sources import WeightSource, find_weights, weights_from_stage
from tlmed.recipe.model import IMAGENET_MEAN, IMAGENET_STD, ImageSettings
from tlmed.recipe.recipe import Recipe, StageSettings, image_of, resolve_arms, training_of
from tlmed.runtime.store import Store, content_key

# Raised whenever a change of the code changes what the same settings train.
NUMERICS_VERSION = 2

STAGES = "stages"


@dataclass(frozen=True, eq=False)
class StageTask:
    """One training step with nothing left open.

    Attributes:
        parent: the task whose weights it starts from, if any.
        weights: foreign weights it starts from, if any; never both.
        image: with mean and std filled in.
        table: train and val rows with path, digest, label, split.
    """

    stage: StageSettings
    seed: int
    parent: StageTask | None
    weights: WeightSource | None
    image: ImageSettings
    recipe: Recipe
    classes: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)

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
                "strategy": self.stage.strategy.model_dump(mode="json"),
                "training": training_of(self.recipe, self.stage).model_dump(mode="json"),
                "precision": self.recipe.runtime.precision,
                "seed": self.seed,
            }
        )

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
        return " -> ".join([self.start, *(task.stage.name for task in self.lineage())])

    def rows(self, split: str) -> pd.DataFrame:
        """The rows of one split, in an order that does not depend on the manifest's."""
        chosen = self.table[self.table["split"] == split]
        return chosen.sort_values(["digest", "label"], kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class ChainPlan:
    """All stage tasks of a run.

    Attributes:
        tasks: by key, parents before children; what arms share stands once.
        last: the key of each (arm, seed)'s target stage.
    """

    tasks: dict[str, StageTask]
    last: dict[tuple[str, int], str]

    def foreign_stages(self) -> list[str]:
        """Keys of stages of other runs whose weights this plan starts from."""
        sources = [task.weights for task in self.tasks.values() if task.weights is not None]
        return sorted({source.path.parent.name for source in sources if source.kind == "stage"})

    def missing(self, store: Store) -> list[StageTask]:
        """Tasks whose result the store does not hold yet."""
        return [task for key, task in self.tasks.items() if not store.is_complete(STAGES, key)]


def plan_chain(
    recipe: Recipe, domains: Mapping[str, Manifest], pairs: Sequence[tuple[str, int]], store: Store
) -> ChainPlan:
    """Lay out the stage tasks of (arm, seed) pairs.

    Args:
        recipe: resolved.
        domains: by stage; tables with `digest`, `label` and `split`.

    Raises:
        InputError: weights that cannot be found.
    """
    arms = resolve_arms(recipe)
    starts = {spec: find_starting_weights(spec, store) for spec in {arms[name].weights for name, _ in pairs}}
    tasks: dict[str, StageTask] = {}
    last = {}
    for arm_name, seed in pairs:
        task = None
        for name in arms[arm_name].stages:
            weights = starts[arms[arm_name].weights] if task is None else None
            task = _next_task(recipe, domains[name], recipe.stage(name), weights, task, seed)
            task = tasks.setdefault(task.key, task)
        assert task is not None  # an arm has at least the target stage
        last[arm_name, seed] = task.key
    return ChainPlan(tasks, last)


def _next_task(
    recipe: Recipe,
    domain: Manifest,
    stage: StageSettings,
    weights: WeightSource | None,
    parent: StageTask | None,
    seed: int,
) -> StageTask:
    table = domain.table[domain.table["split"].isin(["train", "val"])]
    return StageTask(
        stage=stage,
        seed=seed if stage.seed is None else stage.seed,
        parent=parent,
        weights=weights,
        image=_normalised(image_of(recipe, stage), parent, weights),
        recipe=recipe,
        classes=tuple(sorted(table["label"].unique())),
        table=table[["path", "digest", "label", "split"]],
    )


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
        InputError: not found, or `stage:NAME` fits several stages (their keys are named).
    """
    kind, _, name = spec.partition(":")
    if kind != "stage":
        return find_weights(spec, store_root=store.root)
    found = [store.folder(STAGES, key) for key in store.entries(STAGES) if _is_called(store.folder(STAGES, key), name)]
    if len(found) == 1:
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
    card: dict[str, Any] = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    return name in (card["name"], f"{card['recipe']}/{card['name']}")
