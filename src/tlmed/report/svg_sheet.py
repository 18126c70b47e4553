"""Boxes of text and arrows as one SVG element, as wide as a phone and in the page's own colours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from typing import Literal

WIDTH = 340
Look = Literal["plain", "dashed", "strong"]

_PADDING, _LINE_HEIGHT, _FONT_SIZE = 8, 17, 13
# Of the widest usual system font; an SVG text does not wrap by itself.
_WIDTH_OF_CHARACTER, _WIDTH_OF_BOLD = 6.9, 7.5
_FRAMES: dict[Look, str] = {
    "plain": "stroke:var(--ink);stroke-width:1",
    "dashed": "stroke:var(--ink);stroke-width:1;stroke-dasharray:5 3",
    "strong": "stroke:var(--accent);stroke-width:3",
}


class SvgSheet:
    """A drawing that grows downwards; lengths are in SVG units, about a CSS pixel each."""

    def __init__(self) -> None:
        self._elements: list[str] = []
        self._bottom = 0.0

    def box(
        self, x: float, y: float, width: float, title: str, lines: Sequence[str] = (), *, look: Look = "plain"
    ) -> float:
        """Draw a box as high as its wrapped text needs; returns where it ends."""
        rows = [(row, True) for row in _wrap(title, width, _WIDTH_OF_BOLD)]
        rows += [(row, False) for line in lines for row in _wrap(line, width, _WIDTH_OF_CHARACTER)]
        height = 2 * _PADDING + _LINE_HEIGHT * len(rows)
        self._elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" '
            f'style="fill:var(--paper);{_FRAMES[look]}"/>'
        )
        for number, (row, is_bold) in enumerate(rows):
            self.text(x + _PADDING, y + _PADDING + _LINE_HEIGHT * (number + 0.75), row, is_bold=is_bold)
        self._bottom = max(self._bottom, y + height)
        return y + height

    def text(self, x: float, y: float, text: str, *, is_bold: bool = False) -> None:
        """Write one line that begins there, `y` being its base line."""
        weight = ' font-weight="700"' if is_bold else ""
        self._elements.append(f'<text x="{x:g}" y="{y:g}"{weight}>{escape(text)}</text>')
        self._bottom = max(self._bottom, y + 4)

    def line(self, *points: tuple[float, float]) -> None:
        """Draw straight lines through points."""
        self._elements.append(f'<polyline points="{_joined(points)}" style="fill:none;stroke:var(--ink)"/>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw straight lines through points that end in a tip, level or downwards."""
        (x0, y0), (x1, y1) = points[-2:]
        tip = [(x1 - 5, y1 - 7), (x1 + 5, y1 - 7)] if x0 == x1 else [(x1 - 7, y1 - 5), (x1 - 7, y1 + 5)]
        self.line(*points)
        self._elements.append(f'<polygon points="{_joined([(x1, y1), *tip])}" style="fill:var(--ink);stroke:none"/>')
        self._bottom = max(self._bottom, y0, y1)

    def render(self, title: str, alternative: str) -> str:
        """Return the element.

        Args:
            title: what it is.
            alternative: what it shows, for who cannot see it.
        """
        attributes = {
            "xmlns": "http://www.w3.org/2000/svg",
            "role": "img",
            "aria-label": alternative,
            "viewBox": f"-2 0 {WIDTH + 4} {self._bottom + 3:g}",
            "style": f"width:100%;max-width:{1.35 * WIDTH:g}px;height:auto",
            "font-family": "system-ui, sans-serif",
            "font-size": str(_FONT_SIZE),
            "fill": "currentColor",
        }
        opened = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
        return f"<svg {opened}><title>{escape(title)}</title>{''.join(self._elements)}</svg>"


def _wrap(text: str, width: float, width_of_character: float) -> list[str]:
    return textwrap.wrap(text, int((width - 2 * _PADDING) / width_of_character)) or [""]


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
