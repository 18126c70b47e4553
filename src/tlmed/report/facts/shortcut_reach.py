"""How much of a score a shortcut could explain: all of it, a part, or nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlmed.report.figure_text import figure_text, listed

_CHANCE = 0.5


def matched_shortcuts(
    shortcuts: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return those in which enough cases are alike for an interval, and of these the ones where it holds chance."""
    told = [one for one in shortcuts if one["matched"] is not None and one["matched"]["auroc"]["low"] is not None]
    return told, [one for one in told if one["matched"]["auroc"]["low"] <= _CHANCE]


def explained_by_shortcuts(finding: Mapping[str, Any]) -> str:
    """Return what the AUROC among units that are alike in a shortcut says of it, in a sentence.

    Args:
        finding: of `usage` in `metrics.json`, with at least one shortcut among its variables.
    """
    shortcuts = [one for one in finding["details"]["variables"] if one["is_shortcut"]]
    told, by_chance = matched_shortcuts(shortcuts)
    if by_chance:
        where = listed(f"{one['matched']['where']}: {figure_text(one['matched']['auroc'])}" for one in by_chance)
        return f"It could explain all of the AUROC: where it is alike, no more than chance is shown ({where})."
    if len(told) == len(shortcuts):
        return "It could explain a part of the AUROC: where it is alike, the AUROC still lies above chance."
    names = listed(one["variable"] for one in shortcuts if one not in told)
    return f"How much of the AUROC it could explain cannot be told: too few groups are alike in {names}."
