"""What must not be on both sides: groups, identical files and near-duplicates, between splits and between stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from tlmed.audit.copies import NO_COPIES, listed, pairs_of_rows, side_ranks
from tlmed.audit.findings import Finding, Severity
from tlmed.data.manifest import Manifest
from tlmed.errors import InputError, name_some
from tlmed.recipe.data import DataSettings

HOW_TO_MEND = MappingProxyType(
    {
        "group_overlap": "write `on_leak: drop_train` for the domain",
        "duplicate": "write `duplicates: drop` or `on_leak: drop_train` for the domain",
        "near_duplicate": "write `on_leak: drop_train` for the domain",
        "label_conflict": "write `duplicates: drop` for the domain, which drops such pictures whole (or, where they "
        "are in two splits or groups, `on_leak: drop_train`)",
        "stage_overlap": "write `on_leak: drop_train` for that earlier domain (or rename ids alike by chance)",
    }
)
_PATIENT, _AS_COARSE = "patient", ("group", "source")
# What the target's rows are divided by: its splits, or the groups or sources that folds put on either side in turn.
Side = Literal["split", "group", "source"]


@dataclass(frozen=True)
class FoundCopies:
    """Near-duplicates by the digests of their files; tables with digest_1, digest_2, correlation.

    Attributes:
        within: by stage.
        of_target: by earlier stage; digest_1 is the target's.
    """

    within: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    of_target: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class LeakageReport:
    """What was found and what was done about it.

    Attributes:
        findings: what has been mended is a note.
        domains: by stage, without the dropped rows.
        dropped: stage, path, label, split, reason.
    """

    findings: list[Finding]
    domains: dict[str, Manifest]
    dropped: pd.DataFrame


def check_leakage(
    domains: Mapping[str, Manifest],
    settings: Mapping[str, DataSettings],
    copies: FoundCopies | None = None,
    *,
    side: Side = "split",
) -> LeakageReport:
    """Look for leakage in each domain, and of the target's test rows into earlier stages; mend what may be mended.

    Leakage of the target is an error: the answer rests on it. Between the splits of an earlier domain it is a warning,
    within one split a note.

    Args:
        domains: by stage, in the chain's order, the target last; tables with `digest` and `split`.
        settings: by stage; `duplicates` and `on_leak` say what to mend.
        copies: near-duplicates, where they were looked for.
        side: what the target is divided by; with anything but `split` all its rows are tested in turn, and of what
            stands on two sides the one on the first side by name is kept.

    Raises:
        InputError: the target has no column `side`, or gaps in it.
    """
    target = list(domains)[-1]
    _check_sides(domains[target], side)
    copies = copies or FoundCopies()
    checks = {
        name: _DomainCheck(domain, settings[name], name, side if name == target else None)
        for name, domain in domains.items()
    }
    for check in checks.values():
        check.groups_unknown()
        check.coarser_group()
        check.label_conflicts()
        check.duplicates()
        check.group_overlap()
        check.near_duplicates(copies.within.get(check.name, NO_COPIES))
    for name, check in checks.items():
        if name != target:
            mends = "drop_train" in (settings[name].on_leak, settings[target].on_leak)
            check.stage_overlap(checks[target], copies.of_target.get(name, NO_COPIES), mends=mends)
    columns = ["stage", "path", "label", "split", "reason"]
    dropped = pd.concat([pd.DataFrame(columns=columns), *(part for check in checks.values() for part in check.dropped)])
    return LeakageReport(
        findings=[finding for check in checks.values() for finding in check.findings],
        domains={name: check.domain.with_table(check.table.reset_index(drop=True)) for name, check in checks.items()},
        dropped=dropped[columns].reset_index(drop=True),
    )


def _check_sides(target: Manifest, side: Side) -> None:
    if side not in target.table.columns:
        names = ", ".join(map(str, target.table.columns))
        raise InputError(f"{target.name}: no column '{side}', by which the rows are divided; the columns are {names}.")
    num_missing = int(target.table[side].isna().sum())
    if num_missing:
        raise InputError(
            f"{target.name}: column '{side}', by which the rows are divided, is empty in {num_missing} of "
            f"{len(target.table)} rows; fill it."
        )


class _DomainCheck:
    """One domain on its way through the checks; `table` loses the rows that are dropped."""

    def __init__(self, domain: Manifest, settings: DataSettings, name: str, side_of_target: Side | None) -> None:
        self.domain, self.table, self.name = domain, domain.table, name
        self.findings: list[Finding] = []
        self.dropped: list[pd.DataFrame] = []
        self._settings = settings
        self._side: Side = side_of_target or "split"
        self._gravest: Severity = "error" if side_of_target is not None else "warning"

    @property
    def tested(self) -> pd.DataFrame:
        """Rows that a figure rests on: those of test, or all where folds test each in turn."""
        return self.table[self.table["split"] == "test"] if self._side == "split" else self.table

    def groups_unknown(self) -> None:
        if self.domain.group_column is None:
            self._find(
                "groups_unknown", "note", "no column says which images belong together; each image is its own group", []
            )

    def coarser_group(self) -> None:
        """Patients on two sides, where the recipe groups by something finer than the patients that are known."""
        if _PATIENT not in self.table.columns or self.domain.group_column in (None, _PATIENT, *_AS_COARSE):
            return
        num_sides = self.table.groupby(_PATIENT)[self._side].transform("nunique")
        rows = self.table[num_sides > 1]
        if len(rows):
            num_patients = rows[_PATIENT].nunique()
            what = (
                f"{_count(num_patients, 'patient')} of column {_PATIENT!r} with images in two {self._side}s or more "
                f"({name_some(sorted(set(rows[_PATIENT].astype(str))))}), for images are grouped by "
                f"{self.domain.group_column!r}: no figure holds for new patients"
            )
            self._find("coarser_group", "warning", what, rows["path"], num_patients)

    def label_conflicts(self) -> None:
        """Identical files with different labels, across sides and within one."""
        wrong = _contradicting(self.table)
        if self._settings.duplicates == "drop":
            self._conflict("note", "", wrong, "; dropped whole")
            self._drop(wrong, "identical files with contradicting labels")
            return
        num_sides = wrong.groupby("digest")[self._side].transform("nunique")
        across, within = wrong[num_sides > 1], wrong[num_sides == 1]
        if self._settings.on_leak == "drop_train":
            # `duplicates` takes them out of training; the label of what stays is in doubt.
            self._conflict("warning", f" across {self._side}s", across, f"; {self._mended}")
            within = _contradicting(wrong.drop(index=self._behind(across, "digest").index))
        else:
            self._conflict(self._gravest, f" across {self._side}s", across)
        self._conflict(self._gravest, f" within one {self._side}", within)

    def _conflict(self, severity: Severity, where: str, rows: pd.DataFrame, done: str = "") -> None:
        if rows.empty:
            return
        num_sets = rows["digest"].nunique()
        what = f"{_count(num_sets, 'set')} of identical files with different labels{where} ({name_some(rows['path'])})"
        self._find("label_conflict", severity, what + done, rows["path"], num_sets, sets=_sets(rows))

    def duplicates(self) -> None:
        copies = self.table[self.table["digest"].duplicated(keep=False)]
        if copies.empty:
            return
        num_sides = copies.groupby("digest")[self._side].transform("nunique")
        across, within = copies[num_sides > 1], copies[num_sides == 1]
        keeps_one, keeps_held_out = self._settings.duplicates == "drop", self._settings.on_leak == "drop_train"
        done = ""
        if keeps_one:
            self._drop(self._surplus(copies), "copy of an identical file")
            done = "; one of each is kept"
        elif keeps_held_out:
            self._drop(self._behind(across, "digest"), f"copy of an identical file in another {self._side}")
            done = f"; {self._mended}"
        if len(across):
            num_sets = across["digest"].nunique()
            what = f"{_count(num_sets, 'set')} of identical files across {self._side}s ({name_some(across['path'])})"
            severity: Severity = "note" if done else self._gravest
            self._find("duplicate", severity, what + done, across["path"], num_sets, sets=_sets(across))
        if len(within):
            num_sets = within["digest"].nunique()
            what = f"{_count(num_sets, 'set')} of identical files within one {self._side} ({name_some(within['path'])})"
            what += done if keeps_one else ""
            self._find("duplicate", "note", what, within["path"], num_sets, sets=_sets(within))

    @staticmethod
    def _surplus(copies: pd.DataFrame) -> pd.DataFrame:
        """All but one of each set of identical files; the one that is kept is of test before val before train."""
        ordered = copies.assign(rank=side_ranks(copies["split"])).sort_values(["rank", "path"])
        return copies.loc[ordered.index[ordered["digest"].duplicated()]]

    def group_overlap(self) -> None:
        if self.domain.group_column is None:
            return
        num_sides = self.table.groupby("group")[self._side].transform("nunique")
        rows = self.table[num_sides > 1]
        if rows.empty:
            return
        groups = sorted(rows["group"].unique())
        what = f"{_count(len(groups), 'group')} by {self.domain.group_column} in more than one {self._side}"
        what += f" ({name_some(groups)})"
        if self._settings.on_leak == "drop_train":
            self._drop(self._behind(rows, "group"), f"its group is in another {self._side} too")
            self._find("group_overlap", "note", f"{what}; {self._mended}", rows["path"], len(groups))
        else:
            self._find("group_overlap", self._gravest, what, rows["path"], len(groups))

    def near_duplicates(self, copies: pd.DataFrame) -> None:
        """Copies across sides, then those within one; pairs with different labels by themselves as well."""
        pairs = pairs_of_rows(self.table, copies, self._side)
        if self._settings.duplicates == "drop":
            differing = pairs[_differ(pairs)]
            self._near("label_conflict", "note", "", differing, "; dropped whole")
            self._drop_pairs(differing, "row_1", "row_2", reason="near-duplicate with another label")
            pairs = pairs_of_rows(self.table, copies, self._side)
        differ, across = _differ(pairs), pairs["side_1"] != pairs["side_2"]
        in_two, in_one = f" across {self._side}s", f" within one {self._side}"
        mends = self._settings.on_leak == "drop_train"
        done = f"; {self._mended}" if mends else ""
        # Mended or not, the label of what stays is in doubt.
        self._near("label_conflict", "warning" if mends else self._gravest, in_two, pairs[differ & across], done)
        self._near("label_conflict", "warning", in_one, pairs[differ & ~across])
        self._near("near_duplicate", "note" if mends else self._gravest, in_two, pairs[across], done)
        self._near("near_duplicate", "note", in_one, pairs[~across])
        if mends:
            self._drop_pairs(pairs[across], "row_behind", reason=f"near-duplicate of an image in another {self._side}")

    def _near(self, kind: str, severity: Severity, where: str, pairs: pd.DataFrame, done: str = "") -> None:
        if pairs.empty:
            return
        examples = name_some(f"{row.path_1} and {row.path_2}" for row in pairs.itertuples())
        labelled = " with different labels" if kind == "label_conflict" else ""
        what = f"{_count(len(pairs), 'pair')} of near-duplicates{labelled}{where} ({examples}){done}"
        paths = sorted({*pairs["path_1"], *pairs["path_2"]})
        self._find(kind, severity, what, paths, len(pairs), pairs=listed(pairs))

    def _drop_pairs(self, pairs: pd.DataFrame, *columns: str, reason: str) -> None:
        rows = sorted({int(row) for column in columns for row in pairs[column]})
        self._drop(self.table.loc[rows], reason)

    def stage_overlap(self, target: _DomainCheck, copies: pd.DataFrame, *, mends: bool) -> None:
        """What of the target's test rows trains or validates this earlier stage."""
        test = target.tested
        used = self.table[self.table["split"] != "test"]
        near = copies[copies["digest_1"].isin(test["digest"])]
        shared = used["digest"].isin(test["digest"]) | used["digest"].isin(near["digest_2"])
        same = test["digest"].isin(used["digest"])
        same |= test["digest"].isin(near.loc[near["digest_2"].isin(used["digest"]), "digest_1"])
        group_column = target.domain.group_column
        if group_column is not None and group_column == self.domain.group_column:
            shared |= used["group"].isin(test["group"])
            same |= test["group"].isin(used["group"])
        rows = used[shared]
        if rows.empty:
            return
        what = f"{_count(len(rows), 'image')} of {target.name}'s test groups, or copies of its test images "
        what += f"({name_some(rows['path'])})"
        details = {
            "target": target.name,
            "target_paths": test.loc[same, "path"].tolist(),
            "pairs": _pairs_of_stages(test, rows, near),
        }
        if mends:
            self._drop(rows, f"of {target.name}'s test set")
            self._find("stage_overlap", "note", f"{what}; left out here", rows["path"], len(rows), **details)
        else:
            self._find("stage_overlap", "error", f"{what} in this earlier stage", rows["path"], len(rows), **details)

    @property
    def _mended(self) -> str:
        return "taken out of training" if self._side == "split" else "one of each is kept"

    def _behind(self, rows: pd.DataFrame, same: str) -> pd.DataFrame:
        """Rows whose side yields to another one among the rows that share the column `same`."""
        ranks = side_ranks(rows[self._side])
        return rows[ranks > ranks.groupby(rows[same]).transform("min")]

    def _find(
        self,
        kind: str,
        severity: Severity,
        what: str,
        paths: Sequence[str] | pd.Series[str],
        value: int | None = None,
        **details: Any,
    ) -> None:
        size = None if value is None else float(value)
        details = {"stage": self.name, **details}
        self.findings.append(
            Finding(kind, severity, f"{self.name}: {what}", tuple(map(str, paths)), size, details=details)
        )

    def _drop(self, rows: pd.DataFrame, reason: str) -> None:
        self.table = self.table.drop(index=rows.index)
        self.dropped.append(rows[["path", "label", "split"]].assign(stage=self.name, reason=reason))


def _contradicting(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose file stands under another label as well."""
    return table[table.groupby("digest")["label"].transform("nunique") > 1]


def _differ(pairs: pd.DataFrame) -> pd.Series[bool]:
    return pairs["label_1"].notna() & (pairs["label_1"] != pairs["label_2"])


def _sets(rows: pd.DataFrame) -> list[list[str]]:
    """The paths of each set of identical files."""
    return [paths.tolist() for _, paths in rows.groupby("digest", sort=False)["path"]]


def _pairs_of_stages(test: pd.DataFrame, rows: pd.DataFrame, near: pd.DataFrame) -> list[dict[str, Any]]:
    """Which test image is the same picture as which of an earlier stage's `rows`."""
    identical = pd.DataFrame({"digest_1": rows["digest"], "digest_2": rows["digest"], "correlation": 1.0})
    pairs = pd.concat([identical, near]).drop_duplicates(["digest_1", "digest_2"])
    pairs = pairs.merge(test[["path", "digest"]].add_suffix("_1"), on="digest_1")
    return listed(pairs.merge(rows[["path", "digest"]].add_suffix("_2"), on="digest_2"))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
