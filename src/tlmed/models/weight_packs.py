"""A folder of weights and their cards that moves to a machine without network, every file under its digest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tlmed.errors import InputError
from tlmed.models.hub import pull_weights
from tlmed.models.weight_imports import fill_folder, stored_weights
from tlmed.models.weight_sources import (
    MODEL_FILE,
    WEIGHTS,
    WeightSource,
    card_path_of,
    parse_hub_name,
    read_card,
    stored_key,
)
from tlmed.recipe.hub_name import HUB, HubName
from tlmed.recipe.recipe import Recipe, resolve_arms
from tlmed.runtime.digests import file_digest
from tlmed.runtime.progress import track
from tlmed.runtime.store import Store, flush_file, flush_folder, write_json_durably

PACK_FILE = "pack.json"
_FORMAT_VERSION = 1


def hub_names_of(recipe: Recipe) -> list[HubName]:
    """Return what a recipe takes from hubs, without repetition."""
    specs = dict.fromkeys([recipe.weights, *(arm.weights for arm in resolve_arms(recipe).values())])
    return [parse_hub_name(spec) for spec in specs if spec.startswith(f"{HUB}:")]


def pack_weights(names: Iterable[HubName], target: Path, store_root: Path) -> list[WeightSource]:
    """Write weights of hubs into a new folder, from the store or downloaded into it first.

    Args:
        names: what to pack.
        target: must not be there; it is whole or absent afterwards.
        store_root: the store.

    Raises:
        InputError: nothing to pack, `target` is there, or weights cannot be had.
    """
    if target.exists():
        raise InputError(f"{target}: is there already; name a new folder for the pack.")
    sources = list({source.digest: source for source in (pull_weights(name, store_root) for name in names)}.values())
    if not sources:
        raise InputError("weights pack: nothing to pack; name weights as hub:ID, or a --recipe that starts from some.")
    temporary = target.with_name(f".writing-{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        entries = [_pack(source, temporary) for source in sources]
        write_json_durably(temporary / PACK_FILE, {"format_version": _FORMAT_VERSION, "weights": entries})
        flush_folder(temporary)
        temporary.rename(target)
        flush_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sources


def import_pack(folder: Path, store_root: Path) -> list[WeightSource]:
    """Put everything in a packed folder into the store; nothing, where one of its files is damaged.

    Raises:
        InputError: not a pack, of a newer format, a file that is missing or damaged, or other weights are in the store
            under one of the names.
    """
    packed = _checked(folder)
    for name, file in packed.items():
        card = read_card(card_path_of(file), f"weights {name}")
        with Store(store_root).publish(WEIGHTS, stored_key(name)) as place:
            fill_folder(place, file, name, card, store_root)
    return [stored_weights(name, str(name), store_root) for name in packed]


def _pack(source: WeightSource, folder: Path) -> dict[str, Any]:
    name = parse_hub_name(source.pinned)
    place = folder / stored_key(name)
    place.mkdir()
    digests = {}
    for file in (source.path, card_path_of(source.path)):
        shutil.copyfile(file, place / file.name)
        flush_file(place / file.name)
        digests[file.name] = file_digest(place / file.name)
    flush_folder(place)
    return {"name": str(name), "digests": digests}


def _checked(folder: Path) -> dict[HubName, Path]:
    """Return the files of weights in a pack by their names, after a look at every byte."""
    packed = {}
    entries = _entries(folder)
    with track("checking", total=len(entries), unit="weights") as progress:
        for entry in entries:
            name = parse_hub_name(entry["name"])
            # From the checked name, so that nothing in the list leads out of the folder.
            model = folder / stored_key(name) / MODEL_FILE
            for file in (model, card_path_of(model)):
                if not file.is_file():
                    raise InputError(f"{file}: missing; copy the pack {folder} again.")
                if file_digest(file) != entry["digests"].get(file.name):
                    raise InputError(f"{file}: damaged (not the SHA-256 in {PACK_FILE}); copy the pack again.")
            packed[name] = model
            progress.advance()
    return packed


def _entries(folder: Path) -> Sequence[dict[str, Any]]:
    file = folder / PACK_FILE
    if not file.is_file():
        raise InputError(f"{folder}: not a pack (no {PACK_FILE}); `tlmed weights pack` writes one.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version, entries = int(content["format_version"]), content["weights"]
        is_whole = all(isinstance(one["name"], str) and isinstance(one["digests"], dict) for one in entries)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file}: damaged ({error}); copy the pack again.") from error
    if version > _FORMAT_VERSION:
        raise InputError(f"{folder}: written by a newer tlmed (format {version}); update tlmed.")
    if not is_whole:
        raise InputError(f"{file}: damaged (an entry lacks name or digests); copy the pack again.")
    return list(entries)
