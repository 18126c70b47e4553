"""What the audit found before training, with pictures, and what the delivered model goes by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tlmed.evaluation.assessment.case_data import counted
from tlmed.report.facts.shortcut_reach import explained_by_shortcuts
from tlmed.report.figure_text import figure_text
from tlmed.report.pages.audit_page import MEANING, SEVERITIES
from tlmed.report.parts import Gallery, Grid, Section, Shot
from tlmed.report.record.run_record import RunRecord

_NOTHING = "Nothing was found."


def audit_parts(record: RunRecord) -> list[Section | Gallery]:
    """Return the findings, gravest first, pictures of some, what was left out and not looked at, and usage."""
    audit = record.audit
    findings = sorted(audit["findings"], key=lambda finding: SEVERITIES.index(finding["severity"]))
    rows = tuple((_severity(finding, audit), finding["kind"], finding["message"]) for finding in findings)
    meanings = {kind: MEANING[kind] for kind in (finding["kind"] for finding in findings) if kind in MEANING}
    said = tuple(f"{kind}: {meaning}" for kind, meaning in meanings.items())
    parts: list[Section | Gallery] = [
        Section("Findings", said, Grid(("weight", "kind", "what was found"), rows))
        if rows
        else Section("", (_NOTHING,))
    ]
    parts += _galleries(record)
    parts += _left_out(audit)
    parts += _usage(record.metrics)
    if audit["not_done"]:
        parts.append(Section("Not looked at", tuple(audit["not_done"])))
    return parts


def _severity(finding: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    is_waived = finding["severity"] == "error" and finding["kind"] in audit["waived"]
    return "error, waived" if is_waived else str(finding["severity"])


def _galleries(record: RunRecord) -> list[Gallery]:
    """Pairs stand side by side: their captions count them."""
    galleries = []
    for kept in record.pictures["findings"] if record.pictures is not None else ():
        finding = record.audit["findings"][kept["index"]]
        is_border = finding["kind"] == "shortcut_border"
        shots = tuple(
            Shot((record.folder / file).read_bytes(), *_caption(path, place, is_border=is_border))
            for place, (file, path) in enumerate(kept["files"])
        )
        if shots:
            what = "What the border alone looks like" if is_border else f"{finding['kind'].replace('_', ' ')}: pairs"
            galleries.append(Gallery(f"{what[0].upper()}{what[1:]}", finding["message"], shots))
    return galleries


def _caption(path: str, place: int, *, is_border: bool) -> tuple[str, str]:
    """(alternative, caption)."""
    if is_border:
        return f"{path}, its border alone; the middle is blank", path
    which = f"pair {place // 2 + 1}, {'left' if place % 2 == 0 else 'right'}"
    return f"{which}: {path}", f"{which}: {path}"


def _left_out(audit: Mapping[str, Any]) -> list[Section]:
    counts = Counter((one["stage"], one["reason"]) for one in audit["dropped"])
    counts.update((one["stage"], "unreadable") for one in audit["unreadable"])
    if not counts:
        return []
    return [
        Section(
            f"Left out of {stage}",
            (),
            Grid(
                ("why", "how many"),
                tuple((why, counted(number, "image")) for (of, why), number in counts.items() if of == stage),
            ),
        )
        for stage in dict.fromkeys(stage for stage, _ in counts)
    ]


def _usage(metrics: Mapping[str, Any]) -> list[Section]:
    """Variables that the delivered arm's score goes with inside the classes."""
    found = next((one for one in metrics["usage"] if one["details"].get("arm") == metrics["delivered"]), None)
    if found is None:
        return []
    rows = tuple(_usage_row(one) for one in found["details"].get("variables", ()) if one["is_followed"])
    said: tuple[str, ...] = (
        f"{found['message']}.",
        "Followed: within a class, where disease cannot be the reason, the score goes with the variable (p adjusted "
        "below 0.05). A shortcut: it also tells the class, the same way. Matched: the AUROC among units that are alike "
        "in it.",
    )
    if any(one["is_shortcut"] for one in found["details"].get("variables", ())):
        said = (said[0], explained_by_shortcuts(found), said[1])
    grid = Grid(("variable", "score goes with it", "Holm p", "shortcut", "matched on", "AUROC there"), rows)
    return [Section("What the delivered model goes by", said, grid if rows else None)]


def _usage_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    matched = one.get("matched")
    p_value = one["p_value_holm"]
    return (
        one["variable"],
        f"{one['measure']} {one['value']:.2f}",
        "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
        "yes" if one["is_shortcut"] else "no",
        "too few groups" if matched is None else matched["where"],
        "-" if matched is None else figure_text(matched["auroc"]),
    )
