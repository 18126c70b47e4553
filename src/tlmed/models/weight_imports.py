"""Files of weights into the store, under the names that they have on a hub: for machines without network."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from tlmed.errors import InputError
from tlmed.models.weight_sources import (
    MODEL_FILE,
    WEIGHTS,
    WeightSource,
    card_path_of,
    existing_file,
    imported_folder,
    pixel_values,
    weights_from_file,
)
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
        name: `hub:ID`, as recipes will say.
        store_root: the store.
        licence: under which the weights were published.
        mean, std: of the pixels in [0, 1] that they were trained with, one value or three.

    Raises:
        InputError: not a file of weights, a name that is no `hub:ID`, or other weights are there under this name.
    """
    kind, _, hub_id = name.partition(":")
    if kind != "hub":
        raise InputError(
            f"weights import --as {name!r}: write hub:ID, as in hub:timm/vit_tiny_patch16_224.augreg_in21k."
        )
    final = imported_folder(hub_id, store_root)
    card = {
        "origin": file.name,
        "licence": licence,
        "mean": pixel_values(mean, "mean", file),
        "std": pixel_values(std, "std", file),
    }
    with Store(store_root).publish(WEIGHTS, final.name) as folder:
        _write_safetensors(existing_file(file, f"file:{file}"), folder / MODEL_FILE)
        digest = file_digest(folder / MODEL_FILE)
        if final.exists() and file_digest(final / MODEL_FILE) != digest:
            raise InputError(f"weights {name}: other weights are in the store under this name; delete {final} first.")
        write_json_durably(card_path_of(folder / MODEL_FILE), {**card, "digest": digest})
        if final.exists():  # the same bytes again: what is known about them may be new
            write_json_durably(card_path_of(final / MODEL_FILE), {**card, "digest": digest})
    return weights_from_file(final / MODEL_FILE, name, "hub")


def list_weights(store_root: Path) -> list[WeightSource]:
    """Return the imported weights of a store, by name.

    Raises:
        InputError: an imported file was changed since.
    """
    folders = [Store(store_root).folder(WEIGHTS, key) for key in Store(store_root).entries(WEIGHTS)]
    return [
        weights_from_file(folder / MODEL_FILE, f"hub:{folder.name.replace('--', '/')}", "hub") for folder in folders
    ]


def _write_safetensors(file: Path, target: Path) -> None:
    if file.suffix != ".safetensors":
        from tlmed.models.weights import read_state, save_weights  # imports torch

        save_weights(read_state(file), target)
        return
    try:
        with safe_open(file, framework="np") as content:
            content.keys()
    except SafetensorError as error:
        raise InputError(f"{file} is not a safetensors file: {error}.") from error
    shutil.copyfile(file, target)
