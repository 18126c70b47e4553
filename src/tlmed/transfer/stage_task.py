"""One training step of a chain, under the key that determines its weights. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from tlmed.data.prepare import DECODING_VERSION
from tlmed.models.weight_sources import WeightSource
from tlmed.recipe.model import ImageSettings
from tlmed.recipe.recipe import Recipe, StageSettings, training_of
from tlmed.recipe.training import StrategySettings, TrainingSettings, num_batches_per_epoch
from tlmed.runtime.store import content_key

# Raised whenever a change of the code changes what the same settings train.
NUMERICS_VERSION = 3

STAGES = "stages"


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
    def num_steps(self) -> int:
        """Optimiser steps that it takes; none where its head is solved for."""
        return 0 if self.strategy.kind == "logistic-regression" else self.training.epochs * self._steps_per_epoch

    @property
    def _steps_per_epoch(self) -> int:
        return num_batches_per_epoch(len(self.rows("train")), self.training.batch_size)

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


def _what_counts(strategy: StrategySettings) -> dict[str, Any]:
    """The settings that this kind of strategy reads."""
    return strategy.model_dump(mode="json", exclude=set() if strategy.kind == "linear-probe" else {"cached_views"})
