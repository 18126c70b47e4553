"""Where starting weights come from: a file, a stage, a bundle, an imported hub model. No torch, no network."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tlmed.errors import InputError, did_you_mean
from tlmed.runtime.digests import file_digest
from tlmed.runtime.store import Store, write_json_durably

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

_STORE_KIND = "weights"
_MODEL = "model.safetensors"
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
        return _from_file(Path(name), spec, kind)
    if kind == "bundle":
        return _from_bundle(Path(name), spec)
    if kind == "hub":
        path = _import_folder(name, store_root) / _MODEL
        if not path.is_file():
            raise InputError(
                f"weights {spec}: not in the store {store_root}, and no network is used; fetch the file elsewhere "
                f"and run `tlmed weights import FILE --as {spec} --licence L`."
            )
        return _from_file(path, spec, kind)
    if kind == "stage":
        raise InputError(f"weights {spec}: a stage cannot be used here; name its file, as file:STAGES/KEY/{_MODEL}.")
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
        path=_existing(folder / _MODEL, spec),
        digest=card.get("digest") or file_digest(folder / _MODEL),
        licence=_licence_of_chain(folder, card),
        mean=_values(card.get("mean"), "mean", folder / "stage.json"),
        std=_values(card.get("std"), "std", folder / "stage.json"),
        origin=f"stage {folder.name}",
    )


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
    final = _import_folder(hub_id, store_root)
    card = {
        "origin": file.name,
        "licence": licence,
        "mean": _values(mean, "mean", file),
        "std": _values(std, "std", file),
    }
    with Store(store_root).publish(_STORE_KIND, final.name) as folder:
        _write_safetensors(_existing(file, f"file:{file}"), folder / _MODEL)
        digest = file_digest(folder / _MODEL)
        if final.exists() and file_digest(final / _MODEL) != digest:
            raise InputError(f"weights {name}: other weights are in the store under this name; delete {final} first.")
        write_json_durably(_card_path(folder / _MODEL), {**card, "digest": digest})
        if final.exists():  # the same bytes again: what is known about them may be new
            write_json_durably(_card_path(final / _MODEL), {**card, "digest": digest})
    return _from_file(final / _MODEL, name, "hub")


def list_weights(store_root: Path) -> list[WeightSource]:
    """Return the imported weights of a store, by name.

    Raises:
        InputError: an imported file was changed since.
    """
    folders = [Store(store_root).folder(_STORE_KIND, key) for key in Store(store_root).entries(_STORE_KIND)]
    return [_from_file(folder / _MODEL, f"hub:{folder.name.replace('--', '/')}", "hub") for folder in folders]


def _import_folder(hub_id: str, store_root: Path) -> Path:
    if not _HUB_ID.fullmatch(hub_id):
        raise InputError(
            f"weights 'hub:{hub_id}': an id has letters, digits, '.', '_', single '-', and '/' between its parts."
        )
    return Store(store_root).folder(_STORE_KIND, hub_id.replace("/", "--"))


def _from_file(path: Path, spec: str, kind: str) -> WeightSource:
    """A file of weights, and the card beside it if there is one."""
    path = _existing(path, spec)
    digest = file_digest(path)
    card_path = _card_path(path)
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
        mean=_values(card.get("mean"), "mean", card_path),
        std=_values(card.get("std"), "std", card_path),
        origin=card.get("origin"),
    )


def _from_bundle(folder: Path, spec: str) -> WeightSource:
    card = _read_json(folder / "bundle.json", f"weights {spec}")
    path = _existing(folder / _MODEL, spec)
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
        mean=_values(card.get("mean"), "mean", folder / "bundle.json"),
        std=_values(card.get("std"), "std", folder / "bundle.json"),
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


def _existing(path: Path, spec: str) -> Path:
    if not path.is_file():
        raise InputError(f"weights {spec}: {path} is not there or not a file; check the path.")
    if path.suffix not in SUFFIXES:
        raise InputError(f"weights {spec}: {path.name} must end in one of {', '.join(SUFFIXES)}.")
    return path


def _card_path(path: Path) -> Path:
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


def _values(value: Any, name: str, where: Path) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    fits = len(numbers) in (1, 3) and all(isinstance(number, int | float) for number in numbers)
    if not fits or (name == "std" and min(numbers) <= 0):
        raise InputError(
            f"{where}: {name} takes one number or three{', positive' if name == 'std' else ''}, not {value}."
        )
    return tuple(float(number) for number in numbers)


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
