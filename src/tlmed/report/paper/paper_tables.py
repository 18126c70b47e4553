"""The tables of a run for a paper: numbers as CSV, and both tables as a Word document."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.evaluation.assessment.case_data import counted
from tlmed.report.facts.evaluation_facts import intervals, speaks_for, threshold
from tlmed.report.facts.fact import METRIC_NAMES, p_value, positive_in_words, trained_arms
from tlmed.report.facts.result_facts import verdict
from tlmed.report.facts.training_facts import seeds_by_arm
from tlmed.report.figure_text import counts_text, figure_text
from tlmed.report.record.case_counts import tested_cases
from tlmed.report.record.run_record import RunRecord
from tlmed.runtime.store import write_durably

_OF_TWO_CLASSES = ("auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier")
_OF_MORE_CLASSES = ("auroc", "accuracy", "balanced_accuracy", "macro_f1")
_TITLES = {**METRIC_NAMES, "macro_f1": "macro F1"}
_LIMITS = ("low", "high")


def write_paper_tables(record: RunRecord, folder: Path) -> None:
    """Write `results.csv`, `results.docx` and, of several arms, `comparison.csv` into `folder/tables`.

    Raises:
        OSError: disk full; what was there before is intact.
    """
    place = folder / "tables"
    place.mkdir(parents=True, exist_ok=True)
    write_durably(place / "results.csv", results_table(record).to_csv(index=False))
    if record.comparison is not None:
        write_durably(place / "comparison.csv", comparison_table(record.comparison).to_csv(index=False))
    write_durably(place / "results.docx", _document(record))


def results_table(record: RunRecord) -> pd.DataFrame:
    """Return a row an arm: figures of the more probable class with limits, then those at the first threshold."""
    metrics, seeds = record.metrics, seeds_by_arm(record)
    rows = []
    for arm in trained_arms(record):
        row: dict[str, Any] = {
            "arm": arm.name,
            "delivered": arm.name == metrics["delivered"],
            "control": arm.control,
            "num_seeds": len(seeds[arm.name]),
            "num_units": metrics["num_units"],
            "num_groups": metrics["num_groups"] if metrics["groups_known"] else None,
        }
        for name in _figures_of(metrics):
            row |= _columns(name, metrics["arms"][arm.name][name])
        calibrated = metrics["calibrated"][arm.name]["metrics"]
        if "calibration_slope" in calibrated:
            row |= _columns("calibration_slope", calibrated["calibration_slope"])
        points = metrics["operating_points"].get(arm.name, [])
        if points and points[0]["refused"] is None:
            for name in ("sensitivity", "specificity"):
                row |= _columns(f"{name}_at_threshold", points[0][name])
        rows.append(row)
    return pd.DataFrame(rows)


def comparison_table(comparison: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a comparison: difference, limits, what it speaks for, p values, verdict."""
    rows = []
    for one in comparison["contrasts"]:
        claim = {} if one["speaks_for"] is None else one["claims"][one["speaks_for"]]
        rows.append(
            {
                "comparison": one["name"],
                "role": one["role"],
                "metric": comparison["metric"],
                "difference": one["value"],
                **{name: claim.get(name) for name in ("low", "high", "low_90", "high_90", "p_value")},
                "p_holm": one["p_holm"],
                "speaks_for": speaks_for(comparison, one),
                "method": claim.get("method"),
                "verdict": one["verdict"],
                "reason": one["reason"],
            }
        )
    return pd.DataFrame(rows)


def _figures_of(metrics: Mapping[str, Any]) -> Sequence[str]:
    return _OF_MORE_CLASSES if metrics["positive"] is None else _OF_TWO_CLASSES


def _columns(name: str, cell: Mapping[str, Any]) -> dict[str, Any]:
    return {name: cell["value"], **{f"{name}_{limit}": cell[limit] for limit in _LIMITS}}


def _document(record: RunRecord) -> bytes:
    from docx import Document

    metrics = record.metrics
    document = Document()
    document.core_properties.title = record.recipe.name
    document.core_properties.author = ""
    document.add_paragraph(f"Table 1. {_caption(record)}")
    rows = [
        [f"{arm.name}{' (control)' * (arm.control is not None)}", *_of_arm(metrics, arm.name).values()]
        for arm in trained_arms(record)
    ]
    _add_table(document, ["arm", *_of_arm(metrics, metrics["delivered"])], rows)
    document.add_paragraph(f"{threshold(record).statement} {intervals(record).statement}")
    if record.comparison is not None:
        metric = METRIC_NAMES[record.comparison["metric"]]
        document.add_paragraph(f"Table 2. Differences in {metric}, the primary comparison first.")
        header = ["comparison", "role", "difference", "p (Holm where secondary)", "speaks for", "verdict"]
        _add_table(document, header, [_contrast_row(record.comparison, one) for one in record.comparison["contrasts"]])
        document.add_paragraph(verdict(record).statement)
    document.add_paragraph("Research use only, not a medical device.")
    stream = io.BytesIO()
    document.save(stream)
    return _without_times(stream)


def _without_times(document: io.BytesIO) -> bytes:
    """The same run gives the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(document) as source, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _caption(record: RunRecord) -> str:
    tested, positive = tested_cases(record), positive_in_words(record)
    groups = ", groups unknown" if tested.num_groups is None else f" of {counted(tested.num_groups, tested.group)}"
    told = "macro averages" if positive is None else f"positive: {positive}"
    return f"{counted(tested.num_units, tested.unit)} in test{groups}; {told}."


def _of_arm(metrics: Mapping[str, Any], arm: str) -> dict[str, str]:
    """Figures with 95 % limits by title; those at the threshold that was chosen without test with counts."""
    row, calibrated = metrics["arms"][arm], metrics["calibrated"][arm]["metrics"]
    if metrics["positive"] is None:
        return {_TITLES[name]: figure_text(row[name]) for name in _OF_MORE_CLASSES}
    told = {_TITLES[name]: figure_text(row[name]) for name in ("auroc", "auprc")}
    points = metrics["operating_points"].get(arm, [])
    for name in ("sensitivity", "specificity"):
        if not points:
            told[f"{name}, more probable class"] = figure_text(row[name])
        elif points[0]["refused"] is not None:
            told[f"{name} at the threshold"] = "refused"
        else:
            told[f"{name} at the threshold"] = f"{counts_text(points[0][name])}, {figure_text(points[0][name])}"
    slope = calibrated.get("calibration_slope")
    return {**told, "calibration slope": "not calibrated" if slope is None else figure_text(slope)}


def _contrast_row(comparison: Mapping[str, Any], one: Mapping[str, Any]) -> list[str]:
    claim = {"value": one["value"], "low": None} if one["speaks_for"] is None else one["claims"][one["speaks_for"]]
    p = one["p_holm"] if one["role"] == "secondary" else claim.get("p_value")
    return [
        one["name"],
        one["role"],
        figure_text(claim, "+"),
        "none" if p is None else p_value(p),
        speaks_for(comparison, one) or "nothing",
        one["verdict"],
    ]


def _add_table(document: Any, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = document.add_table(rows=1, cols=len(header), style="Table Grid")
    for cell, text in zip(table.rows[0].cells, header, strict=True):
        cell.paragraphs[0].add_run(text).bold = True
    for row in rows:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
