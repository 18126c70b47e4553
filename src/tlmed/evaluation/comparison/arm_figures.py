"""The metric of each arm by seed and by fold, and without each group: what contrasts are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tlmed.evaluation.comparison.claims import ArmFigures
from tlmed.evaluation.estimates.across_folds import Fold, split_by_fold
from tlmed.evaluation.estimates.figure_cells import value_of, values_of
from tlmed.evaluation.estimates.unit_scores import SeedScores, UnitScores
from tlmed.evaluation.metrics import METRICS, Floats, Integers, Metric, Scored
from tlmed.evaluation.statistics.jackknife import leave_one_group_out_aurocs
from tlmed.recipe.comparison import ComparedMetric

_WEIGHTS_AT_ONCE = 2_000_000
_Key = TypeVar("_Key")


@dataclass(frozen=True, eq=False)
class FoldFigures:
    """An arm under folds.

    Attributes:
        folds: of all repeats.
        by_split: the metric by held-out units. Seeds that part the units alike test no fold anew: they are averaged.
        by_seed: the mean over the folds of each repeat.
    """

    folds: Sequence[Fold]
    by_split: Mapping[tuple[int, ...], float]
    by_seed: Mapping[object, float]

    @property
    def value(self) -> float:
        """The mean over splits."""
        return float(np.mean(list(self.by_split.values())))


def figures_on_fixed_test(
    scores: UnitScores, metric: ComparedMetric, *, without_groups: bool = True
) -> dict[str, ArmFigures]:
    """Return each arm's metric by seed, and the same without each group.

    Args:
        scores: of all arms on the same units, with a fixed test set.
        metric: by unit.
        without_groups: False where nothing is claimed of other cases, because groups are too few or unknown; `left_out`
            has no rows then.
    """
    return {
        arm: ArmFigures(
            tuple(one.seed for one in seeds),
            values_of(METRICS[metric], [one.part for one in seeds]),
            _without_each_group(metric, seeds, scores.groups) if without_groups else np.zeros((0, len(seeds))),
        )
        for arm, seeds in scores.arms.items()
    }


def figures_over_folds(scores: UnitScores, metric: ComparedMetric) -> dict[str, FoldFigures]:
    """Return each arm's metric within each fold: scores of several folds are of several models and are not pooled."""
    return {arm: _over_folds(METRICS[metric], seeds) for arm, seeds in scores.arms.items()}


def _over_folds(metric: Metric, seeds: Sequence[SeedScores]) -> FoldFigures:
    folds = split_by_fold(seeds)
    by_split: dict[tuple[int, ...], list[float]] = {}
    by_seed: dict[object, list[float]] = {}
    for fold in folds:
        value = value_of(metric, fold.scored)
        by_split.setdefault(fold.members, []).append(value)
        by_seed.setdefault(fold.seed, []).append(value)
    return FoldFigures(folds, _means(by_split), _means(by_seed))


def _means(values: Mapping[_Key, Sequence[float]]) -> dict[_Key, float]:
    return {key: float(np.mean(of_key)) for key, of_key in values.items()}


def _without_each_group(metric: ComparedMetric, seeds: Sequence[SeedScores], groups: Integers) -> Floats:
    """(G, R) metric of each seed without each group."""
    first = seeds[0].scored
    if metric == "auroc" and first.num_classes == 2:
        of_positive = np.stack([one.scored.probabilities[:, first.positive] for one in seeds])
        return leave_one_group_out_aurocs(first.labels == first.positive, of_positive, groups)
    return np.stack([_leave_each_out(METRICS[metric], one.scored, groups) for one in seeds], axis=1)


def _leave_each_out(metric: Metric, scored: Scored, groups: Integers) -> Floats:
    """(G,) metric with the units of a group weighing nothing; a bounded number of weights at a time."""
    num_groups = int(groups.max()) + 1
    step = max(1, _WEIGHTS_AT_ONCE // len(groups))
    parts = [
        metric(scored, (groups != np.arange(start, min(start + step, num_groups))[:, None]).astype(np.float64))
        for start in range(0, num_groups, step)
    ]
    return np.concatenate(parts)
