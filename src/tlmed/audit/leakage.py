"""What must not be on both sides: groups and identical files, between splits and between stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from tlmed.audit.findings import Finding, Severity
from tlmed.data.manifest import Manifest
from tlmed.errors import name_some
from tlmed.recipe.data import DataSettings

HOW_TO_MEND = MappingProxyType(
    {
        "group_overlap": "write `on_leak: drop_train` for the domain",
        "duplicate": "write `duplicates: drop` or `on_leak: drop_train` for the domain",
        "label_conflict": "write `duplicates: drop` for the domain, which drops such files whole",
        "stage_overlap": "write `on_leak: drop_train` for that earlier domain (or rename ids alike by chance)",
    }
)
_SPLIT_RANK = MappingProxyType({"test": 0, "val": 1, "train": 2})  # of identical files the first is kept


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


def check_leakage(domains: Mapping[str, Manifest], settings: Mapping[str, DataSettings]) -> LeakageReport:
    """Look for leakage in each domain, and of the target's test rows into earlier stages; mend what may be mended.

    Leakage of the target is an error: the answer rests on it. Between the splits of an earlier domain it is a warning,
    within one split a note.

    Args:
        domains: by stage, in the chain's order, the target last; tables with `digest` and `split`.
        settings: by stage; `duplicates` and `on_leak` say what to mend.
    """
    target = list(domains)[-1]
    checks = {
        name: _DomainCheck(domain, settings[name], name, is_target=name == target) for name, domain in domains.items()
    }
    for check in checks.values():
        check.groups_unknown()
        check.label_conflicts()
        check.duplicates()
        check.group_overlap()
    for name, check in checks.items():
        if name != target:
            mends = "drop_train" in (settings[name].on_leak, settings[target].on_leak)
            check.stage_overlap(checks[target].table, domains[target].group_column, target, mends=mends)
    columns = ["stage", "path", "label", "split", "reason"]
    dropped = pd.concat([pd.DataFrame(columns=columns), *(part for check in checks.values() for part in check.dropped)])
    return LeakageReport(
        findings=[finding for check in checks.values() for finding in check.findings],
        domains={name: check.domain.with_table(check.table.reset_index(drop=True)) for name, check in checks.items()},
        dropped=dropped[columns].reset_index(drop=True),
    )


class _DomainCheck:
    """One domain on its way through the checks; `table` loses the rows that are dropped."""

    def __init__(self, domain: Manifest, settings: DataSettings, name: str, *, is_target: bool) -> None:
        self.domain, self.table = domain, domain.table
        self.findings: list[Finding] = []
        self.dropped: list[pd.DataFrame] = []
        self._settings, self._name = settings, name
        self._gravest: Severity = "error" if is_target else "warning"

    def groups_unknown(self) -> None:
        if self.domain.group_column is None:
            self._find(
                "groups_unknown", "note", "no column says which images belong together; each image is its own group", []
            )

    def label_conflicts(self) -> None:
        labels = self.table.groupby("digest")["label"].transform("nunique")
        wrong = self.table[labels > 1]
        if wrong.empty:
            return
        num_sets = wrong["digest"].nunique()
        what = f"{_count(num_sets, 'set')} of identical files with different labels ({name_some(wrong['path'])})"
        if self._settings.duplicates == "drop":
            self._drop(wrong, "identical files with contradicting labels")
            self._find("label_conflict", "note", f"{what}; dropped whole", wrong["path"], num_sets)
        else:
            self._find("label_conflict", self._gravest, what, wrong["path"], num_sets)

    def duplicates(self) -> None:
        copies = self.table[self.table["digest"].duplicated(keep=False)]
        if copies.empty:
            return
        num_splits = copies.groupby("digest")["split"].transform("nunique")
        across, within = copies[num_splits > 1], copies[num_splits == 1]
        keeps_one, keeps_held_out = self._settings.duplicates == "drop", self._settings.on_leak == "drop_train"
        done = ""
        if keeps_one:
            self._drop(self._surplus(copies), "copy of an identical file")
            done = "; one of each is kept"
        elif keeps_held_out:
            self._drop(_behind(across, "digest"), "copy of an identical file in a held-out split")
            done = "; taken out of training"
        if len(across):
            num_sets = across["digest"].nunique()
            what = f"{_count(num_sets, 'set')} of identical files across splits ({name_some(across['path'])}){done}"
            self._find("duplicate", "note" if done else self._gravest, what, across["path"], num_sets)
        if len(within):
            num_sets = within["digest"].nunique()
            what = f"{_count(num_sets, 'set')} of identical files within one split ({name_some(within['path'])})"
            what += done if keeps_one else ""
            self._find("duplicate", "note", what, within["path"], num_sets)

    @staticmethod
    def _surplus(copies: pd.DataFrame) -> pd.DataFrame:
        """All but one of each set of identical files; the one that is kept is of test before val before train."""
        ordered = copies.assign(rank=copies["split"].map(_SPLIT_RANK)).sort_values(["rank", "path"])
        return copies.loc[ordered.index[ordered["digest"].duplicated()]]

    def group_overlap(self) -> None:
        if self.domain.group_column is None:
            return
        num_splits = self.table.groupby("group")["split"].transform("nunique")
        rows = self.table[num_splits > 1]
        if rows.empty:
            return
        groups = sorted(rows["group"].unique())
        what = (
            f"{_count(len(groups), 'group')} by {self.domain.group_column} in more than one split ({name_some(groups)})"
        )
        if self._settings.on_leak == "drop_train":
            self._drop(_behind(rows, "group"), "its group is in a held-out split too")
            self._find("group_overlap", "note", f"{what}; taken out of training", rows["path"], len(groups))
        else:
            self._find("group_overlap", self._gravest, what, rows["path"], len(groups))

    def stage_overlap(self, target: pd.DataFrame, target_groups: str | None, target_name: str, *, mends: bool) -> None:
        """What of the target's test rows trains or validates this earlier stage."""
        test = target[target["split"] == "test"]
        used = self.table[self.table["split"] != "test"]
        shared = used["digest"].isin(test["digest"])
        if target_groups is not None and target_groups == self.domain.group_column:
            shared |= used["group"].isin(test["group"])
        rows = used[shared]
        if rows.empty:
            return
        what = f"{_count(len(rows), 'image')} of {target_name}'s test groups, or identical to its test images "
        what += f"({name_some(rows['path'])})"
        if mends:
            self._drop(rows, f"of {target_name}'s test set")
            self._find("stage_overlap", "note", f"{what}; left out here", rows["path"], len(rows))
        else:
            self._find("stage_overlap", "error", f"{what} in this earlier stage", rows["path"], len(rows))

    def _find(
        self, kind: str, severity: Severity, what: str, paths: Sequence[str] | pd.Series[str], value: int | None = None
    ) -> None:
        size = None if value is None else float(value)
        self.findings.append(Finding(kind, severity, f"{self._name}: {what}", tuple(map(str, paths)), size))

    def _drop(self, rows: pd.DataFrame, reason: str) -> None:
        self.table = self.table.drop(index=rows.index)
        self.dropped.append(rows[["path", "label", "split"]].assign(stage=self._name, reason=reason))


def _behind(rows: pd.DataFrame, same: str) -> pd.DataFrame:
    """Rows whose split yields to a held-out one among the rows that share the column `same`."""
    ranks = rows["split"].map(_SPLIT_RANK)
    return rows[ranks > ranks.groupby(rows[same]).transform("min")]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
