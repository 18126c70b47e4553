"""The audit of every domain along a chain: leakage, near-duplicates, shortcuts. A table alone is a chain of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pandas as pd

from tlmed.audit.findings import Finding
from tlmed.audit.leakage import FoundCopies, LeakageReport, Side, check_leakage
from tlmed.audit.search import AUDITS, PictureSearch
from tlmed.data.manifest import Manifest
from tlmed.data.prepare import IMAGES
from tlmed.errors import name_some
from tlmed.recipe.data import DataSettings
from tlmed.runtime.store import Store

_UNREADABLE_COLUMNS = ["stage", "path", "label", "split", "reason"]
_NO_DICOM = "DICOM tags were not looked at: DICOM files are not read yet."


@dataclass(frozen=True)
class AuditReport:
    """What was found and what was done about it.

    Attributes:
        findings: what has been mended is a note; `details["stage"]` says of which domain.
        domains: by stage, without the dropped rows; the target is the last.
        dropped: stage, path, label, split, reason.
        unreadable: images in `domains` that cannot be read: stage, path, label, split, reason.
        not_done: what was not looked at, a sentence each.
        references: keys in the store by kind, which another audit of the same would need again.
    """

    findings: list[Finding]
    domains: dict[str, Manifest]
    dropped: pd.DataFrame
    unreadable: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_UNREADABLE_COLUMNS))
    not_done: tuple[str, ...] = ()
    references: dict[str, list[str]] = field(default_factory=dict)


def audit_chain(
    domains: Mapping[str, Manifest],
    settings: Mapping[str, DataSettings],
    store: Store,
    *,
    side: Side = "split",
    value_range: tuple[float, float] | None = None,
    looked_at: Collection[str],
    probed: Collection[str],
) -> AuditReport:
    """Look for leakage in and between domains, and for shortcuts; mend what the settings let it mend.

    Args:
        domains: by stage, in the chain's order, the target last; tables with `digest` and `split`.
        settings: by stage.
        store: keeps thumbnails, and what was found in them.
        side: what the target is divided by, see `check_leakage`.
        value_range: of pixels deeper than 8 bits, as in `ImageSettings`.
        looked_at: stages in whose pictures near-duplicates are searched.
        probed: stages in which shortcuts are looked for; of those that are looked at.

    Raises:
        OSError: a file cannot be read, disk full.
    """
    *_, target = domains
    searches = {
        name: PictureSearch(domain, store, name, value_range=value_range)
        for name, domain in domains.items()
        if name in looked_at
    }
    copies = FoundCopies(
        {name: search.copies for name, search in searches.items()},
        {
            name: searches[target].copies_in(search)
            for name, search in searches.items()
            if name != target and target in searches
        },
    )
    leakage = check_leakage(domains, settings, copies, side=side)
    unreadable = _unreadable(leakage, searches)
    findings = [*leakage.findings, *_unreadable_findings(unreadable, settings)]
    for name in probed:
        findings += searches[name].shortcuts(leakage.domains[name].table, copies.within[name])
    return AuditReport(
        findings,
        leakage.domains,
        leakage.dropped,
        unreadable,
        _not_done(domains, looked_at, probed),
        {
            IMAGES: [search.thumbnails_key for search in searches.values()],
            AUDITS: [key for search in searches.values() for key in search.keys],
        },
    )


def _unreadable(leakage: LeakageReport, searches: Mapping[str, PictureSearch]) -> pd.DataFrame:
    parts = [pd.DataFrame(columns=_UNREADABLE_COLUMNS)]
    for name, search in searches.items():
        table, reasons = leakage.domains[name].table, search.unreadable
        rows = table.loc[table["digest"].isin(reasons.keys())]
        parts.append(rows.assign(stage=name, reason=rows["digest"].map(reasons))[_UNREADABLE_COLUMNS])
    return pd.concat(parts, ignore_index=True)


def _unreadable_findings(unreadable: pd.DataFrame, settings: Mapping[str, DataSettings]) -> list[Finding]:
    findings = []
    for name, rows in unreadable.groupby("stage", sort=False):
        paths = tuple(map(str, rows["path"]))
        skips = settings[str(name)].on_bad_image == "skip"
        what = f"{name}: {len(paths)} unreadable image{'' if len(paths) == 1 else 's'} ({name_some(paths)})"
        findings.append(
            Finding(
                "unreadable",
                "note" if skips else "warning",
                what + ("; left out" if skips else ""),
                paths,
                float(len(paths)),
                details={"stage": str(name), "reasons": dict(zip(paths, rows["reason"], strict=True))},
            )
        )
    return findings


def _not_done(domains: Mapping[str, Manifest], looked_at: Collection[str], probed: Collection[str]) -> tuple[str, ...]:
    sentences = [_NO_DICOM]
    for name in domains:
        if name not in looked_at:
            sentences.append(
                f"{name}: no search for near-duplicates and shortcuts, for tlmed draws these images itself."
            )
        elif name not in probed:
            sentences.append(
                f"{name}: shortcuts are looked for in the target alone; `tlmed audit` looks in all domains."
            )
    return tuple(sentences)
