"""YAML to Recipe, with messages that name the key at fault."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tlmed.errors import InputError, did_you_mean
from tlmed.recipe.recipe import Recipe
from tlmed.recipe.validation import explain

_OF_STAGES_TOO = ("training", "preset", "image")  # a stage may lay its own over the recipe's; `--set` rules over both
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: YAML file. Relative paths in it are relative to its folder; `${NAME}` is an environment variable.
        overrides: `KEY=VALUE` with a dotted key, as in `training.epochs=5` or `chain.related.preset=tl-med`; a stage of
            the chain is named by its name. They win over everything in the file.

    Raises:
        InputError: no such file, not YAML, an unknown key (with the nearest valid one), a value that does not fit.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"recipe {file}: no such file. `tlmed init DATA` writes one.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"recipe {file} must be a mapping with keys such as name, backbone and chain.")
    for override in overrides:
        _apply_override(content, override)
    return parse_recipe(_located(content, file.resolve().parent), where=f"recipe {file}")


def parse_recipe(content: dict[str, Any], where: str) -> Recipe:
    """Validate a recipe given as a mapping with absolute paths."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error, Recipe, content)}") from error


def dump_recipe(recipe: Recipe) -> str:
    """Return YAML that `load_recipe` reads back to an equal recipe."""
    return yaml.safe_dump(_without_unset(recipe.model_dump(mode="json")), sort_keys=False, allow_unicode=True)


def _without_unset(value: Any, key: str = "") -> Any:
    """Leave out what is null, but not in `training`, where null switches something off."""
    if isinstance(value, dict):
        return {k: _without_unset(v, k) for k, v in value.items() if v is not None or key == "training"}
    return [_without_unset(item) for item in value] if isinstance(value, list) else value


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override!r}: write KEY=VALUE, as in --set training.epochs=5")
    *parents, last = key.split(".")
    place: Any = content
    for part in parents:
        if isinstance(place, list):
            named = {str(stage.get("name")): stage for stage in place if isinstance(stage, dict)}
            if part not in named:
                raise InputError(f"--set {override!r}: the chain has no stage {part!r}.{did_you_mean(part, named)}")
            place = named[part]
        else:
            if not isinstance(place.get(part), dict | list):
                place[part] = {"name": place[part]} if part == "backbone" and part in place else {}
            place = place[part]
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override!r}: the value is not YAML") from error
    if isinstance(place, list):
        raise InputError(f"--set {override!r}: name a key of the stage, as in --set chain.{last}.preset=tl-med")
    place[last] = value
    if key.split(".")[0] in _OF_STAGES_TOO:
        setting: Any = value
        for part in reversed(key.split(".")):
            setting = {part: setting}
        for stage in content.get("chain") or ():
            if isinstance(stage, dict):
                _forget(stage, setting)


def _forget(stage: dict[str, Any], setting: dict[str, Any]) -> None:
    """Take a stage's own values of a setting away, so that the whole recipe's rules."""
    for name, value in setting.items():
        if isinstance(value, dict) and isinstance(stage.get(name), dict):
            _forget(stage[name], value)
        else:
            stage.pop(name, None)


def _located(value: Any, folder: Path, key: str = "") -> Any:
    """Expand variables everywhere, and make the paths of data and weights absolute."""
    if isinstance(value, dict):
        return {name: _located(item, folder, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_located(item, folder, key) for item in value]
    if not isinstance(value, str):
        return value
    text = _VARIABLE.sub(_variable, value)
    if key in ("manifest", "folder"):
        return str(_absolute(text, folder))
    if key == "weights" and text.startswith(("file:", "bundle:")):
        kind, _, path = text.partition(":")
        return f"{kind}:{_absolute(path, folder)}"
    return text


def _absolute(path: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder / Path(path).expanduser()))


def _variable(match: re.Match[str]) -> str:
    name = match.group(1)
    if name not in os.environ:
        raise InputError(
            f"the recipe uses ${{{name}}}, but the environment variable {name} is not set: set it to a folder."
        )
    return os.environ[name]
