"""`tlmed audit`: what could be fooling everyone, found before training."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlmed.cli.run import JsonOption, StoreOption

if TYPE_CHECKING:
    from tlmed.audit.chain import AuditReport
    from tlmed.data.manifest import Manifest
    from tlmed.runtime.store import Store

log = logging.getLogger(__name__)

_RECIPE_SUFFIXES = (".yaml", ".yml")
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def audit(
    data: Annotated[
        Path, typer.Argument(help="A table (.csv, .parquet), a folder of class folders, or a recipe (.yaml).")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for audit.json and audit.html; default: runs/audit-NAME."),
    ] = None,
    store: StoreOption = None,
    group: Annotated[
        str | None, typer.Option(help="Column that says what belongs together; of a table or folder.")
    ] = None,
    group_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression whose first bracket is the patient in each path, where no column says it."
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Column that a decision is about; of a table or folder. Default: image.")
    ] = None,
    waive: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Accept errors of this kind; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for leakage, copies and shortcuts before anything is trained; exit code 1 where there are errors.

    A recipe is audited whole: every domain, and leakage between its stages, with what it mends and waives.
    """
    from tlmed.cli.screen import print_json, show_log

    show_log()
    log.info("reading %s", data)  # before what follows is imported: the first word after half a second
    from tlmed.auditing import audit_content, stop_on_errors, write_audit
    from tlmed.report.pages.audit_page import audit_page
    from tlmed.runtime.store import write_durably

    _check_kinds(waive or ())
    is_recipe = data.suffix.lower() in _RECIPE_SUFFIXES
    asked = _Asked(group, group_pattern, unit)
    audited = _audit_recipe(data, out, store, asked) if is_recipe else _audit_data(data, out, store, asked)
    waived = sorted({*audited.waived, *(waive or ())})
    content = audit_content(audited.report, waived)
    audited.folder.mkdir(parents=True, exist_ok=True)
    write_audit(audited.folder / "audit.json", audited.report, waived)
    page = audit_page(content, audited.domains, title=audited.title, value_range=audited.value_range)
    write_durably(audited.folder / "audit.html", page)
    if as_json:
        print_json({"folder": str(audited.folder), **content})
    else:
        _show(audited, waived)
    stop_on_errors(audited.report, waived, audited.folder / "audit.json")


@dataclass(frozen=True)
class _Asked:
    """What is said of a table or folder on the command line."""

    group: str | None
    group_pattern: str | None
    unit: str | None


@dataclass(frozen=True)
class _Audited:
    """What was audited, and what came out.

    Attributes:
        title: of the page.
        folder: for the files.
        domains: by stage, before rows were dropped.
        waived: kinds that the recipe accepts.
        value_range: as the recipe's image form says.
    """

    title: str
    folder: Path
    domains: dict[str, Manifest]
    report: AuditReport
    waived: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None


def _audit_recipe(file: Path, out: Path | None, store: Path | None, asked: _Asked) -> _Audited:
    from tlmed.auditing import audit_recipe
    from tlmed.domains import read_domains
    from tlmed.errors import InputError
    from tlmed.recipe.load import load_recipe

    if asked != _Asked(None, None, None):
        raise InputError(f"--group, --group-pattern and --unit are for tables and folders; {file} says these itself.")
    recipe = load_recipe(file)
    folder, shared = _places(recipe.name, out, store)
    # Unknown groups are a finding here, not a reason to stop.
    lenient = recipe.model_copy(update={"waive": (*recipe.waive, "groups_unknown")})
    domains = read_domains(lenient, shared)
    report = audit_recipe(recipe, domains, shared)
    return _Audited(f"the recipe {recipe.name}", folder, domains, report, recipe.waive, recipe.image.value_range)


def _audit_data(data: Path, out: Path | None, store: Path | None, asked: _Asked) -> _Audited:
    from tlmed.auditing import audit_data
    from tlmed.data.sources import read_manifest
    from tlmed.domains import group_by_pattern

    name = _name_of(data.resolve())
    folder, shared = _places(name, out, store)
    manifest = read_manifest(data, group=asked.group, unit=asked.unit or "image")
    if asked.group_pattern is not None:
        manifest = group_by_pattern(manifest, asked.group_pattern)
    _hint_at_pattern(manifest)
    report = audit_data(manifest, shared, name=name)
    return _Audited(str(data), folder, {name: manifest}, report)


def _hint_at_pattern(manifest: Manifest) -> None:
    """Say so where file names look like patients' ids and nothing else tells patients apart."""
    from tlmed.draft import find_id_pattern

    if manifest.group_column is not None:
        return
    pattern = find_id_pattern(manifest.table["path"].tolist(), manifest.table["label"].tolist())
    if pattern is not None:
        log.info(
            "the file names look as if they held patients (%s; %d groups): --group-pattern '%s' audits by patient",
            pattern.example,
            pattern.num_groups,
            pattern.regex,
        )


def _name_of(data: Path) -> str:
    """Of a folder or its manifest.csv the folder's; of another table its folder's and its own, as many are alike."""
    if data.is_dir():
        parts = [data.name]
    elif data.stem == "manifest":
        parts = [data.parent.name]
    else:
        parts = [data.parent.name, data.stem]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip(".-_") or "data"


def _places(name: str, out: Path | None, store: Path | None) -> tuple[Path, Store]:
    from tlmed.errors import InputError
    from tlmed.runtime.inventory import RESERVED_NAMES
    from tlmed.runtime.store import Store

    folder = out or Path("runs") / f"audit-{name}"
    shared = Store(store or folder.parent)
    if folder.name in RESERVED_NAMES and folder.resolve().parent == shared.root:
        raise InputError(f"{folder}: the store keeps something else under this name; choose another --out.")
    return folder, shared


def _check_kinds(kinds: Sequence[str]) -> None:
    from tlmed.errors import InputError, did_you_mean
    from tlmed.recipe.recipe import WAIVABLE

    for kind in kinds:
        if kind not in WAIVABLE:
            raise InputError(f"--waive: unknown kind {kind!r}.{did_you_mean(kind, WAIVABLE)}")


def _show(audited: _Audited, waived: Sequence[str]) -> None:
    """A line a finding, the gravest first; then what to do, and where everything is."""
    from rich.console import Console
    from rich.markup import escape

    from tlmed.audit.leakage import HOW_TO_MEND

    console = Console(soft_wrap=True, highlight=False)
    order = list(_STYLES)
    findings = sorted(audited.report.findings, key=lambda finding: order.index(finding.severity))
    for finding in findings:
        is_waived = finding.severity == "error" and finding.kind in waived
        severity = f"{finding.severity}{', waived' if is_waived else ''}"
        style = _STYLES[finding.severity]
        console.print(f"[{style}]{severity:<8}[/{style}] {finding.kind}: {escape(finding.message)}")
    for kind in dict.fromkeys(one.kind for one in findings if one.severity == "error" and one.kind not in waived):
        advice = escape(f"{kind}: mend the data, {HOW_TO_MEND[kind]}, or accept it with `waive: [{kind}]`.")
        console.print(f"[bold]To do[/bold] about {advice}")
    for sentence in audited.report.not_done:
        console.print(escape(sentence), style="dim")
    console.print(f"The pictures side by side: {escape(str(audited.folder / 'audit.html'))}")
    console.print("Research use only, not a medical device.")
