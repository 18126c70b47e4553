"""Before a run: every domain of a recipe audited; what stops it, and what is mended. Imports no torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.audit.findings import Finding
from tlmed.audit.leakage import HOW_TO_MEND, LeakageReport, check_leakage
from tlmed.data.manifest import Manifest
from tlmed.errors import InputError
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.store import write_json_durably

log = logging.getLogger(__name__)


def audit_domains(recipe: Recipe, domains: Mapping[str, Manifest], file: Path | None) -> LeakageReport:
    """Look for leakage, write `audit.json`, and stop on an error that is neither mended nor waived.

    Raises:
        InputError: leakage; `audit.json` is written before.
    """
    report = check_leakage(domains, {stage.name: stage.data for stage in recipe.chain})
    if file is not None:
        findings = [asdict(finding) for finding in report.findings]
        dropped = report.dropped.to_dict("records")
        write_json_durably(file, {"findings": findings, "waived": list(recipe.waive), "dropped": dropped})
    for finding in report.findings:
        log.log(
            logging.INFO if finding.severity == "note" else logging.WARNING, "%s: %s", finding.kind, finding.message
        )
    errors = [finding for finding in report.findings if is_blocking(finding, recipe)]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        where = f" All rows: {file}." if file is not None else ""
        raise InputError(
            f"leakage ({errors[0].kind}): {errors[0].message}{more}. Mend the data, {HOW_TO_MEND[errors[0].kind]}, or "
            f"accept it by name with `waive: [{errors[0].kind}]`.{where}"
        )
    return report


def is_blocking(finding: Finding, recipe: Recipe) -> bool:
    """Whether a finding stops a run."""
    return finding.severity == "error" and finding.kind not in recipe.waive


def add_skipped(audit_file: Path, skipped: pd.DataFrame) -> None:
    """List the left-out images in `audit.json` as well."""
    content: dict[str, Any] = json.loads(audit_file.read_text(encoding="utf-8"))
    write_json_durably(audit_file, {**content, "unreadable": skipped.to_dict("records")})
