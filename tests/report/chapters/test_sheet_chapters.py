from __future__ import annotations

import pytest

from tests.report.paper.test_paper_text import RUNS
from tests.report.run_records import run_record
from tlmed.report.chapters.sheet_chapters import sheet_chapters
from tlmed.report.parts import Section


@pytest.mark.parametrize("name", list(RUNS))
def test_chapters_come_in_order_with_whole_tables(name: str) -> None:
    chapters = sheet_chapters(run_record(**RUNS[name]))
    assert [chapter.anchor for chapter in chapters] == [
        "settings",
        "limits",
        "claim-2024",
        "tripod-ai",
        "model-card",
        "paper",
    ]
    for part in (part for chapter in chapters for part in chapter.parts):
        assert isinstance(part, Section)
        assert part.title
        assert part.sentences or part.grid
        if part.grid is not None:
            assert {len(row) for row in part.grid.rows} <= {len(part.grid.header)}
