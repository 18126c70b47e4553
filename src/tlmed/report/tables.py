"""The results as a table: on the screen, and as Markdown for documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

# As many as fit a terminal of 80 columns; metrics.json holds all.
_TWO_CLASSES = ("auroc", "accuracy", "sensitivity", "specificity")
_MORE_CLASSES = ("auroc", "accuracy", "balanced_accuracy", "macro_f1")
_TITLES = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}


def results_table(metrics: Mapping[str, Any]) -> Table:
    """Return the main metrics of every arm, each with its 95 % interval below."""
    header, *rows = _cells(metrics, between="\n")
    groups = f" of {metrics['num_groups']} groups" if metrics["groups_known"] else ""
    title = f"Test: {metrics['num_units']} {_plural(metrics['unit'])}{groups}"
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, leading=1)
    table.add_column(header[0], no_wrap=True)
    for name in header[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def results_markdown(metrics: Mapping[str, Any]) -> str:
    """Return the same as a Markdown table."""
    header, *rows = _cells(metrics, between=" ")
    ruler = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ruler, *rows)) + "\n"


def _cells(metrics: Mapping[str, Any], between: str) -> Sequence[Sequence[str]]:
    shown = _MORE_CLASSES if metrics["positive"] is None else _TWO_CLASSES
    header = ["arm", *(_TITLES.get(name, name) for name in shown)]
    return [header, *([arm, *(_cell(row[name], between) for name in shown)] for arm, row in metrics["arms"].items())]


def _cell(entry: Mapping[str, float | None], between: str) -> str:
    if entry["value"] is None:
        return "undefined"
    if entry["low"] is None or entry["high"] is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f}{between}({entry['low']:.3f}-{entry['high']:.3f})"


def _plural(unit: str) -> str:
    return "images" if unit == "image" else f"units by {unit}"
