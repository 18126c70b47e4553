"""What pages are made of: text, tables and pictures, whatever page they end on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table of text, its first column being names."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """Sentences and a table under a heading."""

    title: str
    sentences: tuple[str, ...] = ()
    grid: Grid | None = None


@dataclass(frozen=True)
class Picture:
    """A picture in both forms.

    Attributes:
        name: for files.
        title: above it.
        alternative: what it shows, for who cannot see it.
        caption: what to know when reading it.
        light: PNG bytes for a white page.
        dark: PNG bytes for a dark one.
    """

    name: str
    title: str
    alternative: str
    caption: str
    light: bytes
    dark: bytes


@dataclass(frozen=True)
class Drawing:
    """A drawing of boxes and lines, as SVG within the page: sharp on paper, with the page's own colours.

    Attributes:
        svg: one `<svg>` element that names no colours but `currentColor` and the page's CSS variables, and has a
            `<title>`; any text in it is escaped.
    """

    name: str
    title: str
    alternative: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Shot:
    """A small picture of one case.

    Attributes:
        image: PNG or JPEG bytes.
        alternative: what it shows, for who cannot see it.
        caption: below it.
    """

    image: bytes
    alternative: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Small pictures of cases, side by side."""

    title: str
    caption: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Chapter:
    """A part of a long page.

    Attributes:
        anchor: for links within the page.
        parts: in order.
    """

    title: str
    anchor: str
    parts: tuple[Section | Picture | Drawing | Gallery, ...]
