from __future__ import annotations

from dataclasses import replace

from tests.report.run_records import run_record
from tlmed.report.chapters.model_card_chapter import model_card_chapter, sections_of
from tlmed.report.parts import Grid, Section
from tlmed.serving.bundle import render_model_card


def test_markdown_becomes_sections() -> None:
    first = "# Card\n\n**Bold** and `code`.\n\n| a | b |\n|---|---|\n| 1 | x < y |\n"
    markdown = f"{first}\nBelow:\n\n| c |\n|---|\n| 2 |\n\nLast.\n"
    assert sections_of(markdown) == [
        Section("Card", ("Bold and code.",), Grid(("a", "b"), (("1", "x < y"),))),
        Section("Below", (), Grid(("c",), (("2",),))),
        Section("Card, continued", ("Last.",)),
    ]


def test_lists_and_code_are_sentences() -> None:
    assert sections_of("## Use\n\n```\ntlmed predict\n```\n\n- one\n- two\n") == [
        Section("Use", ("tlmed predict", "one", "two"))
    ]


def test_nothing_of_the_card_is_lost() -> None:
    record = run_record()
    assert record.bundle is not None
    card = render_model_card(record.bundle, record.metrics)
    parts = [part for part in model_card_chapter(record).parts if isinstance(part, Section)]
    grids = [part.grid for part in parts if part.grid is not None]
    lines = [line for line in card.splitlines() if line.startswith("|") and "---" not in line]
    assert sum(1 + len(grid.rows) for grid in grids) == len(lines)
    shown = " ".join(text for part in parts for text in (part.title, *part.sentences))
    assert "Research use only. Not a medical device." in shown
    assert "It answers for any image" in shown
    assert not set("*`#") & set(shown)


def test_a_run_without_the_delivered_arm_has_no_card() -> None:
    chapter = model_card_chapter(replace(run_record(), bundle=None))
    assert chapter.parts == (
        Section("No model", ("No model was delivered: this run does not hold the arm generic-related.",)),
    )
