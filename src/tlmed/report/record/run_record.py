"""What a run folder holds, read back: all that the report is drawn from, on whatever machine it lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.errors import InputError
from tlmed.recipe.load import load_recipe
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.run_folder import COMPARISON_FILE, METRICS_FILE, RECIPE_FILE

RECORD_FILES = (
    RECIPE_FILE,
    METRICS_FILE,
    COMPARISON_FILE,
    "audit.json",
    "domains.json",
    "lineage.json",
    "histories.csv",
    "predictions.parquet",
    "splits.csv",
)


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A finished run.

    Attributes:
        folder: of the run.
        recipe: resolved.
        metrics, audit, domains, lineage: content of the files of these names.
        comparison: content of `comparison.json`; None where nothing was compared.
        histories: training curves, a row an epoch, with the `key` of the stage.
        predictions, splits: tables.
        bundle: content of `bundle.json`, where one was delivered.
        pictures: content of `pictures.json`; None where none were kept.
    """

    folder: Path
    recipe: Recipe
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    audit: dict[str, Any]
    domains: dict[str, Any]
    lineage: dict[str, Any]
    histories: pd.DataFrame
    predictions: pd.DataFrame
    splits: pd.DataFrame
    bundle: dict[str, Any] | None
    pictures: dict[str, Any] | None


def read_run(folder: Path) -> RunRecord:
    """Read a run folder back.

    Raises:
        InputError: it is none, or its run has not finished.
    """
    if not (folder / METRICS_FILE).is_file():
        raise InputError(f"{folder}: no finished run lies there; name a run folder, such as runs/NAME.")
    metrics = _json(folder / METRICS_FILE)
    return RunRecord(
        folder,
        load_recipe(folder / RECIPE_FILE),
        metrics,
        _json(folder / COMPARISON_FILE) if (folder / COMPARISON_FILE).is_file() else None,
        _json(folder / "audit.json"),
        _json(folder / "domains.json"),
        _json(folder / "lineage.json"),
        pd.read_csv(folder / "histories.csv"),
        pd.read_parquet(folder / "predictions.parquet"),
        _splits(folder / "splits.csv"),
        _json(folder / "bundle" / "bundle.json") if (folder / "bundle").is_dir() else None,
        _json(folder / "pictures.json") if (folder / "pictures.json").is_file() else None,
    )


def _splits(file: Path) -> pd.DataFrame:
    """Names as they are written, such as "NA"; an empty cell of a further column is missing."""
    table = pd.read_csv(file, dtype=dict.fromkeys(("path", "unit", "group"), str), keep_default_na=False)
    return table.mask(table == "")


def _json(file: Path) -> Any:
    if not file.is_file():
        raise InputError(f"{file}: missing; run the recipe again into this folder, which trains nothing anew.")
    return json.loads(file.read_text(encoding="utf-8"))
