"""Weights into the store, under the names that they have on a hub: how a file gets there, and what is in it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tlmed.errors import InputError
from tlmed.models.weight_sources import (
    MODEL_FILE,
    WEIGHTS,
    WeightSource,
    card_path_of,
    existing_file,
    parse_hub_name,
    pixel_values,
    read_card,
    stored_key,
    stored_name,
    weights_from_file,
)
from tlmed.recipe.hub_name import HUB, HubName
from tlmed.runtime.digests import file_digest
from tlmed.runtime.store import Store, write_json_durably


def import_weights(
    file: Path,
    name: str,
    store_root: Path,
    licence: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> WeightSource:
    """Put a file of weights into the store under the name of a hub model.

    Args:
        file: safetensors (copied as it is) or a PyTorch file (converted; read without executing anything in it).
        name: `hub:ID` or `hub:ID@COMMIT`, as recipes will say; with a digest, the file must have it.
        store_root: the store.
        licence: under which the weights were published.
        mean, std: of the pixels in [0, 1] that they were trained with, one value or three.

    Raises:
        InputError: not a file of weights, a name that is no `hub:ID`, or other weights are there under this name.
    """
    if not name.startswith(f"{HUB}:"):
        raise InputError(
            f"weights import --as {name!r}: write hub:ID, as in hub:timm/vit_tiny_patch16_224.augreg_in21k."
        )
    hub_name = parse_hub_name(name)
    if hub_name.revision != hub_name.commit:
        raise InputError(f"weights import --as {name!r}: a revision must be a full commit hash of 40 digits here.")
    card = {
        "origin": file.name,
        "licence": licence,
        "mean": pixel_values(mean, "mean", file),
        "std": pixel_values(std, "std", file),
        "revision": hub_name.commit,
    }
    with Store(store_root).publish(WEIGHTS, stored_key(hub_name)) as folder:
        fill_folder(folder, existing_file(file, f"file:{file}"), hub_name, card, store_root)
    return stored_weights(hub_name, name, store_root)


def fill_folder(folder: Path, file: Path, name: HubName, card: Mapping[str, Any], store_root: Path) -> None:
    """Write weights and their card into a folder that is about to become the store's.

    Args:
        folder: as `Store.publish` gives it.
        file: safetensors or a PyTorch file; moved where it lies within `folder`.
        name: under which it will be found.
        card: what is known, but for the digest.
        store_root: the store.

    Raises:
        InputError: not a file of weights, or other weights than the name's or the store's.
    """
    final = Store(store_root).folder(WEIGHTS, stored_key(name))
    _write_safetensors(file, folder / MODEL_FILE, move=folder in file.parents)
    digest = file_digest(folder / MODEL_FILE)
    if name.digest not in (None, digest):
        raise InputError(
            f"weights {name}: {file.name} becomes a file with the SHA-256 {digest}, not the pinned one; "
            "take the file that was pinned, or mend the pin."
        )
    if final.exists() and file_digest(final / MODEL_FILE) != digest:
        raise InputError(f"weights {name}: other weights are in the store under this name; delete {final} first.")
    write_json_durably(card_path_of(folder / MODEL_FILE), {**card, "digest": digest})
    if final.exists():  # the same bytes again: what is known about them may be new
        update_card(final / MODEL_FILE, **card)


def update_card(model: Path, **values: Any) -> None:
    """Write values into the card beside a file of weights; the others stay."""
    path = card_path_of(model)
    known = {key: value for key, value in values.items() if value is not None}
    write_json_durably(path, {**read_card(path, f"weights {model}"), **known})


def list_weights(store_root: Path) -> list[WeightSource]:
    """Return the weights of hubs in a store, by name.

    Raises:
        InputError: a file was changed since.
    """
    return [
        stored_weights(stored_name(key), str(stored_name(key)), store_root)
        for key in Store(store_root).entries(WEIGHTS)
    ]


def stored_weights(name: HubName, spec: str, store_root: Path) -> WeightSource:
    """Return the weights in the folder of exactly this name.

    Raises:
        InputError: the file was changed since.
    """
    return weights_from_file(Store(store_root).folder(WEIGHTS, stored_key(name)) / MODEL_FILE, spec, HUB)


def _write_safetensors(file: Path, target: Path, *, move: bool) -> None:
    if file.suffix != ".safetensors":
        from tlmed.models.weights import read_state, save_weights  # imports torch

        save_weights(read_state(file), target)
        return
    try:
        with safe_open(file, framework="np") as content:
            content.keys()
    except SafetensorError as error:
        raise InputError(f"{file} is not a safetensors file: {error}.") from error
    if move:
        file.replace(target)
    else:
        shutil.copyfile(file, target)
