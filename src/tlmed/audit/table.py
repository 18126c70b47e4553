"""The audit of one data set: leakage, near-duplicates, shortcuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlmed.audit.duplicates import NearDuplicates, find_near_duplicates
from tlmed.audit.findings import Finding, Severity
from tlmed.audit.leakage import check_leakage
from tlmed.audit.shortcuts import probe_shortcuts
from tlmed.audit.thumbnails import make_thumbnails
from tlmed.data.manifest import Manifest
from tlmed.errors import name_some
from tlmed.evaluation.metrics import Integers
from tlmed.recipe.data import DataSettings
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store


def audit_table(
    manifest: Manifest, store: Store, *, value_range: tuple[float, float] | None = None, seed: int = 0
) -> list[Finding]:
    """Look in one data set for leakage, copies and shortcuts.

    Its splits are taken as they are: what stands in two of them is an error. Without a split there is only what a split
    would have to keep together, and that is a note.

    Args:
        manifest: of the data.
        store: keeps thumbnails and digests.
        value_range: of pixels deeper than 8 bits, as in `ImageSettings`.
        seed: of all that is drawn; equal seeds give equal findings.

    Raises:
        OSError: a file cannot be read, disk full.
    """
    files = [Path(file) for file in manifest.table["file"]]
    table = manifest.table.assign(digest=FileDigests(store).of(files)).reset_index(drop=True)
    table["split"] = table["split"].where(table["split"].notna(), "train")
    domain = manifest.with_table(table)
    settings = DataSettings(folder=manifest.root)
    findings = check_leakage({manifest.name: domain}, {manifest.name: settings}).findings
    thumbnails = make_thumbnails(files, table["digest"].tolist(), store, value_range=value_range)
    if thumbnails.unreadable:
        findings.append(_unreadable(manifest.name, table, thumbnails.unreadable))
    unique = table.index[~table["digest"].duplicated() & ~table["digest"].isin(thumbnails.unreadable.keys())].to_numpy()
    known = table["group"].to_numpy()[unique] if manifest.group_column is not None else None
    copies = find_near_duplicates(thumbnails.pixels[unique], known, seed=seed)
    copies = NearDuplicates(unique[copies.pairs], copies.correlations)
    findings += near_duplicate_findings(table, copies, name=manifest.name)
    if len(manifest.classes):
        groups = groups_of_copies(table, copies.pairs)
        findings += probe_shortcuts(table, thumbnails, name=manifest.name, groups=groups, seed=seed)
    return findings


def near_duplicate_findings(table: pd.DataFrame, copies: NearDuplicates, *, name: str) -> list[Finding]:
    """Weigh pairs of near-duplicates: across splits an error, within one a note; contradicting labels by themselves.

    Args:
        table: of a manifest, with `digest` and `split`; rows are counted from 0.
        copies: pairs of rows; rows with the same file as one of them are meant as well.
        name: of the data set, for messages.
    """
    pairs = _of_all_rows(table, copies)
    across = pairs["split_1"] != pairs["split_2"]
    contradicting = pairs["label_1"].notna() & (pairs["label_1"] != pairs["label_2"])
    cases: list[tuple[str, Severity, str, pd.Series[bool]]] = [
        ("label_conflict", "error", "near-duplicates with different labels across splits", contradicting & across),
        (
            "label_conflict",
            "warning",
            "near-duplicates with different labels within one split",
            contradicting & ~across,
        ),
        ("near_duplicate", "error", "near-duplicates across splits", across),
        ("near_duplicate", "note", "near-duplicates within one split", ~across),
    ]
    return [
        _finding_of_pairs(name, kind, severity, what, pairs[which])
        for kind, severity, what, which in cases
        if which.any()
    ]


def groups_of_copies(table: pd.DataFrame, pairs: Integers) -> NDArray[Any]:
    """(N,) group numbers, one for all groups that share a picture: identical files and (P, 2) pairs of rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups, digests = (pd.factorize(table[column])[0] for column in ("group", "digest"))
    num_groups = int(groups.max()) + 1
    # Groups and files are the nodes; a row ties its file to its group, a pair ties two groups.
    starts = np.concatenate([groups, groups[pairs[:, 0]]])
    ends = np.concatenate([num_groups + digests, groups[pairs[:, 1]]])
    size = num_groups + int(digests.max()) + 1
    ties = coo_array((np.ones(len(starts), dtype=np.int8), (starts, ends)), shape=(size, size))
    return np.asarray(connected_components(ties, directed=False)[1][groups])


def _of_all_rows(table: pd.DataFrame, copies: NearDuplicates) -> pd.DataFrame:
    """A row a pair of table rows: path, split and label of both, and the correlation."""
    rows = table[["path", "split", "label", "digest"]]
    digests = table["digest"].to_numpy()
    pairs = pd.DataFrame(
        {
            "digest_1": digests[copies.pairs[:, 0]],
            "digest_2": digests[copies.pairs[:, 1]],
            "correlation": copies.correlations.astype(np.float64),
        }
    )
    for side in ("_1", "_2"):
        pairs = pairs.merge(rows.add_suffix(side), on=f"digest{side}")
    return pairs.sort_values(["correlation", "path_1", "path_2"], ascending=[False, True, True], ignore_index=True)


def _finding_of_pairs(name: str, kind: str, severity: Severity, what: str, pairs: pd.DataFrame) -> Finding:
    examples = name_some(f"{row.path_1} and {row.path_2}" for row in pairs.itertuples())
    listed = [
        {"paths": [first, second], "correlation": round(float(correlation), 4)}
        for first, second, correlation in zip(pairs["path_1"], pairs["path_2"], pairs["correlation"], strict=True)
    ]
    return Finding(
        kind,
        severity,
        f"{name}: {len(pairs)} pair{'' if len(pairs) == 1 else 's'} of {what} ({examples})",
        tuple(sorted({*pairs["path_1"], *pairs["path_2"]})),
        float(len(pairs)),
        details={"pairs": listed},
    )


def _unreadable(name: str, table: pd.DataFrame, reasons: dict[str, str]) -> Finding:
    rows = table[table["digest"].isin(reasons.keys())]
    paths = tuple(map(str, rows["path"]))
    by_path = {str(row.path): reasons[str(row.digest)] for row in rows.itertuples()}
    what = f"{name}: {len(paths)} unreadable image{'' if len(paths) == 1 else 's'} ({name_some(paths)})"
    return Finding("unreadable", "warning", what, paths, float(len(paths)), details={"reasons": by_path})
