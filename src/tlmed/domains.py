"""From a recipe to its domains: read, split, audited, mended, decoded. Imports no torch."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.audit.findings import Finding
from tlmed.audit.leakage import HOW_TO_MEND, LeakageReport, check_leakage
from tlmed.data.images import UnreadableImage
from tlmed.data.manifest import Manifest
from tlmed.data.prepare import PreparedImages, prepare_images
from tlmed.data.sources import read_domain
from tlmed.data.splits import check_trainable, complete_splits
from tlmed.errors import InputError, did_you_mean
from tlmed.recipe.recipe import Recipe, StageSettings, image_of, resolve_arms
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store, write_json_durably

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedDomains:
    """What training and evaluation need of the data.

    Attributes:
        manifests: by stage, without dropped rows; tables with `digest` and `split`.
        images: by stage.
        skipped: unreadable images that were left out: stage, path, label, split, reason.
    """

    manifests: dict[str, Manifest]
    images: dict[str, PreparedImages]
    skipped: pd.DataFrame


def read_domains(recipe: Recipe, store: Store) -> dict[str, Manifest]:
    """Read, digest and split the data of every stage that some arm uses, in the chain's order.

    Raises:
        InputError: data that is not there or not valid, unknown groups of the target unless waived.
    """
    used = {name for arm in resolve_arms(recipe).values() for name in arm.stages}
    digests = FileDigests(store)
    domains = {}
    for stage in recipe.chain:
        if stage.name in used:
            domain = _read_one(recipe, stage, store)
            files = [Path(file) for file in domain.table["file"]]
            domains[stage.name] = domain.with_table(domain.table.assign(digest=digests.of(files)))
    _check_target(recipe, domains[recipe.target.name])
    return domains


def _read_one(recipe: Recipe, stage: StageSettings, store: Store) -> Manifest:
    is_target = stage.name == recipe.target.name
    evaluation, protocol = recipe.evaluation, recipe.evaluation.protocol
    domain = read_domain(
        stage.data,
        store,
        group=evaluation.group if is_target else None,
        unit=evaluation.unit if is_target else "image",
        name=stage.name,
    )
    if stage.data.group_pattern is not None:
        domain = group_by_pattern(domain, stage.data.group_pattern)
    if stage.data.use == "all" or (is_target and protocol.split == "holdout"):
        domain = domain.with_table(domain.table.assign(split=None))
    return complete_splits(
        domain,
        test_fraction=protocol.test_fraction if is_target and protocol.split == "holdout" else None,
        val_fraction=protocol.val_fraction,
        seed=protocol.seed,
        needs_test=is_target,
    )


def group_by_pattern(domain: Manifest, pattern: str) -> Manifest:
    """Take each image's group from its path.

    Raises:
        InputError: a path that the pattern does not match.
    """
    groups = domain.table["path"].str.extract(pattern, flags=re.IGNORECASE)[0]
    if groups.isna().any():
        example = domain.table.loc[groups.isna(), "path"].iloc[0]
        raise InputError(
            f"{domain.name}: group_pattern {pattern!r} does not match {int(groups.isna().sum())} of "
            f"{len(groups)} paths, such as {example}; widen the pattern, or add a `patient` column."
        )
    return replace(domain, table=domain.table.assign(group=groups), group_column="group_pattern")


def _check_target(recipe: Recipe, target: Manifest) -> None:
    positive = recipe.evaluation.positive
    if target.group_column is None and "groups_unknown" not in recipe.waive:
        raise InputError(
            f"{target.name}: no column says which images belong to one patient (group, patient, study or series), so "
            "leakage cannot be excluded: add one, or write `waive: [groups_unknown]` to accept image-level figures."
        )
    if positive is not None and positive not in target.classes:
        raise InputError(
            f"evaluation.positive: {target.name} has no class {positive!r}.{did_you_mean(positive, target.classes)}"
        )
    if positive is None and len(target.classes) == 2:
        raise InputError(
            f"evaluation.positive is missing: say which of {' and '.join(map(repr, target.classes))} counts as disease."
        )


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


def prepare_domains(recipe: Recipe, domains: Mapping[str, Manifest], store: Store) -> PreparedDomains:
    """Decode every domain's images at its stage's size, and leave unreadable ones out where the recipe says so.

    Raises:
        UnreadableImage: an image cannot be read and the domain says `on_bad_image: fail`.
        InputError: too few classes or images are left to train on.
    """
    manifests, images, skipped = {}, {}, []
    for name, domain in domains.items():
        stage, table = recipe.stage(name), domain.table
        files = [Path(file) for file in table["file"]]
        prepared = prepare_images(files, table["digest"].tolist(), image_of(recipe, stage), store)
        bad = table["digest"].isin(prepared.unreadable.keys())
        if bad.any():
            reasons = table.loc[bad, "digest"].map(prepared.unreadable)
            _check_may_skip(stage, table[bad], reasons)
            skipped.append(table.loc[bad, ["path", "label", "split"]].assign(stage=name, reason=reasons))
        manifests[name] = domain.with_table(table[~bad].reset_index(drop=True))
        images[name] = prepared
        check_trainable(manifests[name], name, is_target=name == recipe.target.name)
    columns = ["stage", "path", "label", "split", "reason"]
    return PreparedDomains(
        manifests, images, pd.concat(skipped, ignore_index=True)[columns] if skipped else pd.DataFrame(columns=columns)
    )


def _check_may_skip(stage: StageSettings, bad: pd.DataFrame, reasons: pd.Series[str]) -> None:
    if stage.data.on_bad_image == "fail":
        more = f" ({len(bad) - 1} more like it)" if len(bad) > 1 else ""
        raise UnreadableImage(
            bad["file"].iloc[0],
            f"{reasons.iloc[0]}{more}",
            f"replace the file, or write `on_bad_image: skip` for the domain {stage.name!r} to leave such images out",
        )
    counts = ", ".join(f"{label}: {count}" for label, count in bad["label"].value_counts().sort_index().items())
    log.warning("%s: left out %d unreadable images (%s)", stage.name, len(bad), counts)


def add_skipped(audit_file: Path, skipped: pd.DataFrame) -> None:
    """List the left-out images in `audit.json` as well."""
    content: dict[str, Any] = json.loads(audit_file.read_text(encoding="utf-8"))
    write_json_durably(audit_file, {**content, "unreadable": skipped.to_dict("records")})
