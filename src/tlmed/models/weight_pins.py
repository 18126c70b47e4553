"""Weights of hubs in a recipe become one file for ever: by revision and digest. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tlmed.models.hub import pull_weights, warn_of_licence
from tlmed.models.weight_sources import WeightSource, find_stored, parse_hub_name, require_stored
from tlmed.recipe.hub_name import HUB, HubName
from tlmed.recipe.recipe import ArmSettings, Recipe, resolve_arms


def pin_weights(
    recipe: Recipe,
    store_root: Path,
    *,
    needed_arms: Collection[str],
    earlier: Recipe | None = None,
    may_download: bool = True,
) -> Recipe:
    """Write revision and digest behind every name of weights on a hub.

    Args:
        recipe: resolved.
        store_root: where they are looked for first, and go when they are downloaded.
        needed_arms: whose weights must be there; those of other arms are pinned where that needs no network.
        earlier: the recipe that the run folder holds results of; a name without a pin keeps the pin it had there.
        may_download: a dry run may not.

    Raises:
        InputError: weights that are needed cannot be had, or are not what the recipe pins.
    """
    arms = resolve_arms(recipe)
    needed = {arms[name].weights for name in needed_arms}
    before = _specs(earlier) if earlier is not None else {}
    names = {
        spec: _as_before(spec, before.get(place))
        for place, spec in _specs(recipe).items()
        if spec.startswith(f"{HUB}:")
    }
    pins = {spec: _pinned(name, store_root, spec in needed, may_download) for spec, name in names.items()}
    if not pins:
        return recipe
    pinned_arms = {
        arm.name: ArmSettings(stages=arm.stages, weights=pins.get(arm.weights, arm.weights), strategy=arm.strategy)
        for arm in arms.values()
    }
    return recipe.model_copy(update={"weights": pins.get(recipe.weights, recipe.weights), "arms": pinned_arms})


def _specs(recipe: Recipe) -> dict[str | None, str]:
    """Starting weights by arm; the recipe's own under None."""
    return {None: recipe.weights, **{arm.name: arm.weights for arm in resolve_arms(recipe).values()}}


def _as_before(spec: str, before: str | None) -> HubName:
    """Take the pins that the same place had in an earlier run, where there are none now."""
    name = parse_hub_name(spec)
    if name != name.unpinned() or before is None or not before.startswith(f"{HUB}:"):
        return name
    earlier = parse_hub_name(before)
    return earlier if earlier.id == name.id else name


def _pinned(name: HubName, store_root: Path, is_needed: bool, may_download: bool) -> str:
    source: WeightSource | None
    if is_needed and may_download:
        source = pull_weights(name, store_root)
    elif is_needed:
        source = require_stored(name, store_root)
    else:
        source = find_stored(name, store_root)
    if source is None:
        return str(name)
    if is_needed:
        warn_of_licence(source)
    return source.pinned
