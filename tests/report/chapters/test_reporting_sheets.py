from __future__ import annotations

from typing import Any

import pytest

from tests.report.run_records import run_record
from tlmed.recipe.study import StudySettings
from tlmed.report.chapters.reporting_sheets import CHECKLISTS, Answer, answer_item, read_checklist, sheet_chapter
from tlmed.report.facts.registry import FACTS
from tlmed.report.parts import Section

# Collins et al. 2024, table 2: the items that have parts.
PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}


def answer(name: str, number: str, **changes: Any) -> Answer:
    item = next(item for item in read_checklist(name).items if item.number == number)
    return answer_item(item, run_record(**changes))


def test_the_items_are_those_of_the_published_lists() -> None:
    claim, tripod = ([item.number for item in read_checklist(name).items] for name in CHECKLISTS)
    assert claim == [str(number) for number in range(1, 45)]
    assert tripod == [f"{number}{part}" for number in range(1, 28) for part in PARTS.get(number, [""])]
    assert len(tripod) == 52


@pytest.mark.parametrize("name", CHECKLISTS)
def test_every_item_can_be_answered_or_says_who_must(name: str) -> None:
    for item in read_checklist(name).items:
        assert item.facts or item.stated or item.person, item.number
        assert set(item.facts) <= FACTS.keys(), item.number
        keys = {key.removeprefix("study.") for key in item.stated if key.startswith("study.")}
        assert keys <= StudySettings.model_fields.keys(), item.number
        assert all(key.startswith("study.") or key == "data.reference" for key in item.stated), item.number


def test_every_fact_and_every_statement_of_a_study_answers_an_item() -> None:
    items = [item for name in CHECKLISTS for item in read_checklist(name).items]
    assert {key.removeprefix("study.") for item in items for key in item.stated} == {
        *StudySettings.model_fields,
        "data.reference",
    }
    assert {name for item in items for name in item.facts} == FACTS.keys()


def test_what_the_run_holds_is_filled_with_its_source() -> None:
    found = answer("claim_2024", "23")
    assert found.state == "filled"
    assert "torch 2.15.0" in found.sentences[0]
    assert found.sources == ("bundle/bundle.json, recipe: runtime",)


def test_an_empty_key_is_named_until_it_is_filled() -> None:
    empty, full = (answer("tripod_ai", "5b", study=study) for study in ({}, {"years": "2019 to 2020"}))
    assert (empty.state, empty.sentences) == ("not stated", ("Not stated in the recipe: study.years.",))
    assert (full.state, full.sentences, full.sources) == ("filled", ("2019 to 2020",), ("recipe: study.years",))


def test_an_item_is_not_filled_by_half() -> None:
    found = answer("claim_2024", "14", study={"annotators": "two radiologists"})
    assert found.state == "not stated"
    assert "sick counts as positive" in found.sentences[0]
    assert found.sentences[1] == "Not stated in the recipe: study.reference_standard."


def test_what_no_key_could_hold_needs_a_person_whatever_is_known() -> None:
    found = answer("claim_2024", "36", study=dict.fromkeys(StudySettings.model_fields, "stated"))
    assert found.state == "needs a person"
    assert found.sentences[-1].startswith("Add age, sex")


def test_a_domain_without_a_reference_is_named_unless_it_is_synthetic() -> None:
    assert answer("claim_2024", "7").sentences[-1] == (
        "Not stated in the recipe: data.reference of related, data.reference of target."
    )
    chain = [
        {"name": "related", "data": {"phantom": {"kind": "everyday"}}},
        {"name": "target", "data": {"folder": "x"}},
    ]
    assert answer("claim_2024", "7", chain=chain).sentences[-1] == (
        "Not stated in the recipe: data.reference of target."
    )


def test_what_is_not_in_the_run_folder_is_not_stated() -> None:
    record = run_record()
    item = next(item for item in read_checklist("claim_2024").items if item.number == "23")
    without = type(record)(**{**vars(record), "bundle": None})
    assert answer_item(item, without).state == "not stated"
    assert answer_item(item, without).sentences == ("This run folder does not hold it.",)


@pytest.mark.parametrize("name", CHECKLISTS)
def test_the_sheet_shows_each_item_once_and_no_score(name: str) -> None:
    introduction, *tables = sheet_chapter(name, run_record()).parts
    rows = [row for part in tables if isinstance(part, Section) and part.grid is not None for row in part.grid.rows]
    assert [row[0] for row in rows] == [item.number for item in read_checklist(name).items]
    assert {row[2] for row in rows} == {"filled", "not stated", "needs a person"}
    assert isinstance(introduction, Section)
    assert "There is no score" in introduction.sentences[1]
