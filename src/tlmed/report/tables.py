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
    """Return the main metrics of every arm, each with its 95 % interval below."""
    groups = f" of {metrics['num_groups']} groups" if metrics["groups_known"] else ""
    tested, approximate = ("Test", "") if metrics.get("num_folds") is None else ("Out of fold", ", approximate limits")
    table = _plain_table(
        f"{tested}: {metrics['num_units']} {_plural(metrics['unit'])}{groups}{approximate}", _footnotes(metrics)
    )
    header = _header(metrics)
    table.add_column(header[0], no_wrap=True)
    for name in header[1:]:
        table.add_column(name, justify="right")
    for arm, row in metrics["arms"].items():
        table.add_row(arm, *_cells(metrics, row, "\n"))
    return table


def baselines_table(metrics: Mapping[str, Any]) -> Table:
    """Return what a model has to beat, and by how much the delivered arm does."""
    table = _plain_table("What a model has to beat, on the same test units", [])
    table.leading = 0
    for number, title in enumerate(_baseline_header(metrics)):
        table.add_column(title, justify="left" if number == 0 else "right")
    for row in _baseline_rows(metrics):
        table.add_row(*row)
    return table


def results_markdown(metrics: Mapping[str, Any]) -> str:
    """Return the same as Markdown tables, with the footnotes below."""
    arms = [[arm, *_cells(metrics, row, " ")] for arm, row in metrics["arms"].items()]
    baselines = _table(_baseline_header(metrics), _baseline_rows(metrics))
    return "\n".join([_table(_header(metrics), arms), *(f"{note}\n" for note in _footnotes(metrics)), baselines])


def _plain_table(title: str, notes: Sequence[str]) -> Table:
    return Table(
        title=title,
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        leading=1,
        caption="\n".join(notes) or None,
        caption_justify="left",
    )


def _baseline_header(metrics: Mapping[str, Any]) -> list[str]:
    arm = next(iter(metrics["baselines"].values()))[_DIFFERENCE]["arm"]
    return ["simple baseline", "AUROC", f"{arm} minus it", ""]


def _baseline_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Name, AUROC, difference of the delivered arm, and what that difference shows."""
    rows = []
    for name, row in metrics["baselines"].items():
        cell = row[_DIFFERENCE]
        rows.append([name, _cell(row["auroc"], " "), _cell(cell, " ", sign="+"), _verdict(cell)])
    return rows


def _verdict(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None:
        return "cannot be told"
    if difference["low"] > 0:
        return "beaten"
    return "NOT beaten: it is better" if difference["high"] < 0 else "cannot be told"


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
    return f"{value}{between}{limits}"


def _plural(unit: str) -> str:
    return "images" if unit == "image" else f"units by {unit}"
