from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tlmed.errors import InputError
from tlmed.runtime.ledger import LEDGER, TestSet, open_test, register_question
from tlmed.runtime.store import Store


def images(numbers: range) -> list[str]:
    """SHA-256 of some contents."""
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]


TEST = TestSet.of(["file-a", "file-b"])


def test_looks_at_one_test_set_are_counted_over_all_recipes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert open_test(store, TEST, ["model-1"], recipe="first") == 1
    assert open_test(store, TEST, ["model-2", "model-3"], recipe="second") == 2
    assert open_test(store, TestSet.of(["file-c"]), ["model-1"], recipe="first") == 1
    assert open_test(store, TEST, ["model-1"], recipe="first") == 2


def test_the_same_models_again_are_no_new_look_but_one_new_among_them_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_test(store, TEST, ["model-1"], recipe="first")
    assert open_test(store, TEST, ["model-1"], recipe="renamed") == 1
    assert open_test(store, TEST, ["model-1", "model-2"], recipe="first") == 2


def test_a_test_set_is_its_files_whatever_their_order() -> None:
    assert TestSet.of(["file-b", "file-a", "file-b"]) == TEST
    assert TestSet.of(["file-a"]) != TEST


def test_a_set_that_shares_most_images_is_the_same_and_another_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_test(store, TestSet.of(images(range(300))), ["model-1"], recipe="first")
    assert open_test(store, TestSet.of(images(range(20, 300))), ["model-2"], recipe="a few left out") == 2
    assert open_test(store, TestSet.of(images(range(320))), ["model-3"], recipe="a few added") == 3
    assert open_test(store, TestSet.of(images(range(100))), ["model-4"], recipe="a third of it") == 4
    assert open_test(store, TestSet.of(images(range(280, 540))), ["model-5"], recipe="a sixth in common") == 1


def test_lines_are_only_ever_added(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_test(store, TEST, ["model-1"], recipe="first")
    before = (tmp_path / LEDGER).read_bytes()
    open_test(store, TEST, ["model-2"], recipe="second")
    after = (tmp_path / LEDGER).read_bytes()
    assert after.startswith(before)
    assert [json.loads(line)["recipe"] for line in after.splitlines()] == ["first", "second"]


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text('{"test": "x"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"test-ledger\.jsonl, line 1: damaged"):
        open_test(Store(tmp_path), TEST, ["model-1"], recipe="first")


FIRST, SECOND = {"text": "a minus b, auroc"}, {"text": "c minus b, auroc"}


def test_a_question_written_down_before_the_test_was_opened_stays_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before = register_question(store, TEST, FIRST, recipe="study")
    open_test(store, TEST, ["model-1"], recipe="study")
    after = register_question(store, TEST, FIRST, recipe="study")
    assert before == after
    assert before.changed_after_looking is None


def test_a_question_changed_after_looking_is_marked_for_ever(tmp_path: Path) -> None:
    store = Store(tmp_path)
    register_question(store, TEST, FIRST, recipe="study")
    assert register_question(store, TEST, SECOND, recipe="study").changed_after_looking is None
    open_test(store, TEST, ["model-1"], recipe="study")
    third = {"text": "a minus c, auroc"}
    for _ in range(2):
        changed = register_question(store, TEST, third, recipe="study").changed_after_looking
        assert changed is not None
        assert "had opened the test 1 time; before, it was: a minus b, auroc | c minus b, auroc" in changed
    assert register_question(store, TEST, FIRST, recipe="study").changed_after_looking is None


def test_a_first_question_after_looking_is_marked_as_well(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_test(store, TEST, ["model-1"], recipe="study")
    open_test(store, TEST, ["model-2"], recipe="study")
    changed = register_question(store, TEST, FIRST, recipe="study").changed_after_looking
    assert changed is not None
    assert changed.endswith("after this recipe had opened the test 2 times")


def test_questions_of_other_recipes_are_counted_and_do_not_count_as_a_change(tmp_path: Path) -> None:
    store = Store(tmp_path)
    register_question(store, TEST, FIRST, recipe="study")
    open_test(store, TEST, ["model-1"], recipe="study")
    other = register_question(store, TEST, SECOND, recipe="another")
    assert (other.changed_after_looking, other.others_on_this_test) == (None, 1)
    assert register_question(store, TEST, FIRST, recipe="same question").others_on_this_test == 2
    assert register_question(store, TestSet.of(["file-c"]), SECOND, recipe="elsewhere").others_on_this_test == 0


def test_a_question_knows_how_often_the_test_had_been_opened_by_anyone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_test(store, TEST, ["model-1"], recipe="another")
    open_test(store, TEST, ["model-2"], recipe="a third")
    open_test(store, TestSet.of(["file-c"]), ["model-3"], recipe="another")
    register_question(store, TEST, FIRST, recipe="study")
    open_test(store, TEST, ["model-4"], recipe="study")
    open_test(store, TEST, ["model-5"], recipe="another")
    registered = register_question(store, TEST, FIRST, recipe="study")
    assert (registered.changed_after_looking, registered.openings_before) == (None, 2)
    later = register_question(store, TEST, SECOND, recipe="study")
    assert later.openings_before == 4
    assert str(later.changed_after_looking).endswith("had opened the test 1 time; before, it was: a minus b, auroc")


def test_other_recipes_and_own_questions_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for question in (FIRST, SECOND):
        register_question(store, TEST, question, recipe="another")
    register_question(store, TEST, FIRST, recipe="a third")
    first = register_question(store, TEST, FIRST, recipe="study")
    assert (first.others_on_this_test, first.own_earlier) == (2, 0)
    assert register_question(store, TEST, SECOND, recipe="study").own_earlier == 1
    assert register_question(store, TEST, FIRST, recipe="study").own_earlier == 1
