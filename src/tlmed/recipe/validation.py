"""Pydantic's validation errors as one sentence that names the key at fault and the nearest valid one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tlmed.errors import did_you_mean


def explain(error: ValidationError, model: type[BaseModel], content: Any) -> str:
    """Return the first error as a sentence; `content` is what did not validate against `model`."""
    # A misspelt key that is needed is both unknown and missing; the first says more.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    location = first["loc"]
    place = ".".join(_named(location, content))
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}.{did_you_mean(str(location[-1]), _valid_keys(location[:-1], model))}"
    if first["type"] == "missing":
        return f"the key {place!r} is missing."
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _named(location: Sequence[int | str], content: Any) -> list[str]:
    """Replace positions in a list of named things (the stages of the chain) by the names."""
    names = []
    for part in location:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            content = None
        is_named = isinstance(part, int) and isinstance(content, dict) and "name" in content
        names.append(str(content["name"]) if is_named else str(part))
    return names


def _valid_keys(location: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = _model_within(field.annotation) if field is not None else None
        model = inner or model
    return list(model.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_model_within, get_args(annotation)) if found is not None), None)
