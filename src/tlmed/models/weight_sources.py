"""Where starting weights come from: a file, a stage, a bundle, what a store has of a hub. No torch, no network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlmed.errors import InputError, did_you_mean
from tlmed.recipe.hub_name import HUB, HubName
from tlmed.runtime.digests import file_digest
from tlmed.runtime.store import Store

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

WEIGHTS = "weights"
MODEL_FILE = "model.safetensors"
# `requested` is the branch or tag by which a revision was asked for, so that it is found again without the hub.
_TEXTS = ("origin", "licence", "digest", "revision", "requested")
_CARD_KEYS = (*_TEXTS, "mean", "std", "gated")
_SHORTEST_COMMIT = 7


@dataclass(frozen=True)
class WeightSource:
    """Weights that were found, and what is known about them.

    Attributes:
        spec: as it was asked for, `hub:ID` for example.
        kind: `file`, `stage`, `bundle` or `hub`.
        path: the file of weights.
        digest: SHA-256 of its bytes, hexadecimal.
        licence: as its publisher states it; None when unknown.
        mean, std: of the pixels in [0, 1] that they were trained with; None when unknown.
        origin: where the file came from, in words.
        revision: of a hub, the full commit hash; None when unknown.
        gated: whether their publisher gives access on conditions.
    """

    spec: str
    kind: str
    path: Path
    digest: str
    licence: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    origin: str | None = None
    revision: str | None = None
    gated: bool = False

    @property
    def pinned(self) -> str:
        """The spec by which the same file is found for ever: of a hub with revision and digest."""
        if self.kind != HUB:
            return self.spec
        name = HubName.parse(self.spec)
        return str(HubName(name.id, self.revision or name.commit, self.digest))

    def card(self) -> dict[str, Any]:
        """Return what lineage records, JSON-able and without a path.

        The name in `spec` of a file is its last part; a hub's is without pins, which stand beside it.
        """
        card = asdict(self)
        del card["path"]
        if self.kind in ("file", "bundle"):
            card["spec"] = f"{self.kind}:{Path(self.spec.partition(':')[2]).name}"
        if self.kind == HUB:
            card["spec"] = str(HubName.parse(self.spec).unpinned())
        return {key: list(value) if isinstance(value, tuple) else value for key, value in card.items()}


def find_weights(spec: str, *, store_root: Path) -> WeightSource | None:
    """Find starting weights on this machine.

    Args:
        spec: `none`, `file:PATH`, `bundle:PATH` or `hub:ID[@REVISION][#sha256:DIGEST]`, paths absolute; `stage:NAME`
            needs the chain's knowledge of stages and is found there.
        store_root: the store, in which weights of hubs lie.

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
    if kind == HUB:
        return require_stored(parse_hub_name(spec), store_root)
    if kind == "stage":
        raise InputError(f"weights {spec}: a stage cannot be used here; name its file, as file:PATH/{MODEL_FILE}.")
    raise InputError(f"weights {spec!r}: write none, file:PATH, stage:NAME, bundle:PATH or hub:ID.")


def weights_from_stage(folder: Path, spec: str) -> WeightSource:
    """Return the weights in a stage folder, with the licence of what its chain started from.

    Raises:
        InputError: the folder is not a stage.
    """
    card = _read_json(folder / "stage.json", f"weights {spec}")
    foreign = _foreign_weights_of_chain(folder, card)
    return WeightSource(
        spec=spec,
        kind="stage",
        path=existing_file(folder / MODEL_FILE, spec),
        digest=card.get("digest") or file_digest(folder / MODEL_FILE),
        licence=foreign.get("licence"),
        mean=pixel_values(card.get("mean"), "mean", folder / "stage.json"),
        std=pixel_values(card.get("std"), "std", folder / "stage.json"),
        origin=f"stage {folder.name}",
        gated=bool(foreign.get("gated")),
    )


def parse_hub_name(spec: str) -> HubName:
    """Read the name of weights on a hub.

    Raises:
        InputError: one that a hub could not have.
    """
    try:
        return HubName.parse(spec)
    except ValueError as error:
        raise InputError(f"{error}.") from error


def stored_key(name: HubName) -> str:
    """Return the name of the folder that holds weights of a hub in the store, one for each revision."""
    return name.id.replace("/", "--") + (f"@{name.commit}" if name.commit else "")


def stored_name(key: str) -> HubName:
    """Return the name of the weights in a folder of the store."""
    hub_id, _, commit = key.partition("@")
    return HubName(hub_id.replace("--", "/"), commit or None)


def find_stored(name: HubName, store_root: Path) -> WeightSource | None:
    """Find weights of a hub that were pulled or imported before.

    Args:
        name: without pins, whatever the store has; a digest decides alone, a revision where there is no digest.
        store_root: the store.

    Raises:
        InputError: several files fit, other bytes than the pinned ones are there, or a file was changed since.
    """
    store = Store(store_root)
    cards = {
        key: read_card(card_path_of(store.folder(WEIGHTS, key) / MODEL_FILE), f"weights {name}")
        for key in store.entries(WEIGHTS)
        if stored_name(key).id == name.id
    }
    fitting = [key for key, card in cards.items() if _fits(card, name)]
    if not fitting and name.commit is not None:
        other = next((key for key, card in cards.items() if card.get("revision") == name.commit), None)
        if other is not None:
            raise InputError(
                f"weights {name}: {store.folder(WEIGHTS, other)} holds other bytes of this revision (SHA-256 "
                f"{cards[other].get('digest')}); mend the pin, or remove that folder and fetch them again."
            )
    digests = sorted({cards[key].get("digest", "") for key in fitting})
    if len(digests) > 1:
        pinned = [str(HubName(name.id, digest=digest)) for digest in digests]
        raise InputError(
            f"weights {name}: the store {store_root} holds {len(digests)} of this name; write one of "
            f"{', '.join(pinned)} (`tlmed weights list` shows them)."
        )
    if not fitting:
        return None
    key = max(fitting, key=lambda one: "revision" in cards[one])  # that one says more
    return weights_from_file(store.folder(WEIGHTS, key) / MODEL_FILE, str(name), HUB)


def require_stored(name: HubName, store_root: Path) -> WeightSource:
    """Find weights of a hub that must be in the store; arguments as in `find_stored`.

    Raises:
        InputError: they are not there; and what `find_stored` raises.
    """
    found = find_stored(name, store_root)
    if found is None:
        raise InputError(
            f"weights {name}: not in the store {store_root}; `tlmed weights pull {name} --store {store_root}` "
            f"fetches it, `tlmed weights import FILE --as {name.unpinned()} --store {store_root}` takes a file."
        )
    return found


def _fits(card: dict[str, Any], name: HubName) -> bool:
    if name.digest is not None:
        return bool(card.get("digest") == name.digest)
    revision, known = name.revision, card.get("revision", "")
    is_short_commit = revision is not None and len(revision) >= _SHORTEST_COMMIT and known.startswith(revision)
    return revision is None or is_short_commit or card.get("requested") == revision


def weights_from_file(path: Path, spec: str, kind: str) -> WeightSource:
    """A file of weights, and the card beside it if there is one."""
    path = existing_file(path, spec)
    digest = file_digest(path)
    card_path = card_path_of(path)
    card = read_card(card_path, f"weights {spec}") if card_path.is_file() else {}
    if card.get("digest", digest) != digest:
        remedy = f"remove {path.parent} and fetch it again" if kind == HUB else "copy it again"
        raise InputError(f"weights {spec}: {path} does not have the digest in {card_path.name}; {remedy}.")
    return WeightSource(
        spec=spec,
        kind=kind,
        path=path,
        digest=digest,
        licence=card.get("licence"),
        mean=pixel_values(card.get("mean"), "mean", card_path),
        std=pixel_values(card.get("std"), "std", card_path),
        origin=card.get("origin"),
        revision=card.get("revision"),
        gated=bool(card.get("gated")),
    )


def read_card(path: Path, what: str) -> dict[str, Any]:
    """Read the card beside a file of weights; keys without a value are left out.

    Raises:
        InputError: not a card.
    """
    card = {key: value for key, value in _read_json(path, what).items() if value is not None}
    for key, value in card.items():
        if key not in _CARD_KEYS:
            raise InputError(f"{path}: unknown key {key!r}.{did_you_mean(key, _CARD_KEYS)}")
        if key in _TEXTS and not isinstance(value, str):
            raise InputError(f"{path}: {key} must be text, not {value!r}.")
    return card


def _from_bundle(folder: Path, spec: str) -> WeightSource:
    card = _read_json(folder / "bundle.json", f"weights {spec}")
    members = card.get("members", [card])  # format 1 had one, whose digest stood in the card itself
    if len(members) > 1:
        raise InputError(
            f"weights {spec}: the bundle is the mean of {len(members)} networks, and a chain starts from one; take one "
            f"of its files, as file:{folder / member_file(0, len(members))}, or a bundle made with `bundle: refit`."
        )
    path = existing_file(folder / MODEL_FILE, spec)
    digest = file_digest(path)
    if members[0].get("digest", digest) != digest:
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


def _foreign_weights_of_chain(folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Go back along the parents to the card of the foreign weights that the chain started from."""
    while card.get("parent"):
        folder = folder.with_name(card["parent"])
        if not (folder / "stage.json").is_file():
            return {}  # `tlmed clean` removed it
        card = _read_json(folder / "stage.json", f"stage {folder.name}")
    return card.get("weights") or {}


def member_file(index: int, num_members: int) -> str:
    """Return the name of a network's file in a bundle, which may be the mean of several."""
    return MODEL_FILE if num_members == 1 else f"model-{index + 1}.safetensors"


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
