"""The model card of a run's bundle as a chapter: the card itself, rendered anew and read back as parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlmed.report.parts import Chapter, Grid, Section
from tlmed.report.record.run_record import RunRecord
from tlmed.serving.bundle import render_model_card

if TYPE_CHECKING:
    from markdown_it.token import Token


def model_card_chapter(record: RunRecord) -> Chapter:
    """Return the card, or that no model was delivered."""
    title, anchor = "Model card", "model-card"
    if record.bundle is None:
        told = f"No model was delivered: this run does not hold the arm {record.recipe.delivered_arm}."
        return Chapter(title, anchor, (Section("No model", (told,)),))
    return Chapter(title, anchor, tuple(sections_of(render_model_card(record.bundle, record.metrics))))


def sections_of(markdown: str) -> list[Section]:
    """Read headings, paragraphs, lists, code and tables back from Markdown.

    A section ends with its table; what follows has the title of the paragraph that announces the next table (one that
    ends with a colon), else that of the heading with "continued".
    """
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    drafts: list[_Draft] = []
    heading = ""
    for kind, content in _blocks(tokens):
        if kind == "heading":
            heading = content[0][0]
            drafts.append(_Draft(heading))
        elif kind == "table":
            drafts[-1].rows = content
        else:
            text = content[0][0]
            if drafts[-1].rows:
                announces = text.endswith(":")
                drafts.append(_Draft(text.removesuffix(":") if announces else f"{heading}, continued"))
                if announces:
                    continue
            drafts[-1].sentences.append(text)
    return [draft.section() for draft in drafts]


@dataclass
class _Draft:
    """A section while it is read."""

    title: str
    sentences: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def section(self) -> Section:
        grid = Grid(tuple(self.rows[0]), tuple(map(tuple, self.rows[1:]))) if self.rows else None
        return Section(self.title, tuple(self.sentences), grid)


def _blocks(tokens: Sequence[Token]) -> Iterator[tuple[str, list[list[str]]]]:
    """Each heading, text or table, with its rows of cells; a text is one cell."""
    rows: list[list[str]] = []
    is_heading = is_in_table = False
    for token in tokens:
        if token.type == "heading_open":
            is_heading = True
        elif token.type == "table_open":
            is_in_table, rows = True, []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "table_close":
            is_in_table = False
            yield "table", rows
        elif token.type == "fence":
            yield "text", [[token.content.strip()]]
        elif token.type == "inline":
            if is_in_table:
                rows[-1].append(_plain(token))
            else:
                yield ("heading" if is_heading else "text"), [[_plain(token)]]
                is_heading = False


def _plain(token: Token) -> str:
    """The words of a line, without what makes them bold or code."""
    return "".join(" " if child.type == "softbreak" else child.content for child in token.children or ())
