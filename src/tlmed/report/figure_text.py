"""Figures of `metrics.json` as text: a value, its limits, or why there are none; and names in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def value_text(cell: Mapping[str, Any], sign: str = "") -> str:
    """Return such as "0.703", or "undefined"."""
    return "undefined" if cell["value"] is None else f"{cell['value']:{sign}.3f}"


def limits_text(cell: Mapping[str, Any], sign: str = "") -> str:
    """Return such as "0.571 to 0.807", or why there are no limits."""
    if cell["low"] is not None:
        return f"{cell['low']:{sign}.3f} to {cell['high']:{sign}.3f}"
    if cell.get("too_few"):
        return "no interval: too few groups"
    return str(cell.get("undefined") or cell.get("no_interval") or "no interval")


def figure_text(cell: Mapping[str, Any], sign: str = "") -> str:
    """Return such as "0.703 (0.571 to 0.807)"; in place of the limits why there are none."""
    return f"{value_text(cell, sign)} ({limits_text(cell, sign)})"


def is_hidden(point: Mapping[str, Any]) -> bool:
    """Whether a threshold was not refused, but what came of it is not shown in a copy to share."""
    return point["refused"] is not None and not point["fits"]


def refusal_text(point: Mapping[str, Any]) -> str:
    """Return such as "refused (too few)", or that a copy to share does not show it."""
    return str(point["refused"]) if is_hidden(point) else f"refused ({point['refused']})"


def counts_text(cell: Mapping[str, Any]) -> str:
    """Return such as "85 of 98", or "85, 84, 86 of 98" of as many seeds."""
    return f"{', '.join(map(str, cell['numerators']))} of {cell['denominator']}"


def listed(things: Iterable[object]) -> str:
    """Write "a", "a and b", "a, b and c"."""
    names = [str(thing) for thing in things]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
