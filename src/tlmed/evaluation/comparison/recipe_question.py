"""What a recipe asks of its arms."""

from __future__ import annotations

from collections.abc import Collection

from tlmed.evaluation.comparison.contrasts import CONTROL_KINDS, Asked, ControlKind
from tlmed.recipe.recipe import GENERIC_STAGE, NO_WEIGHTS, Arm, Recipe, primary_pair, resolve_arms

_RELATED_DOMAIN = "the related domain"
_PERMUTED = ("permuted-labels", "placebo")  # by the run's seed


def asked_of_recipe(recipe: Recipe, arms: Collection[str]) -> Asked | None:
    """Return the question, as far as the arms that were trained can answer it; None where the primary one cannot be.

    Args:
        recipe: whose `evaluation.comparison` it is.
        arms: that there are predictions of.
    """
    pair = primary_pair(recipe)
    if pair is None or not set(pair) <= set(arms):
        return None
    settings, known = recipe.evaluation.comparison, resolve_arms(recipe)
    controls = {kind: _control(known, kind, arms) for kind in CONTROL_KINDS}
    return Asked(
        primary=pair,
        metric=settings.metric,
        margin=settings.margin,
        contrasts={name: weights for name, weights in settings.contrasts.items() if set(weights) <= set(arms)},
        controls=controls,
        left_out=[arm.name for arm in known.values() if arm.control is not None],
        subject=_subject(known[pair[0]], known[pair[1]]),
        given_start=[arm.name for arm in known.values() if arm.name in arms and _has_given_start(recipe, arm)],
    )


def arms_without_chance(recipe: Recipe) -> list[str]:
    """Return the arms that no seed changes: logistic regression on the features of given weights.

    Weights are given by a file or a hub, or are those of a stage that has a seed of its own.
    """
    return [arm.name for arm in resolve_arms(recipe).values() if _draws_nothing(recipe, arm)]


def _draws_nothing(recipe: Recipe, arm: Arm) -> bool:
    *before, _ = arm.stages
    starts_whole = _are_fixed(recipe, before) if before else arm.weights != NO_WEIGHTS and not recipe.allow_unmatched
    return arm.strategy.kind == "logistic-regression" and starts_whole and arm.control not in _PERMUTED


def _has_given_start(recipe: Recipe, arm: Arm) -> bool:
    return arm.weights != NO_WEIGHTS or any(recipe.stage(name).seed is not None for name in arm.stages)


def _are_fixed(recipe: Recipe, stages: Collection[str]) -> bool:
    """Whether what the last of these stages leaves is the same with every seed of the run."""
    return all(recipe.stage(name).seed is not None for name in stages)


def _control(known: dict[str, Arm], kind: ControlKind, arms: Collection[str]) -> str | None:
    return next((arm.name for arm in known.values() if arm.control == kind and arm.name in arms), None)


def _subject(first: Arm, second: Arm) -> str | None:
    """The related domain, where the stages of it are all that the arms differ in."""
    added = set(first.stages) - set(second.stages)
    alike = (first.weights, first.strategy, first.training, first.control) == (
        second.weights,
        second.strategy,
        second.training,
        second.control,
    )
    is_subject = alike and added and set(second.stages) < set(first.stages) and GENERIC_STAGE not in added
    return _RELATED_DOMAIN if is_subject else None
