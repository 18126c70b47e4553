"""All strategies by the name that recipes use."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tlmed.recipe.training import StrategyKind, StrategySettings, TrainingSettings
from tlmed.transfer.finetune import Finetune
from tlmed.transfer.linear_probe import LinearProbe
from tlmed.transfer.strategy import Strategy

# Of those that take gradient steps; logistic regression takes none and stands in `logistic_probe.py`.
STRATEGIES: dict[StrategyKind, Callable[[StrategySettings, TrainingSettings, Tensor | None], Strategy]] = {
    "finetune": Finetune,
    "linear-probe": LinearProbe,
}


def create_strategy(settings: StrategySettings, training: TrainingSettings, class_weights: Tensor | None) -> Strategy:
    """Return the strategy that a stage names."""
    return STRATEGIES[settings.kind](settings, training, class_weights)
