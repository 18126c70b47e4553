"""How pictures are drawn: once for light pages and once for dark ones, in colours that everybody tells apart."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlmed.report.parts import Picture

# Okabe & Ito's colours, which people with any colour vision tell apart, on white and on near-black.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES_ON_DARK = ("#56B4E9", "#F0894A", "#2FC79A", "#E3A3C8", "#F0B840", "#9AD4F5")
SQUARE_INCHES = (4.6, 4.4)
_LIGHT = {"ink": "#1a1a1a", "paper": "#ffffff"}
_DARK = {"ink": "#e8e8e8", "paper": "#16181c"}
_DOTS_PER_INCH = 110

Draw = Callable[[Figure, Sequence[str]], None]
"""Draws on an empty figure with these colours for lines, in order."""


def draw_picture(
    name: str,
    title: str,
    alternative: str,
    caption: str,
    draw: Draw,
    *,
    size_inches: tuple[float, float] = SQUARE_INCHES,
) -> Picture:
    """Draw once in each form; text, axes and `rcParams["text.color"]` have the form's ink."""
    light = _png(draw, _LIGHT, LINES, size_inches)
    dark = _png(draw, _DARK, LINES_ON_DARK, size_inches)
    return Picture(name, title, alternative, caption, light, dark)


def plain_axes(axes: Axes) -> None:
    """Leave out what tells nothing: the frame's upper and right lines; a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.15)


def _png(draw: Draw, colours: Mapping[str, str], lines: Sequence[str], size_inches: tuple[float, float]) -> bytes:
    ink, paper = colours["ink"], colours["paper"]
    settings: dict[str, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink
    )
    settings |= {"figure.facecolor": paper, "axes.facecolor": paper, "grid.color": ink, "font.size": 10}
    stream = io.BytesIO()
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure, lines)
        FigureCanvasAgg(figure)
        figure.savefig(stream, dpi=_DOTS_PER_INCH, facecolor=paper)
    return stream.getvalue()
