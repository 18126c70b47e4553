"""What a call asks for: where it works, which arms and seeds, and which file stands behind each name of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlmed.errors import InputError, did_you_mean
from tlmed.models.weight_pins import pin_weights
from tlmed.recipe.recipe import Recipe, resolve_arms
from tlmed.runtime.inventory import RESERVED_NAMES
from tlmed.runtime.run_folder import recipe_of_results
from tlmed.runtime.store import Store


def run_places(recipe: Recipe, out: Path | str | None, store: Path | str | None) -> tuple[Path, Store]:
    """Return the run folder and the store.

    Raises:
        InputError: the store keeps something else under the folder's name.
    """
    place = Path(out) if out is not None else Path("runs") / recipe.name
    shared = Store(Path(store) if store is not None else place.parent)
    if place.name in RESERVED_NAMES and place.resolve().parent == shared.root:
        raise InputError(f"{place}: the store keeps something else under this name; choose another --out.")
    return place, shared


def requested_pairs(recipe: Recipe, arms: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """The (arm, seed) pairs that a call asks for.

    Raises:
        InputError: an arm that the recipe does not have.
    """
    known = resolve_arms(recipe)
    for arm in arms:
        if arm not in known:
            raise InputError(f"--arm: the recipe {recipe.name} has no arm {arm!r}.{did_you_mean(arm, known)}")
    return [(arm, seed) for arm in known if not arms or arm in arms for seed in (seeds or recipe.evaluation.seeds)]


def pinned(
    recipe: Recipe, place: Path, store: Store, pairs: Sequence[tuple[str, int]], *, may_download: bool
) -> Recipe:
    """The recipe with one file for ever behind every name of weights on a hub."""
    arms = {arm for arm, _ in pairs} & resolve_arms(recipe).keys()
    return pin_weights(
        recipe, store.root, needed_arms=arms, earlier=recipe_of_results(place), may_download=may_download
    )
