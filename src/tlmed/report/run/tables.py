"""The results as a table: on the screen, and as Markdown for documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tlmed.report.figure_text import is_hidden
from tlmed.report.parts import Grid, Section

BASELINES = "What a model has to beat, on the same test units"

# As many as fit a terminal of 80 columns; metrics.json holds all.
_TWO_CLASSES = ("auroc", "calibration_slope")
_TWO_CLASSES_WITHOUT_THRESHOLD = ("auroc", "accuracy", "sensitivity", "specificity")
_MORE_CLASSES = ("auroc", "accuracy", "balanced_accuracy", "macro_f1")
_TITLES = {
    "auroc": "AUROC",
    "calibration_slope": "slope",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
_DAGGER, _AT_THRESHOLD = "†", "*"
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
    for arm in metrics["arms"]:
        table.add_row(arm, *_cells(metrics, arm, "\n"))
    return table


def baselines_table(metrics: Mapping[str, Any]) -> Table:
    """Return what a model has to beat, and by how much the delivered arm does."""
    table = _plain_table(BASELINES, _baseline_notes(metrics))
    table.leading = 0
    for number, title in enumerate(_baseline_header(metrics)):
        table.add_column(title, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in _baseline_rows(metrics):
        table.add_row(*row)
    return table


def results_markdown(metrics: Mapping[str, Any]) -> str:
    """Return the same as Markdown tables, with the footnotes below."""
    arms = [[arm, *_cells(metrics, arm, " ")] for arm in metrics["arms"]]
    baselines = _table(_baseline_header(metrics), _baseline_rows(metrics))
    notes = "\n\n".join(_footnotes(metrics))
    return "\n".join([_table(_header(metrics), arms), *([f"{notes}\n"] if notes else []), baselines])


def results_section(metrics: Mapping[str, Any]) -> Section:
    """Return the main metrics of every arm, for a page."""
    rows = tuple((arm, *_cells(metrics, arm, " ")) for arm in metrics["arms"])
    return Section("Results of all arms", tuple(_footnotes(metrics)), Grid(tuple(_header(metrics)), rows))


def baselines_section(metrics: Mapping[str, Any]) -> Section:
    """Return what a model has to beat, and by how much the delivered arm does, for a page."""
    rows = tuple(map(tuple, _baseline_rows(metrics)))
    return Section(BASELINES, tuple(_baseline_notes(metrics)), Grid(tuple(_baseline_header(metrics)), rows))


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


def _baseline_notes(metrics: Mapping[str, Any]) -> list[str]:
    level = next(
        (row[_DIFFERENCE]["level"] for row in metrics["baselines"].values() if "level" in row[_DIFFERENCE]), None
    )
    return [f"differences with {100 * level:.4g} % limits: 95 % for all of them together (Bonferroni)"] if level else []


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
        return "no limits" if "no_interval" in difference else "cannot be told"
    if difference["low"] > 0:
        return "beaten"
    return "it is better" if difference["high"] < 0 else "cannot be told"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *("---:" for _ in header[1:])]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ruler, *rows))


def _header(metrics: Mapping[str, Any]) -> list[str]:
    """The columns' titles, with a dagger where figures hold at one prevalence alone."""
    marked = _notes(metrics)
    titles = [_TITLES.get(name, name) + (f" {_DAGGER}" if name in marked else "") for name in _shown(metrics)]
    return ["arm", *titles, *(f"{name} {_AT_THRESHOLD}" for name in _at_threshold(metrics))]


def _footnotes(metrics: Mapping[str, Any]) -> list[str]:
    notes = [f"{_DAGGER} {note}" for note in dict.fromkeys(_notes(metrics).values())]
    if _at_threshold(metrics):
        point = _point(metrics, metrics["delivered"])
        chosen_on = metrics["calibrated"][metrics["delivered"]]["fitted_on"]
        notes.append("slope: of calibration, after it was fitted without test; 1 is right")
        notes.append(
            f"{_AT_THRESHOLD} at the threshold to {point['kind']} for {point['of']} {point['target']:g}, chosen on "
            f"{chosen_on} scores; metrics.json has the more probable class (0.5) as well"
        )
    return notes


def _notes(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What must stand beside the shown metrics, the same in all arms."""
    first = next(iter(metrics["arms"].values()))
    return {name: first[name]["note"] for name in _shown(metrics) if "prevalence" in first[name].get("note", "")}


def _shown(metrics: Mapping[str, Any]) -> Sequence[str]:
    if metrics["positive"] is None:
        return _MORE_CLASSES
    return _TWO_CLASSES if _at_threshold(metrics) else _TWO_CLASSES_WITHOUT_THRESHOLD


def _at_threshold(metrics: Mapping[str, Any]) -> Sequence[str]:
    """The columns that stand on the first operating point, which was fixed before test was opened."""
    has_points = metrics["positive"] is not None and bool(metrics["operating_points"].get(metrics["delivered"]))
    return ("sensitivity", "specificity") if has_points else ()


def _point(metrics: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    first: Mapping[str, Any] = metrics["operating_points"][arm][0]
    return first


def _cells(metrics: Mapping[str, Any], arm: str, between: str) -> list[str]:
    calibrated = metrics["calibrated"][arm]["metrics"]
    cells = [_cell(calibrated.get(name, metrics["arms"][arm][name]), between) for name in _shown(metrics)]
    for name in _at_threshold(metrics):
        point = _point(metrics, arm)
        if point["refused"] is None:
            cells.append(_cell(point[name], between))
        else:
            cells.append("not shown" if is_hidden(point) else "refused")
    return cells


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
