"""What a run leaves in its folder: splits, predictions, figures in numbers and pictures, the bundle."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.data.manifest import Manifest, metadata_columns
from tlmed.delivery import deliver_bundle
from tlmed.external import ExternalPredictions
from tlmed.recipe.recipe import Recipe
from tlmed.report.paper.paper_tables import write_paper_tables
from tlmed.report.record.case_pictures import keep_pictures
from tlmed.report.record.run_record import RECORD_FILES, read_run
from tlmed.report.run.run_figures import draw_run
from tlmed.report.run.run_summary import results_text
from tlmed.report.run_report import render_report
from tlmed.runtime.digests import file_digest, source_digest
from tlmed.runtime.run_folder import COMPARISON_FILE, METRICS_FILE
from tlmed.runtime.store import Store, content_key, write_durably, write_json_durably
from tlmed.transfer.plan import NO_FOLD, ChainPlan


def write_splits(folder: Path, target: pd.DataFrame, plan: ChainPlan) -> None:
    """Write `splits.csv`: a row an image; under folds a row an image and repeat, with the fold that holds it out.

    The manifest's metadata columns come last.
    """
    columns, further = ["path", "unit", "group", "split", "fold"], metadata_columns(target)
    if plan.folds is None:
        splits = target.assign(fold=NO_FOLD)[[*columns, *further]]
    else:
        splits = plan.folds.rows(target.assign(split="test"))[[*columns, "seed", *further]]
    write_durably(folder / "splits.csv", splits.to_csv(index=False))


def write_results(
    folder: Path,
    recipe: Recipe,
    plan: ChainPlan,
    predictions: pd.DataFrame,
    external: Mapping[str, ExternalPredictions],
    metrics: dict[str, Any],
    comparison: dict[str, Any] | None,
    input_summary: dict[str, Any],
    store: Store,
) -> None:
    """Write all that a run came to.

    Args:
        folder: of the run.
        external: by set.
        metrics: content of `metrics.json`.
        comparison: content of `comparison.json`, if there is one.
        input_summary: of the images trained on, for the bundle.
        store: holds the stages.

    Raises:
        OSError: disk full; what was there before is intact.
    """
    _write_table(folder / "predictions.parquet", predictions)
    for name, one in external.items():
        _write_table(folder / "external" / f"{name}.parquet", one.table)
    write_durably(folder / "results.md", results_text(metrics))
    if comparison is None:
        (folder / COMPARISON_FILE).unlink(missing_ok=True)
    else:
        write_json_durably(folder / COMPARISON_FILE, comparison)
    write_json_durably(folder / METRICS_FILE, metrics)
    draw_run(folder, plan, predictions, metrics, store)
    deliver_bundle(folder / "bundle", recipe, plan, predictions, metrics, input_summary, store)


def write_report(folder: Path, domains: Mapping[str, Manifest]) -> None:
    """Write `report.html`, the tables to paste and pictures of cases, from what lies in the folder of a run.

    Where the report was drawn from the same by the same code, it stays.

    Args:
        folder: of a run that has written its results.
        domains: by stage, with the rows that were dropped.

    Raises:
        OSError: disk full; what was there before is intact.
    """
    report = folder / "report.html"
    origin = f"\n<!-- drawn from {_origin(folder)} -->\n"
    if report.is_file() and report.read_text(encoding="utf-8").endswith(origin):
        return
    record = read_run(folder)
    keep_pictures(
        folder,
        record.recipe,
        predictions=record.predictions,
        metrics=record.metrics,
        audit=record.audit,
        domains=domains,
    )
    record = read_run(folder)
    write_paper_tables(record, folder)
    write_durably(report, render_report(record) + origin)


def _origin(folder: Path) -> str:
    """Digest of all that a report is drawn from, its code included."""
    files = [file for name in (*RECORD_FILES, "bundle/bundle.json") if (file := folder / name).is_file()]
    digests = {str(file.relative_to(folder)): file_digest(file) for file in files}
    return content_key({"code": source_digest("report", "evaluation", "serving", "results.py"), "files": digests})


def _write_table(file: Path, table: pd.DataFrame) -> None:
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    file.parent.mkdir(exist_ok=True)
    write_durably(file, stream.getvalue())
