"""The report's last chapters: settings, limits, reporting checklists, model card, text for a paper."""

from __future__ import annotations

from tlmed.report.chapters.model_card_chapter import model_card_chapter
from tlmed.report.chapters.reporting_sheets import CHECKLISTS, sheet_chapter
from tlmed.report.chapters.settings_chapter import settings_chapter
from tlmed.report.facts.limits import limits
from tlmed.report.paper.paper_text import paper_chapter
from tlmed.report.parts import Chapter, Section
from tlmed.report.record.run_record import RunRecord


def sheet_chapters(record: RunRecord) -> list[Chapter]:
    """Return them in the order in which the report has them."""
    told = Section("What this run cannot say", tuple(limits(record)))
    return [
        settings_chapter(record),
        Chapter("Limits", "limits", (told,)),
        *(sheet_chapter(name, record) for name in CHECKLISTS),
        model_card_chapter(record),
        paper_chapter(record),
    ]
