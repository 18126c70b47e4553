"""What an audit says: one finding, with its weight and the rows that it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: what it is; an error may be waived by this name. Leakage: `group_overlap`, `duplicate`, `near_duplicate`,
            `label_conflict`, `stage_overlap`, `coarser_group` (grouped by something finer than the known patients).
            What tells the class: `shortcut_metadata`, `shortcut_border`, `shortcut_column`, `source_confounding`,
            `simple_baseline`; whether a trained model goes by it: `shortcut_usage`. What could not be looked at:
            `groups_unknown` (no column says what belongs together), `shortcuts_unknown` (no labels, one class alone,
            or too few groups to look for shortcuts), `unreadable` (damaged images).
        severity: an `error` stops a run, a `warning` is shown, a `note` is kept.
        message: one clause: what and where, with examples.
        paths: the images it is about, as their manifests write them.
        value: its size; for the leakage kinds the number of groups, of sets of identical files, or of images.
        low, high: 95 % interval of `value` where it is an estimate.
        details: what else is known, by name; only what JSON can hold.
    """

    kind: str
    severity: Severity
    message: str
    paths: tuple[str, ...] = ()
    value: float | None = None
    low: float | None = None
    high: float | None = None
    details: dict[str, Any] = field(default_factory=dict, hash=False)
