"""The audit of a recipe's domains, or of one data set: what stops a run, and what is mended. Imports no torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from tlmed.audit.chain import AuditReport, audit_chain
from tlmed.audit.findings import Finding
from tlmed.audit.leakage import HOW_TO_MEND, Side
from tlmed.data.manifest import Manifest
from tlmed.errors import InputError
from tlmed.recipe.data import DataSettings
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store, write_json_durably

log = logging.getLogger(__name__)

# What folds put on either side in turn; every other protocol divides by `split`.
_SIDE_OF_PROTOCOL: Mapping[str, Side] = MappingProxyType({"kfold": "group", "leave-one-source-out": "source"})


def audit_domains(recipe: Recipe, domains: Mapping[str, Manifest], file: Path | None, store: Store) -> AuditReport:
    """Audit the data of a run, write `audit.json`, and stop on an error that is neither mended nor waived.

    Shortcuts are looked for in the target, and images that tlmed draws itself for an earlier stage are not searched:
    `audit_recipe` does both in every domain.

    Args:
        recipe: says what is mended and waived.
        domains: by stage, the target last; tables with `digest` and `split`.
        file: `audit.json`; None writes nothing and looks for no shortcuts (a plan).
        store: keeps thumbnails and findings, so that the same data are not looked at twice.

    Raises:
        InputError: leakage; `audit.json` is written before.
    """
    target = recipe.target.name
    looked_at = [name for name in domains if name == target or recipe.stage(name).data.phantom is None]
    report = _audit(recipe, domains, store, looked_at, [] if file is None else [target])
    if file is not None:
        write_audit(file, report, recipe.waive)
    for finding in report.findings:
        level = logging.INFO if finding.severity == "note" else logging.WARNING
        log.log(level, "audit, %s, %s: %s", finding.severity, finding.kind, finding.message)
    stop_on_errors(report, recipe.waive, file)
    return report


def audit_recipe(recipe: Recipe, domains: Mapping[str, Manifest], store: Store) -> AuditReport:
    """Look for everything in every domain; arguments as in `audit_domains`, but nothing stops."""
    return _audit(recipe, domains, store, list(domains), list(domains))


def audit_data(
    manifest: Manifest, store: Store, *, name: str, value_range: tuple[float, float] | None = None
) -> AuditReport:
    """Look for everything in one data set, whose splits are taken as they are.

    What stands in two splits is an error. Without a split it is what stands in two known groups: folds by group, the
    default where no split is given, would part it. Without either there is only what a split would have to keep
    together, and that is a note.

    Args:
        manifest: of the data.
        store: keeps thumbnails, digests and findings.
        name: for messages.
        value_range: of pixels deeper than 8 bits, as in `ImageSettings`.

    Raises:
        OSError: a file cannot be read, disk full.
    """
    files = [Path(file) for file in manifest.table["file"]]
    table = manifest.table.assign(digest=FileDigests(store).of(files))
    domain = manifest.with_table(table.assign(split=table["split"].where(table["split"].notna(), "train")))
    settings = {name: DataSettings(folder=manifest.root)}
    has_split = bool(manifest.table["split"].notna().any())
    side: Side = "split" if has_split or manifest.group_column is None else "group"
    return audit_chain(
        {name: domain}, settings, store, side=side, value_range=value_range, looked_at=[name], probed=[name]
    )


def _audit(
    recipe: Recipe,
    domains: Mapping[str, Manifest],
    store: Store,
    looked_at: Collection[str],
    probed: Collection[str],
) -> AuditReport:
    return audit_chain(
        domains,
        _settings(recipe),
        store,
        side=_side(recipe),
        value_range=recipe.image.value_range,
        looked_at=looked_at,
        probed=probed,
    )


def _settings(recipe: Recipe) -> dict[str, DataSettings]:
    return {stage.name: stage.data for stage in recipe.chain}


def _side(recipe: Recipe) -> Side:
    return _SIDE_OF_PROTOCOL.get(recipe.evaluation.protocol.split, "split")


def audit_content(report: AuditReport, waived: Collection[str]) -> dict[str, Any]:
    """What `audit.json` holds."""
    return {
        "findings": [asdict(finding) for finding in report.findings],
        "waived": list(waived),
        "dropped": report.dropped.to_dict("records"),
        "unreadable": report.unreadable.to_dict("records"),
        "not_done": list(report.not_done),
    }


def write_audit(file: Path, report: AuditReport, waived: Collection[str]) -> None:
    """Write `audit.json`."""
    write_json_durably(file, audit_content(report, waived))


def stop_on_errors(report: AuditReport, waived: Collection[str], file: Path | None) -> None:
    """Raise for the first error that is not waived.

    Raises:
        InputError: says what was found, how to mend it, and where all rows stand.
    """
    errors = [finding for finding in report.findings if is_blocking(finding, waived)]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        where = f" All rows: {file}." if file is not None else ""
        raise InputError(
            f"leakage ({errors[0].kind}): {errors[0].message}{more}. Mend the data, {HOW_TO_MEND[errors[0].kind]}, or "
            f"accept it by name with `waive: [{errors[0].kind}]`.{where}"
        )


def is_blocking(finding: Finding, waived: Collection[str]) -> bool:
    """Whether a finding stops a run."""
    return finding.severity == "error" and finding.kind not in waived


def flagged_paths(report: AuditReport) -> set[str]:
    """The target's images that errors are about; in a run that went on, waived ones.

    A headline without them rests on nothing that is known to be leaked.
    """
    target = list(report.domains)[-1]
    flagged: set[str] = set()
    for finding in report.findings:
        if finding.severity == "error":
            is_of_target = finding.details["stage"] == target
            flagged.update(finding.paths if is_of_target else finding.details["target_paths"])
    return flagged


def warnings_of(report: AuditReport) -> list[dict[str, str]]:
    """What stands beside every result: warnings, and errors that were waived."""
    return [
        {"kind": finding.kind, "severity": finding.severity, "message": finding.message}
        for finding in report.findings
        if finding.severity != "note"
    ]


def add_skipped(audit_file: Path, skipped: pd.DataFrame) -> None:
    """List the images that were left out, where decoding found other ones unreadable than the audit."""
    content: dict[str, Any] = json.loads(audit_file.read_text(encoding="utf-8"))
    if content["unreadable"] != skipped.to_dict("records"):
        write_json_durably(audit_file, {**content, "unreadable": skipped.to_dict("records")})
