"""Where starting weights come from: a file, a stage, a bundle, an imported hub model. No torch, no network."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlmed.errors import InputError, did_you_mean
from tlmed.runtime.digests import file_digest
from tlmed.runtime.store import Store

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

WEIGHTS = "weights"
MODEL_FILE = "model.safetensors"
_CARD_KEYS = ("origin", "licence", "mean", "std", "digest")
# No part may begin with a dot, so that an id never leads out of its folder; "--" stands for "/" in folder names.
_HUB_ID = re.compile(r"(?!.*--)[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class WeightSource:
    """Weights that were found, and what is known about them.

    Attributes:
        spec: as in the recipe, `hub:ID` for example.
        kind: `file`, `stage`, `bundle` or `hub`.
        path: the file of weights.
        digest: SHA-256 of its bytes, hexadecimal.
        licence: as its publisher states it; None when unknown.
        mean, std: of the pixels in [0, 1] that they were trained with; None when unknown.
        origin: where the file came from, in words.
    """

    spec: str
    kind: str
    path: Path
    digest: str
    licence: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    origin: str | None = None

    def card(self) -> dict[str, Any]:
        """Return what lineage records, JSON-able and without a path: the name in `spec` of a file is its last part."""
        card = asdict(self)
        del card["path"]
        if self.kind in ("file", "bundle"):
            card["spec"] = f"{self.kind}:{Path(self.spec.partition(':')[2]).name}"
        return {key: list(value) if isinstance(value, tuple) else value for key, value in card.items()}


def find_weights(spec: str, *, store_root: Path) -> WeightSource | None:
    """Find starting weights on this machine.

    Args:
        spec: `none`, `file:PATH`, `bundle:PATH` or `hub:ID`, paths absolute; `stage:NAME` needs the chain's
            knowledge of stages and is found there.
        store_root: the store, in which imported weights lie.

    Returns:
        None for `none`.

    Raises:
        InputError: not there, damaged, or of no known kind.
    """
    if spec == "none":
        return None
    kind, _, name = spec.partition(":")
    if kind == "file":
        return weights_from_file(Path(name), spec, kind)
    if kind == "bundle":
        return _from_bundle(Path(name), spec)
    if kind == "hub":
        path = imported_folder(name, store_root) / MODEL_FILE
        if not path.is_file():
            raise InputError(
                f"weights {spec}: not in the store {store_root}, and no network is used; fetch the file elsewhere "
                f"and run `tlmed weights import FILE --as {spec} --store {store_root}`."
            )
        return weights_from_file(path, spec, kind)
    if kind == "stage":
        raise InputError(f"weights {spec}: a stage cannot be used here; name its file, as file:PATH/{MODEL_FILE}.")
    raise InputError(f"weights {spec!r}: write none, file:PATH, stage:NAME, bundle:PATH or hub:ID.")


def weights_from_stage(folder: Path, spec: str) -> WeightSource:
    """Return the weights in a stage folder, with the licence of what its chain started from.

    Raises:
        InputError: the folder is not a stage.
    """
    card = _read_json(folder / "stage.json", f"weights {spec}")
    return WeightSource(
        spec=spec,
        kind="stage",
        path=existing_file(folder / MODEL_FILE, spec),
        digest=card.get("digest") or file_digest(folder / MODEL_FILE),
        licence=_licence_of_chain(folder, card),
        mean=pixel_values(card.get("mean"), "mean", folder / "stage.json"),
        std=pixel_values(card.get("std"), "std", folder / "stage.json"),
        origin=f"stage {folder.name}",
    )


def imported_folder(hub_id: str, store_root: Path) -> Path:
    """Return where imported weights are, or would be.

    Raises:
        InputError: an id that a hub could not have.
    """
    if not _HUB_ID.fullmatch(hub_id):
        raise InputError(
            f"weights 'hub:{hub_id}': an id has letters, digits, '.', '_', single '-', and '/' between its parts."
        )
    return Store(store_root).folder(WEIGHTS, hub_id.replace("/", "--"))


def weights_from_file(path: Path, spec: str, kind: str) -> WeightSource:
    """A file of weights, and the card beside it if there is one."""
    path = existing_file(path, spec)
    digest = file_digest(path)
    card_path = card_path_of(path)
    card = _read_json(card_path, f"weights {spec}") if card_path.is_file() else {}
    for key in card:
        if key not in _CARD_KEYS:
            raise InputError(f"{card_path}: unknown key {key!r}.{did_you_mean(key, _CARD_KEYS)}")
    if card.get("digest", digest) != digest:
        raise InputError(f"weights {spec}: {path} does not have the digest in {card_path.name}; copy it again.")
    return WeightSource(
        spec=spec,
        kind=kind,
        path=path,
        digest=digest,
        licence=card.get("licence"),
        mean=pixel_values(card.get("mean"), "mean", card_path),
        std=pixel_values(card.get("std"), "std", card_path),
        origin=card.get("origin"),
    )


def _from_bundle(folder: Path, spec: str) -> WeightSource:
    card = _read_json(folder / "bundle.json", f"weights {spec}")
    path = existing_file(folder / MODEL_FILE, spec)
    digest = file_digest(path)
    if card.get("digest", digest) != digest:
        raise InputError(f"weights {spec}: {path} does not have the digest in bundle.json; copy the bundle again.")
    stated = [f"{item['what']}: {item['licence']}" for item in card.get("licences", []) if item["licence"]]
    return WeightSource(
        spec=spec,
        kind="bundle",
        path=path,
        digest=digest,
        licence="; ".join(stated) or None,
        mean=pixel_values(card.get("mean"), "mean", folder / "bundle.json"),
        std=pixel_values(card.get("std"), "std", folder / "bundle.json"),
        origin=f"bundle {card.get('name', folder.name)}",
    )


def _licence_of_chain(folder: Path, card: dict[str, Any]) -> str | None:
    """Go back along the parents to the stage that started from foreign weights."""
    while card.get("parent"):
        folder = folder.with_name(card["parent"])
        if not (folder / "stage.json").is_file():
            return None  # `tlmed clean` removed it
        card = _read_json(folder / "stage.json", f"stage {folder.name}")
    licence: str | None = (card.get("weights") or {}).get("licence")
    return licence


def existing_file(path: Path, spec: str) -> Path:
    """Return the path of a file of weights.

    Raises:
        InputError: it is not there, or its name tells of another kind of file.
    """
    if not path.is_file():
        raise InputError(f"weights {spec}: {path} is not there or not a file; check the path.")
    if path.suffix not in SUFFIXES:
        raise InputError(f"weights {spec}: {path.name} must end in one of {', '.join(SUFFIXES)}.")
    return path


def card_path_of(path: Path) -> Path:
    """Return the path of the JSON card that may lie beside a file of weights."""
    return path.with_name(f"{path.stem}.card.json")


def _read_json(path: Path, what: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{what}: {path} is not there; check the path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{what}: {path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{what}: {path} must hold a JSON object.")
    return content


def pixel_values(value: Any, name: str, where: Path) -> tuple[float, ...] | None:
    """Check a mean or std: one number or three.

    Raises:
        InputError: something else.
    """
    if value is None:
        return None
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    fits = len(numbers) in (1, 3) and all(isinstance(number, int | float) for number in numbers)
    if not fits or (name == "std" and min(numbers) <= 0):
        raise InputError(
            f"{where}: {name} takes one number or three{', positive' if name == 'std' else ''}, not {value}."
        )
    return tuple(float(number) for number in numbers)
