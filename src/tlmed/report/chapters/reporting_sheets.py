"""The reporting checklists CLAIM 2024 and TRIPOD+AI, filled as far as a run folder and its recipe go. No score."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import Literal

from tlmed.recipe.settings import Settings
from tlmed.report.facts.fact import synthetic_domains
from tlmed.report.facts.registry import FACTS
from tlmed.report.parts import Chapter, Grid, Section
from tlmed.report.record.run_record import RunRecord

FILLED, NOT_STATED, NEEDS_A_PERSON = "filled", "not stated", "needs a person"
CHECKLISTS = ("claim_2024", "tripod_ai")
_HEADER = ("item", "asks for", "state", "answer", "source")


class ChecklistItem(Settings):
    """One thing that a paper is to report.

    Attributes:
        number: in the published checklist.
        section: of the paper.
        text: what is asked for, in our words.
        facts: names in `FACTS`.
        stated: keys of the recipe, as `study.years`, or `data.reference` of every domain.
        person: what is left to a person, whatever the run knows.
    """

    number: str
    section: str
    text: str
    facts: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()
    person: str | None = None


class Checklist(Settings):
    """A published checklist."""

    title: str
    citation: str
    items: tuple[ChecklistItem, ...]


class Answer(Settings):
    """What a run and its recipe say to an item.

    Attributes:
        state: `filled` from facts and statements; `not stated` where a key of the recipe is empty, or the run holds
            no such file; `needs a person` where no key could hold it.
    """

    state: Literal["filled", "not stated", "needs a person"]
    sentences: tuple[str, ...]
    sources: tuple[str, ...]


def read_checklist(name: str) -> Checklist:
    """Read one of `CHECKLISTS`."""
    text = resources.files("tlmed.report").joinpath("checklists", f"{name}.toml").read_text(encoding="utf-8")
    return Checklist.model_validate(tomllib.loads(text))


def answer_item(item: ChecklistItem, record: RunRecord) -> Answer:
    """Answer an item from the record, and name what is missing."""
    facts = [fact for fact in (FACTS[name](record) for name in item.facts) if fact is not None]
    sentences, sources = [fact.statement for fact in facts], [fact.source for fact in facts]
    missing = [key for fact in facts for key in fact.missing]
    for key in item.stated:
        value, empty = _stated(key, record)
        missing += empty
        if value:
            sentences.append(value)
            sources.append(f"recipe: {key}")
    is_open = bool(missing) or not sentences
    if missing:
        sentences.append(f"Not stated in the recipe: {', '.join(missing)}.")
    if item.person is not None:
        sentences.append(item.person)
    elif not sentences:
        sentences.append("This run folder does not hold it.")
    state = NEEDS_A_PERSON if item.person is not None else NOT_STATED if is_open else FILLED
    return Answer.model_validate({"state": state, "sentences": tuple(sentences), "sources": tuple(sources)})


def sheet_chapter(name: str, record: RunRecord) -> Chapter:
    """Return one of `CHECKLISTS` as a chapter, a table for each section of a paper."""
    checklist = read_checklist(name)
    sections = dict.fromkeys(item.section for item in checklist.items)
    tables = [
        _table(section, [item for item in checklist.items if item.section == section], record) for section in sections
    ]
    introduction = Section(
        "How to read this sheet",
        (
            f"After {checklist.citation}. The items are in short words of our own; the published wording counts.",
            f"{FILLED.capitalize()}: the run folder or its recipe answers it, which does not say that the answer is a "
            f"good one. {NOT_STATED.capitalize()}: a key of the recipe that would hold it is empty; fill it in and "
            f"draw the report again. {NEEDS_A_PERSON.capitalize()}: no file can know it. There is no score: the "
            "number of filled items says nothing about a study.",
        ),
    )
    return Chapter(f"{checklist.title} sheet", name.replace("_", "-"), (introduction, *tables))


def _table(section: str, items: Sequence[ChecklistItem], record: RunRecord) -> Section:
    rows = []
    for item in items:
        answer = answer_item(item, record)
        sources = "; ".join(dict.fromkeys(answer.sources))
        rows.append((item.number, item.text, answer.state, " ".join(answer.sentences), sources))
    return Section(section, grid=Grid(_HEADER, tuple(rows)))


def _stated(key: str, record: RunRecord) -> tuple[str, list[str]]:
    """What a key of the recipe holds, and the keys that are empty; what domains hold, the fact `data_sources` tells."""
    part, _, name = key.partition(".")
    if part == "study":
        value = getattr(record.recipe.study, name)
        return (value, []) if value is not None else ("", [key])
    synthetic = synthetic_domains(record)
    empty = [stage for stage, domain in record.domains.items() if stage not in synthetic and domain[name] is None]
    return "", [f"{key} of {stage}" for stage in empty]
