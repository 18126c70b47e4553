"""The folder of one run: who may write into it, and which recipe it belongs to."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from tlmed.errors import InputError
from tlmed.recipe.hub_name import HubName
from tlmed.recipe.load import dump_recipe, parse_recipe
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.store import append_line, remove_unfinished_files, write_durably

RECIPE_FILE, METRICS_FILE, COMPARISON_FILE = "recipe.yaml", "metrics.json", "comparison.json"
CURVE_FILE = "learning_curve.json"
_LOCK_FILE, _LOG_FILE = ".lock", "log.jsonl"
# What does not change a result, and what `--seed` adds to.
_NOT_IDENTITY: dict[str, Any] = {
    "runtime": {"device", "devices", "workers", "checkpoint_seconds", "compile", "deterministic"},
    "note": True,
    "evaluation": {"seeds"},
    "name": True,
    "study": True,
    "chain": {"__all__": {"data": {"licence", "reference"}}},
}


class RunFolder:
    """One run's folder, held by this process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, event: str, **values: Any) -> None:
        """Append one line to `log.jsonl`."""
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **values}
        append_line(self.path / _LOG_FILE, json.dumps(entry, ensure_ascii=False))


@contextlib.contextmanager
def open_run_folder(path: Path, recipe: Recipe) -> Iterator[RunFolder]:
    """Hold a run folder for a resolved recipe, which is written into it.

    Raises:
        InputError: another process is running there, or the folder holds another recipe's results.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / _LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{path}: another run is working in this folder; wait for it, or choose another --out."
        ) from error
    try:
        _check_same_recipe(path, recipe)
        remove_unfinished_files(path)
        folder = RunFolder(path)
        folder.log("opened")
        write_durably(path / RECIPE_FILE, dump_recipe(recipe))
        yield folder
    finally:
        lock.release()


def recipe_of_results(folder: Path) -> Recipe | None:
    """Return the recipe that a run folder holds results of; None where it holds none.

    Raises:
        InputError: its recipe was changed into something that is none.
    """
    file = folder / RECIPE_FILE
    if not file.exists() or not any((folder / name).exists() for name in (METRICS_FILE, CURVE_FILE)):
        return None  # a run that failed left nothing that a mended recipe could mix with
    return parse_recipe(yaml.safe_load(file.read_text(encoding="utf-8")), where=str(file))


def _check_same_recipe(folder: Path, recipe: Recipe) -> None:
    file = folder / RECIPE_FILE
    if file.exists() and not (folder / _LOG_FILE).exists():
        raise InputError(f"{file} was not written by a run, which would replace it; choose another --out.")
    before = recipe_of_results(folder)
    if before is None:
        return
    old, new = (_flat(_identity(one)) for one in (before, recipe))
    changed = sorted(key for key in old.keys() | new.keys() if not _agree(old.get(key), new.get(key)))
    if changed:
        named = ", ".join(changed[:4]) + (" ..." if changed[4:] else "")
        raise InputError(
            f"{folder} belongs to another recipe (differs in {named}): "
            "give the recipe another name, or choose another --out; what both share is not trained again."
        )


def _identity(recipe: Recipe) -> dict[str, Any]:
    """The settings that results depend on; control arms may be added to what is there."""
    content = recipe.model_dump(mode="json", exclude=_NOT_IDENTITY)
    arms = content.get("arms") or {}
    return {**content, "arms": {name: arm for name, arm in arms.items() if arm["control"] is None}}


def _agree(old: Any, new: Any) -> bool:
    """Whether two values are the same, or names of one file of weights of which only one is pinned."""
    if isinstance(old, str) and isinstance(new, str) and old.startswith("hub:") and new.startswith("hub:"):
        return HubName.parse(old).agrees_with(HubName.parse(new))
    return bool(old == new)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: item for name, inner in value.items() for key, item in _flat(inner, f"{prefix}{name}.").items()}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        names = [str(item.get("name", position)) for position, item in enumerate(value)]
        return _flat(dict(zip(names, value, strict=True)), prefix)
    return {prefix.rstrip("."): value}
