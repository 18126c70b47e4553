"""A difference and its interval on a line, beside 0 and the margin within which no difference matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import escape

from tlmed.report.parts import Drawing

_WIDTH, _HEIGHT, _LINE_Y, _SIDE = 400, 120, 54, 34
_SPACE = 0.15  # beside what is drawn, as a share of it


def draw_interval(name: str, claim: Mapping[str, Any], margin: float, *, of_models: bool = False) -> Drawing:
    """Draw a claim with limits.

    Args:
        name: of the contrast, such as "generic-related minus generic".
        claim: `value`, `low`, `high`.
        margin: the smallest difference that matters.
        of_models: whether the limits are of these trained models alone, without the chance of training.
    """
    value, low, high = (float(claim[key]) for key in ("value", "low", "high"))
    ends = (min(low, -margin, 0), max(high, margin, 0))
    space = _SPACE * (ends[1] - ends[0])
    first, last = ends[0] - space, ends[1] + space

    def x(difference: float) -> float:
        return round(_SIDE + (_WIDTH - 2 * _SIDE) * (difference - first) / (last - first), 1)

    text = f"{name}: {value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}; margin {margin:.3g} either way"
    svg = "\n".join(
        [
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(text)}">',
            f"<title>{escape(text)}</title>",
            f'<rect x="{x(-margin)}" y="{_LINE_Y - 26}" width="{round(x(margin) - x(-margin), 1)}" height="52" '
            'style="fill:var(--line)" opacity="0.55"/>',
            f'<line x1="{_SIDE}" x2="{_WIDTH - _SIDE}" y1="{_LINE_Y}" y2="{_LINE_Y}" stroke="currentColor"/>',
            f'<line x1="{x(0)}" x2="{x(0)}" y1="{_LINE_Y - 30}" y2="{_LINE_Y + 30}" stroke="currentColor" '
            'stroke-dasharray="3 3"/>',
            *_interval(x(low), x(value), x(high)),
            _label(x(value), 14, f"{value:+.3f} ({low:+.3f} to {high:+.3f})", _anchor(x(value))),
            _label(x(0), _LINE_Y + 44, "0", "middle"),
            _label(0, _HEIGHT - 4, "← worse", "start", size=19),
            _label(_WIDTH, _HEIGHT - 4, "better →", "end", size=19),
            "</svg>",
        ]
    )
    what = "the difference and its 95 % interval"
    if of_models:
        what = "the difference of these two models and its 95 % interval; other seeds are not in it"
    caption = f"Dot and bar: {what}. Grey: differences below {margin:.3g}, too small to matter."
    return Drawing("primary-difference", name, text, caption, svg)


def _interval(low: float, value: float, high: float) -> list[str]:
    style = 'style="stroke:var(--accent)"'
    return [
        f'<line x1="{low}" x2="{high}" y1="{_LINE_Y}" y2="{_LINE_Y}" stroke-width="5" {style}/>',
        *(
            f'<line x1="{end}" x2="{end}" y1="{_LINE_Y - 9}" y2="{_LINE_Y + 9}" stroke-width="3" {style}/>'
            for end in (low, high)
        ),
        f'<circle cx="{value}" cy="{_LINE_Y}" r="7" style="fill:var(--accent);stroke:var(--paper)" stroke-width="2"/>',
    ]


def _anchor(position: float) -> str:
    """Which end of a text stands at its place, so that it stays within the drawing."""
    third = _WIDTH / 3
    return "start" if position < third else "end" if position > 2 * third else "middle"


def _label(x: float, y: float, text: str, anchor: str, size: int = 16) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="currentColor">{escape(text)}</text>'
