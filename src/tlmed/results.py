"""What a run leaves in its folder: splits, predictions, figures in numbers and pictures, the bundle."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.delivery import deliver_bundle
from tlmed.external import ExternalPredictions
from tlmed.recipe.recipe import Recipe
from tlmed.report.run_figures import draw_run
from tlmed.report.run_summary import results_text
from tlmed.runtime.run_folder import METRICS_FILE
from tlmed.runtime.store import Store, write_durably, write_json_durably
from tlmed.transfer.plan import NO_FOLD, ChainPlan


def write_splits(folder: Path, target: pd.DataFrame, plan: ChainPlan) -> None:
    """Write `splits.csv`: a row an image; under folds a row an image and repeat, with the fold that holds it out."""
    columns = ["path", "unit", "group", "split", "fold"]
    if plan.folds is None:
        splits = target.assign(fold=NO_FOLD)[columns]
    else:
        splits = plan.folds.rows(target.assign(split="test"))[[*columns, "seed"]]
    write_durably(folder / "splits.csv", splits.to_csv(index=False))


def write_results(
    folder: Path,
    recipe: Recipe,
    plan: ChainPlan,
    predictions: pd.DataFrame,
    external: Mapping[str, ExternalPredictions],
    metrics: dict[str, Any],
    input_summary: dict[str, Any],
    store: Store,
) -> None:
    """Write all that a run came to.

    Args:
        folder: of the run.
        external: by set.
        metrics: content of `metrics.json`.
        input_summary: of the images trained on, for the bundle.
        store: holds the stages.

    Raises:
        OSError: disk full; what was there before is intact.
    """
    _write_table(folder / "predictions.parquet", predictions)
    for name, one in external.items():
        _write_table(folder / "external" / f"{name}.parquet", one.table)
    write_durably(folder / "results.md", results_text(metrics))
    write_json_durably(folder / METRICS_FILE, metrics)
    draw_run(folder, plan, predictions, metrics, store)
    deliver_bundle(folder / "bundle", recipe, plan, predictions, metrics, input_summary, store)


def _write_table(file: Path, table: pd.DataFrame) -> None:
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    file.parent.mkdir(exist_ok=True)
    write_durably(file, stream.getvalue())
