"""Weights from a hub into the store: which file of a repository, and what is noted about it."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlmed.errors import InputError, name_some
from tlmed.models.hub_client import HubFile, Repository, describe_repository, download
from tlmed.models.licences import licence_concern
from tlmed.models.weight_imports import fill_folder, stored_weights, update_card
from tlmed.models.weight_sources import MODEL_FILE, WEIGHTS, WeightSource, find_stored, pixel_values, stored_key
from tlmed.recipe.hub_name import HubName
from tlmed.runtime.store import Store

log = logging.getLogger(__name__)

_PICKLE = "pytorch_model.bin"
_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_SAFETENSORS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
_LARGEST_CONFIG = 1_000_000  # bytes; real ones have a few thousand


def pull_weights(name: HubName, store_root: Path) -> WeightSource:
    """Return weights of a hub from the store, or download them into it.

    Args:
        name: with or without pins.
        store_root: the store; what does not arrive whole leaves nothing in it.

    Raises:
        InputError: not to be had, not of a known kind, or not what is pinned.
    """
    found = find_stored(name, store_root)
    return found if found is not None else _fetch(name, store_root)


def warn_of_licence(source: WeightSource) -> None:
    """Log a warning where a licence asks for thought."""
    concern = licence_concern(source.licence, gated=source.gated)
    if concern is not None:
        log.warning("weights %s (licence: %s): %s", source.card()["spec"], source.licence or "not stated", concern)


def _fetch(name: HubName, store_root: Path) -> WeightSource:
    repository = describe_repository(name)
    stored = replace(name, revision=repository.commit)
    found = find_stored(stored, store_root)
    if found is None:
        found = _download_into_store(repository, stored, store_root)
    if name.revision is not None and name.commit is None:
        update_card(found.path, requested=name.revision)  # a branch or tag: found without the hub from now on
    return replace(found, spec=str(name))


def _download_into_store(repository: Repository, stored: HubName, store_root: Path) -> WeightSource:
    file = _weight_file(repository)
    log.info("downloading %s of %s at %s into %s", file.name, stored.id, repository.commit, store_root)
    with Store(store_root).publish(WEIGHTS, stored_key(stored)) as folder:
        arrivals = folder / "arrivals"
        card = _card(repository, file, arrivals)
        fill_folder(folder, download(repository, file, arrivals), stored, card, store_root)
        shutil.rmtree(arrivals)
    return stored_weights(stored, str(stored), store_root)


def _weight_file(repository: Repository) -> HubFile:
    """Choose the file of weights: safetensors before a pickle, the usual name before any other."""
    files = repository.files
    if MODEL_FILE in files:
        return files[MODEL_FILE]
    if any(file.endswith(".safetensors.index.json") for file in files):
        raise InputError(
            f"weights {repository.name}: they lie in several files (a sharded safetensors), which is not supported; "
            "merge them into one file and run `tlmed weights import FILE --as hub:ID`."
        )
    others = [file for file in files if _SAFETENSORS.fullmatch(file)]
    if len(others) == 1:
        return files[others[0]]
    if _PICKLE in files and not others:
        return files[_PICKLE]
    what = f"several files of weights ({name_some(others)})" if others else "no file of weights that tlmed knows"
    raise InputError(
        f"weights {repository.name}: the repository holds {what}; "
        "download the right one and run `tlmed weights import FILE --as hub:ID`."
    )


def _card(repository: Repository, file: HubFile, arrivals: Path) -> dict[str, Any]:
    name = repository.name
    config = _read_config(repository, _CONFIG, arrivals)
    stated = config.get("pretrained_cfg", config)  # timm's; in its older repositories not nested
    if not isinstance(stated, dict):
        stated = {}
    pixels = {"mean": stated.get("mean"), "std": stated.get("std")}
    if None in pixels.values():
        preprocessor = _read_config(repository, _PREPROCESSOR, arrivals)
        pixels = {"mean": preprocessor.get("image_mean"), "std": preprocessor.get("image_std")}
    licence = repository.licence or stated.get("license")
    return {
        "origin": f"{file.name} of {name.id} on the hub",
        "licence": str(licence) if licence else None,
        "mean": pixel_values(pixels["mean"], "mean", Path(name.id)),
        "std": pixel_values(pixels["std"], "std", Path(name.id)),
        "revision": repository.commit,
        "gated": repository.gated,
    }


def _read_config(repository: Repository, file_name: str, arrivals: Path) -> dict[str, Any]:
    """Read a JSON file of a repository; empty where it has none."""
    file = repository.files.get(file_name)
    if file is None:
        return {}
    if (file.num_bytes or 0) > _LARGEST_CONFIG:
        raise InputError(f"weights {repository.name}: its {file_name} is too large to be a description of weights.")
    try:
        content = json.loads(download(repository, file, arrivals).read_bytes())
    except ValueError as error:
        raise InputError(f"weights {repository.name}: its {file_name} is not JSON ({error}).") from error
    return content if isinstance(content, dict) else {}
