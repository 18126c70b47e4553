"""`report.html`: page one, then all that it rests on, in one file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tlmed.report.chapters.result_chapters import result_chapters
from tlmed.report.chapters.sheet_chapters import sheet_chapters
from tlmed.report.page_one.page import PageOne, page_one
from tlmed.report.page_template import as_data, render_template
from tlmed.report.parts import Chapter, Drawing, Gallery, Picture, Section
from tlmed.report.record.run_record import RunRecord
from tlmed.report.record.sharing import shareable
from tlmed.report.record.small_counts import SmallCounts

SHARED = (
    "A copy to share: identifiers, places and levels of metadata columns are replaced, pictures of cases are left out, "
    "and so are counts under 5 with what would give them away ('some' stands for a count that was left out). Send this "
    "file alone: the run folder, and tables/ in it, hold all that is left out here."
)


def render_report(record: RunRecord, *, shared: bool = False) -> str:
    """Return the page.

    Args:
        record: of a finished run.
        shared: for readers who must not see identifiers, pictures of cases or small counts.
    """
    shown = shareable(record) if shared else record
    first, chapters = page_one(shown), [*result_chapters(shown), *sheet_chapters(shown)]
    if shared:
        first, chapters = _without_small_counts(shown, first, chapters)
    return render_template(
        "report.html.j2",
        name=shown.recipe.name,
        first=first,
        chapters=[_content(chapter) for chapter in chapters],
        shared=SHARED if shared else None,
    )


def _without_small_counts(record: RunRecord, first: PageOne, chapters: list[Chapter]) -> tuple[PageOne, list[Chapter]]:
    small = SmallCounts.of(record)
    items = tuple(small.section(item) for item in first.items)
    return replace(first, items=items), [
        Chapter(one.title, one.anchor, tuple(map(small.part, one.parts))) for one in chapters
    ]


def _content(chapter: Chapter) -> dict[str, Any]:
    return {"title": chapter.title, "anchor": chapter.anchor, "parts": [_part(part) for part in chapter.parts]}


def _part(part: Section | Picture | Drawing | Gallery) -> dict[str, Any]:
    content: dict[str, Any] = {"kind": type(part).__name__, "part": part}
    if isinstance(part, Picture):
        content |= {"light": as_data(part.light), "dark": as_data(part.dark) if part.dark != part.light else None}
    elif isinstance(part, Gallery):
        content["shots"] = [(as_data(shot.image), shot) for shot in part.shots]
    return content
