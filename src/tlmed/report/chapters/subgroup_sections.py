"""How the delivered arm does in parts of the cases, as far as the run folder knows them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from tlmed.errors import InputError
from tlmed.evaluation.assessment.subgroups import measure_subgroups
from tlmed.report.figure_text import figure_text
from tlmed.report.pages.evaluation_page import subgroup_sections
from tlmed.report.parts import Grid, Section
from tlmed.report.record.delivered_arm import DeliveredArm
from tlmed.report.record.run_record import RunRecord
from tlmed.report.record.sharing import is_shared

_SHARES = ("sensitivity", "specificity")
_SHARES_LEFT_OUT = "Sensitivity and specificity by level are left out of this copy."
_NO_SUBGROUPS = ("path", "unit", "group", "split", "fold", "seed")
_NONE = (
    "No columns to tell subgroups by: the target's table holds nothing of the cases but their class, group and split, "
    "so whether the model does worse for some (by sex, age, scanner, hospital) is not known."
)


def subgroups_of_run(record: RunRecord, delivered: DeliveredArm) -> list[Section]:
    """Return sections by column, by held-out source, or the sentence that there are none.

    Columns are those of `splits.csv` beyond the ones of every run.
    """
    said = _by_source(record)
    if not delivered.positive:
        return [*said, Section("", ("Subgroups need a class that counts as disease, and none is named.",))]
    columns = [name for name in map(str, record.splits) if name not in _NO_SUBGROUPS]
    if not columns:
        return said or [Section("", (_NONE,))]
    of_units = record.splits.drop_duplicates("path").groupby("unit")
    units = delivered.units
    usable: list[str] = []
    refused: list[str] = []
    for name in columns:
        if name in units:
            refused.append(f"{name}: tlmed uses this name itself; rename the column.")
            continue
        if (of_units[name].nunique(dropna=False) > 1).any():
            refused.append(f"{name}: units have images with several values of it.")
            continue
        candidate = units.assign(**{name: units["unit"].map(of_units[name].first())})
        reason = _refusal(candidate, name)
        if reason is None:
            units, usable = candidate, [*usable, name]
        else:
            refused.append(reason)
    if usable:
        sections = subgroup_sections(measure_subgroups(units, usable))
        said += [_without_shares(section) for section in sections] if is_shared(record) else sections
    return [*said, *([Section("Columns without subgroups", tuple(refused))] if refused else [])]


def _without_shares(section: Section) -> Section:
    """From a share and the number of cases beside it, how few were called wrongly could be reckoned."""
    grid = section.grid
    if grid is None:
        return section
    rows = tuple(row for row in grid.rows if row[1] not in _SHARES)
    return replace(section, sentences=(*section.sentences, _SHARES_LEFT_OUT), grid=replace(grid, rows=rows))


def _refusal(units: pd.DataFrame, name: str) -> str | None:
    """Why a column makes no subgroups."""
    try:
        measure_subgroups(units, [name])
    except InputError as error:
        return str(error).removeprefix("--subgroup ")
    return None


def _by_source(record: RunRecord) -> list[Section]:
    """Each source as a test set of its own, where each was left out in turn."""
    measured = record.metrics.get("by_source")
    if not measured:
        return []
    arms = list(record.metrics["arms"])
    rows = tuple(
        (source, str(one["num_units"]), *(figure_text(one["arms"][arm]["auroc"]) for arm in arms))
        for source, one in measured.items()
    )
    said = "AUROC on each source, of models that were not trained on it. Sources are few and not drawn alike."
    return [Section("By source", (said,), Grid(("source", "units", *arms), rows))]
