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
_DAGGER = "†"
_DIFFERENCE = "auroc_difference"


def results_table(metrics: Mapping[str, Any]) -> Table:
    """Return the main metrics of every arm, each with its 95 % interval below; baselines in a section of their own."""
    groups = f" of {metrics['num_groups']} groups" if metrics["groups_known"] else ""
    tested = "Test" if metrics.get("num_folds") is None else "Out of fold"
    table = Table(
        title=f"{tested}: {metrics['num_units']} {_plural(metrics['unit'])}{groups}",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        leading=1,
        caption="\n".join([*_differences(metrics), *_footnotes(metrics)]) or None,
        caption_justify="left",
    )
    header = _header(metrics)
    table.add_column(header[0], no_wrap=True)
    for name in header[1:]:
        table.add_column(name, justify="right")
    for arm, row in metrics["arms"].items():
        table.add_row(arm, *_cells(metrics, row, "\n"))
    baselines = metrics.get("baselines", {})
    if baselines:
        table.add_section()
        table.add_row("simple baselines", style="bold")
    for name, row in baselines.items():
        table.add_row(name, *_cells(metrics, row, "\n"))
    return table


def results_markdown(metrics: Mapping[str, Any]) -> str:
    """Return the same as Markdown tables, baselines in the second, with the footnotes below."""
    header = _header(metrics)
    blocks = [_table(header, [[arm, *_cells(metrics, row, " ")] for arm, row in metrics["arms"].items()])]
    baselines = metrics.get("baselines", {})
    if baselines:
        arm = next(iter(baselines.values()))[_DIFFERENCE]["arm"]
        rows = [
            [name, *_cells(metrics, row, " "), _cell(row[_DIFFERENCE], " ", sign="+")]
            for name, row in baselines.items()
        ]
        blocks.append(_table(["simple baseline", *header[1:], f"{arm} beats its AUROC by"], rows))
    return "\n".join([*blocks, *(f"{note}\n" for note in _footnotes(metrics))])


def _differences(metrics: Mapping[str, Any]) -> list[str]:
    """By how much the delivered arm beats each baseline, a line each."""
    lines = []
    for name, row in metrics.get("baselines", {}).items():
        cell = row[_DIFFERENCE]
        beats = "beats" if cell["value"] > 0 else "does not beat"
        lines.append(f"{cell['arm']} {beats} {name}: AUROC {_cell(cell, ' ', sign='+')}")
    return lines


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *("---:" for _ in header[1:])]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ruler, *rows))


def _header(metrics: Mapping[str, Any]) -> list[str]:
    """The columns' titles, with a dagger where figures hold at one prevalence alone."""
    marked = _notes(metrics)
    return ["arm", *(_TITLES.get(name, name) + (f" {_DAGGER}" if name in marked else "") for name in _shown(metrics))]


def _footnotes(metrics: Mapping[str, Any]) -> list[str]:
    return [f"{_DAGGER} {note}" for note in dict.fromkeys(_notes(metrics).values())]


def _notes(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What must stand beside the shown metrics, the same in all arms."""
    first = next(iter(metrics["arms"].values()))
    return {name: first[name]["note"] for name in _shown(metrics) if "note" in first[name]}


def _shown(metrics: Mapping[str, Any]) -> Sequence[str]:
    return _MORE_CLASSES if metrics["positive"] is None else _TWO_CLASSES


def _cells(metrics: Mapping[str, Any], row: Mapping[str, Any], between: str) -> list[str]:
    return [_cell(row[name], between) for name in _shown(metrics)]


def _cell(entry: Mapping[str, Any], between: str, sign: str = "") -> str:
    if entry["value"] is None:
        return "undefined"
    value = f"{entry['value']:{sign}.3f}"
    if "too_few" in entry:
        return f"{value}{between}(too few)"
    if entry["low"] is None:
        return value
    to = " to " if sign else "-"
    limits = f"({entry['low']:{sign}.3f}{to}{entry['high']:{sign}.3f})"
    approximate = f"{between}approximate" if "approximate" in entry.get("method", "") else ""
    return f"{value}{between}{limits}{approximate}"


def _plural(unit: str) -> str:
    return "images" if unit == "image" else f"units by {unit}"
