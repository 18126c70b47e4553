"""What can be claimed of each contrast: of these models, of this training set, or of new ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tlmed.evaluation.comparison.arm_figures import FoldFigures, figures_on_fixed_test, figures_over_folds
from tlmed.evaluation.comparison.claims import (
    ArmFigures,
    Claim,
    claim_of_these_models,
    claim_over_seeds,
    claim_over_training_sets,
    refuses_training_set_claim,
)
from tlmed.evaluation.comparison.contrasts import Contrast
from tlmed.evaluation.estimates.across_folds import num_groups_in_and_out
from tlmed.evaluation.estimates.unit_scores import UnitScores
from tlmed.evaluation.statistics.multiplicity import bonferroni_level
from tlmed.recipe.comparison import ComparedMetric

Kind = Literal["a", "b", "c"]
KINDS: tuple[Kind, ...] = ("a", "b", "c")
ONE_SEED = "one seed"
LEVEL = 0.95
_NO_VARIATION = "neither cases nor seeds show how the difference varies: it is the same without each of them"
_FIXED_TEST = "one training set: how others of its size would come out is not known"
_FOLDS = "every fold has a model and a training set of its own"
_OTHER_FOLDS = "the arms were not tested in the same folds"


@dataclass(frozen=True, eq=False)
class ClaimedContrast:
    """A contrast and what is known of it.

    Attributes:
        contrast: of the arms.
        value: of the arms' means over seeds, or over folds.
        by_seed: the same for each seed, or repeat; empty where seeds cannot be paired.
        claims: of each kind, or why there is none.
        decides: the kind of training anew that the design can speak for, with new seeds or on new training sets; a
            verdict stands on nothing less.
        level: of the limits: 95 %, of secondary contrasts so high that all of them together hold at 95 % (Bonferroni).
    """

    contrast: Contrast
    value: float
    by_seed: Sequence[tuple[object, float]]
    claims: Mapping[Kind, Claim | str]
    decides: Literal["b", "c"]
    level: float = LEVEL

    def __post_init__(self) -> None:
        """Limits beyond what a contrast of shares can be are brought back to it; two seeds may give such."""
        most = sum(weight for weight in self.contrast.weights.values() if weight > 0)
        bounded = {kind: _bounded(one, most) if isinstance(one, Claim) else one for kind, one in self.claims.items()}
        object.__setattr__(self, "claims", bounded)

    def claim(self, kind: Kind) -> Claim | None:
        """The claim of that kind, where there is one."""
        claim = self.claims[kind]
        return claim if isinstance(claim, Claim) else None

    @property
    def deciding(self) -> Claim | None:
        """The claim that a verdict may stand on, where there is one."""
        return self.claim(self.decides)

    @property
    def strongest(self) -> Claim | None:
        """The deciding claim, else that of these models."""
        return self.deciding or self.claim("a")


def _bounded(claim: Claim, most: float) -> Claim:
    low, low_90 = max(claim.low, -most), max(claim.low_90, -most)
    return replace(claim, low=low, low_90=low_90, high=min(claim.high, most), high_90=min(claim.high_90, most))


def claim_contrasts(
    contrasts: Sequence[Contrast],
    scores: UnitScores,
    metric: ComparedMetric,
    *,
    refusal: str | None,
    deterministic: Collection[str] = (),
) -> list[ClaimedContrast]:
    """Return each contrast with what can be claimed of it.

    Args:
        contrasts: of arms that there are.
        scores: of all arms on the same units, all with a fixed test set or all under folds.
        metric: by unit.
        refusal: why nothing can be claimed at all; None where that is not so.
        deterministic: arms that no seed changes, by how they are trained.
    """
    num_secondary = sum(contrast.role == "secondary" for contrast in contrasts)
    levels = {"primary": LEVEL, "control": LEVEL, "secondary": bonferroni_level(LEVEL, max(num_secondary, 1))}
    if scores.num_folds is not None:
        folds = figures_over_folds(scores, metric)
        return [_over_folds(contrast, levels[contrast.role], folds, scores, refusal) for contrast in contrasts]
    arms = figures_on_fixed_test(scores, metric, without_groups=refusal is None)
    untold = {arm: reason for arm in arms if (reason := _why_seeds_are_untold(arm, scores, deterministic)) is not None}
    return [
        _on_fixed_test(contrast, levels[contrast.role], arms, scores.alike, untold, refusal) for contrast in contrasts
    ]


def _why_seeds_are_untold(arm: str, scores: UnitScores, deterministic: Collection[str]) -> str | None:
    """Why nothing shows how seeds of this arm differ; None where something does.

    Seeds of the same predictions are not enough to say that there is no difference: it may be one table, copied.
    """
    if len(scores.arms[arm]) > 1 or arm in deterministic:
        return None
    return f"the seeds of {arm} are the same predictions" if arm in scores.alike else ONE_SEED


def _on_fixed_test(
    contrast: Contrast,
    level: float,
    arms: Mapping[str, ArmFigures],
    alike: Sequence[str],
    untold: Mapping[str, str],
    refusal: str | None,
) -> ClaimedContrast:
    weights = contrast.weights
    value = sum(weight * float(arms[arm].values.mean()) for arm, weight in weights.items())
    by_seed = _by_seed(
        weights,
        {arm: dict(zip(arms[arm].seeds, arms[arm].values.tolist(), strict=True)) for arm in weights},
        [arm for arm in weights if arm in alike],
    )
    if refusal is not None:
        return ClaimedContrast(contrast, value, by_seed, dict.fromkeys(KINDS, refusal), "b", level)
    reason = next((untold[arm] for arm in weights if arm in untold), None)
    of_seeds = reason or claim_over_seeds(weights, arms, level=level) or _NO_VARIATION
    of_models = claim_of_these_models(weights, arms, level=level) or _NO_VARIATION
    return ClaimedContrast(contrast, value, by_seed, {"a": of_models, "b": of_seeds, "c": _FIXED_TEST}, "b", level)


def _over_folds(
    contrast: Contrast, level: float, arms: Mapping[str, FoldFigures], scores: UnitScores, refusal: str | None
) -> ClaimedContrast:
    weights = contrast.weights
    value = sum(weight * arms[arm].value for arm, weight in weights.items())
    by_seed = _by_seed(weights, {arm: arms[arm].by_seed for arm in weights}, [])
    claims: dict[Kind, Claim | str] = dict.fromkeys(KINDS, _FOLDS if refusal is None else refusal)
    if refusal is None:
        claims["c"] = _claim_over_splits(weights, arms, scores, level)
    return ClaimedContrast(contrast, value, by_seed, claims, "c", level)


def _claim_over_splits(
    weights: Mapping[str, float], arms: Mapping[str, FoldFigures], scores: UnitScores, level: float
) -> Claim | str:
    first, *others = (arms[arm] for arm in weights)
    splits = list(first.by_split)
    if any(set(one.by_split) != set(splits) for one in others):
        return _OTHER_FOLDS
    num_folds = max(sum(fold.seed == seed for fold in first.folds) for seed in first.by_seed)
    refused = refuses_training_set_claim(num_folds=num_folds, num_repeats=len(splits) // num_folds)
    if refused is not None:
        return refused
    differences = np.array(
        [sum(weight * arms[arm].by_split[split] for arm, weight in weights.items()) for split in splits]
    )
    num_test, num_train = num_groups_in_and_out(first.folds, scores.groups)
    return claim_over_training_sets(differences, num_train=num_train, num_test=num_test, level=level) or _NO_VARIATION


def _by_seed(
    weights: Mapping[str, float], values: Mapping[str, Mapping[object, float]], alike: Sequence[str]
) -> list[tuple[object, float]]:
    """The contrast of each seed; an arm whose seeds all came to the same stands beside every seed of the others."""
    seeds = next((list(of_arm) for arm, of_arm in values.items() if arm not in alike), None)
    if seeds is None or any(set(values[arm]) != set(seeds) for arm in weights if arm not in alike):
        return []
    return [
        (
            seed,
            sum(
                weight * (next(iter(values[arm].values())) if arm in alike else values[arm][seed])
                for arm, weight in weights.items()
            ),
        )
        for seed in seeds
    ]
