"""A run's record for readers who must not see whom it is about, or where it was made."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.recipe.data import DataSettings
from tlmed.recipe.recipe import Recipe
from tlmed.report.record.opaque_levels import OpaqueLevels
from tlmed.report.record.run_record import RunRecord
from tlmed.report.record.small_counts import NOT_SHOWN, SMALLEST_SHOWN, is_small

_HIDDEN_PLACE = Path("not-shown")
_FEW = f"not shown in this copy, because it tells of fewer than {SMALLEST_SHOWN} cases"
# What one of them is can be reckoned from the others and the number of cases.
_OF_DECISIONS = (
    "accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "macro_f1", "mcc",
    "quadratic_weighted_kappa",
)  # fmt: skip
_KEPT_DETAILS = ("stage", "target", "target_paths", "pairs", "sets")


def shareable(record: RunRecord) -> RunRecord:
    """Return the record with opaque identifiers, without places on disk, pictures of cases and shares of few cases.

    Identifiers are drawn anew in each call, in an order of their own.
    """
    names, levels = _Names(record), OpaqueLevels()
    splits = levels.of_splits(record.splits)
    clean = _without_places(record.recipe)
    audit = _shared_audit(record.audit, names, levels)
    messages = {
        old["message"]: new["message"] for old, new in zip(record.audit["findings"], audit["findings"], strict=True)
    }
    return replace(
        record,
        folder=_HIDDEN_PLACE,
        recipe=_shared_recipe(record.recipe),
        metrics=clean(_shared_metrics(record.metrics, messages, levels)),
        comparison=clean(record.comparison),
        audit=clean(audit),
        domains={name: {**clean(domain), "source": NOT_SHOWN} for name, domain in record.domains.items()},
        lineage=clean(record.lineage),
        predictions=names.renamed(record.predictions),
        splits=names.renamed(splits),
        bundle=None if record.bundle is None else {**clean(record.bundle), "trained_on": []},
        pictures=None,
    )


def is_shared(record: RunRecord) -> bool:
    """Whether a record is one that `shareable` returned."""
    return record.folder == _HIDDEN_PLACE


class _Names:
    """Opaque names of units, groups and images. An image that is a unit has one name."""

    def __init__(self, record: RunRecord) -> None:
        tables = (record.predictions, record.splits)
        self._units = _opaque("u", (unit for table in tables for unit in table["unit"]))
        self._groups = _opaque("g", (group for table in tables for group in table["group"]))
        paths = {str(path) for table in tables for path in table["path"]} | set(_paths_of(record.audit))
        self._paths = _opaque("i", paths - self._units.keys()) | self._units

    def renamed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with opaque names, its rows in their order."""
        columns = {"path": self._paths, "unit": self._units, "group": self._groups}
        new = {column: table[column].astype(str).map(names) for column, names in columns.items()}
        keys = [name for name in ("arm", "seed") if name in table]
        return table.assign(**new).sort_values([*keys, "path"], ignore_index=True)

    def of_paths(self, value: Any) -> Any:
        """Return the value with every path in it replaced."""
        if isinstance(value, Mapping):
            return {name: self.of_paths(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.of_paths(inner) for inner in value]
        return self._paths.get(value, value) if isinstance(value, str) else value


def _opaque(letter: str, names: Iterable[object]) -> dict[str, str]:
    known = sorted(set(map(str, names)))
    random.SystemRandom().shuffle(known)
    width = max(3, len(str(len(known))))
    return {name: f"{letter}{number:0{width}d}" for number, name in enumerate(known, start=1)}


def _paths_of(audit: Mapping[str, Any]) -> Iterator[str]:
    for finding in audit["findings"]:
        yield from finding["paths"]
        details = finding["details"]
        yield from details.get("target_paths", ())
        for pair in details.get("pairs", ()):
            yield from pair["paths"]
        for of_set in details.get("sets", ()):
            yield from of_set
    for row in (*audit["dropped"], *audit["unreadable"]):
        yield row["path"]


def _shared_audit(audit: Mapping[str, Any], names: _Names, levels: OpaqueLevels) -> dict[str, Any]:
    return {
        **audit,
        "findings": [_shared_finding(finding, names, levels) for finding in audit["findings"]],
        "dropped": names.of_paths(audit["dropped"]),
        # Why a file cannot be read may name it.
        "unreadable": [{**names.of_paths(row), "reason": "cannot be read"} for row in audit["unreadable"]],
    }


def _shared_finding(finding: Mapping[str, Any], names: _Names, levels: OpaqueLevels) -> dict[str, Any]:
    """A message about images gives examples of them; one about files' form gives none, one about sources names them."""
    if finding["kind"] == "source_confounding":
        details, message = finding["details"], finding["message"]
        for source, label in details["single_class_sources"].items():
            message = message.replace(f"{source} ({label})", f"{levels.of('source', source)} ({label})")
        by_source = ("images_by_source", "single_class_sources")
        numbered = {name: levels.of_sources(details[name]) for name in by_source}
        return {**finding, "message": message, "details": {**details, **numbered}}
    if not finding["paths"]:
        return dict(finding)
    details = {name: names.of_paths(finding["details"][name]) for name in _KEPT_DETAILS if name in finding["details"]}
    size = "" if finding["value"] is None else f" ({_in_words(finding['value'])})"
    message = f"{details['stage']}: {finding['kind'].replace('_', ' ')}{size}; names are left out of this copy"
    return {**finding, "message": message, "paths": names.of_paths(finding["paths"]), "details": details}


def _in_words(size: float) -> str:
    return f"fewer than {SMALLEST_SHOWN}" if size < SMALLEST_SHOWN else f"{size:.0f}"


def _shared_metrics(metrics: Mapping[str, Any], messages: Mapping[str, str], levels: OpaqueLevels) -> dict[str, Any]:
    shared: dict[str, Any] = _without_few(metrics)
    shared["audit_warnings"] = [
        {**warning, "message": messages[warning["message"]]} for warning in metrics["audit_warnings"]
    ]
    shared["usage"] = [_shared_usage(finding, levels) for finding in shared["usage"]]
    if "by_source" in shared:
        shared["by_source"] = levels.of_sources(shared["by_source"])
    return shared


def _shared_usage(finding: Mapping[str, Any], levels: OpaqueLevels) -> dict[str, Any]:
    """Levels that few groups have are left out, the others numbered."""
    details, message = finding["details"], finding["message"].partition("; this cannot be told")[0]
    untold = details.get("cannot_be_told", [])
    variables = [one["variable"] for one in (*details.get("variables", ()), *untold)]
    shared: dict[str, Any] = levels.replaced({**finding, "message": message}, variables)
    return {**shared, "details": {**shared["details"], "cannot_be_told": []}}


def _without_few(value: Any) -> Any:
    """Take out figures that are shares of few cases, or of all but a few, and what they can be reckoned from."""
    if isinstance(value, list):
        return [_without_few(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    if "refused" in value and any(_is_few(cell) for cell in value.values()):
        kept = {name: inner for name, inner in value.items() if not _is_share(inner)}
        return {**kept, "refused": _FEW, "fits": []}
    if any(_is_few(cell) for cell in value.values()):
        hidden = {"value": None, "low": None, "high": None, "undefined": _FEW}
        return {name: hidden if name in _OF_DECISIONS else _without_few(inner) for name, inner in value.items()}
    return {name: _without_few(inner) for name, inner in value.items()}


def _is_share(cell: Any) -> bool:
    return isinstance(cell, Mapping) and "denominator" in cell


def _is_few(cell: Any) -> bool:
    if not _is_share(cell):
        return False
    parts = cell["numerators"] if "numerators" in cell else [cell["numerator"]]
    return is_small(parts, cell["denominator"])


def _without_places(recipe: Recipe) -> Callable[[Any], Any]:
    """Return what replaces, wherever it stands in text, each place on disk that the recipe names."""
    places = {one for spec in _weights(recipe) for one in _spellings(spec)}
    places |= {str(place) for data in _data(recipe) for place in (data.manifest, data.folder) if place is not None}
    by_length = sorted(places, key=len, reverse=True)

    def cleaned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: cleaned(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [cleaned(inner) for inner in value]
        if isinstance(value, str):
            for place in by_length:
                value = value.replace(place, NOT_SHOWN)
        return value

    return cleaned


def _weights(recipe: Recipe) -> Iterator[str]:
    for spec in (recipe.weights, *(arm.weights for arm in (recipe.arms or {}).values())):
        if spec is not None and spec.startswith(("file:", "bundle:")):
            yield spec


def _spellings(spec: str) -> Iterator[str]:
    """The place as the recipe writes it, and as lineage and bundle do, by its last part."""
    kind, _, place = spec.partition(":")
    last = place.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    yield from (spec, place, f"{kind}:{last}", last)


def _data(recipe: Recipe) -> list[DataSettings]:
    return [*(stage.data for stage in recipe.chain), *recipe.evaluation.external.values()]


def _shared_recipe(recipe: Recipe) -> Recipe:
    chain = tuple(stage.model_copy(update={"data": _shared_data(stage.data)}) for stage in recipe.chain)
    external = {name: _shared_data(data) for name, data in recipe.evaluation.external.items()}
    arms = {
        name: arm.model_copy(update={"weights": _shared_weights(arm.weights)})
        for name, arm in (recipe.arms or {}).items()
    }
    return recipe.model_copy(
        update={
            "chain": chain,
            "arms": arms or None,
            "weights": _shared_weights(recipe.weights),
            "evaluation": recipe.evaluation.model_copy(update={"external": external}),
        }
    )


def _shared_data(data: DataSettings) -> DataSettings:
    hidden = {name: _HIDDEN_PLACE for name in ("manifest", "folder") if getattr(data, name) is not None}
    return data.model_copy(update={**hidden, "group_pattern": None})


def _shared_weights(spec: str | None) -> str | None:
    kind = "" if spec is None else spec.partition(":")[0]
    return f"{kind}:{_HIDDEN_PLACE}" if kind in ("file", "bundle") else spec
