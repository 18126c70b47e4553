from __future__ import annotations

import json
from pathlib import Path

from tlmed.runtime.ledger import LEDGER, digest_of_test, num_openings, open_test
from tlmed.runtime.store import Store

TEST = digest_of_test(["file-a", "file-b"])


def test_looks_at_one_test_set_are_counted_over_all_recipes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert num_openings(store, TEST) == 0
    assert open_test(store, TEST, ["model-1"], recipe="first") == 1
    assert open_test(store, TEST, ["model-2", "model-3"], recipe="second") == 2
    assert open_test(store, digest_of_test(["file-c"]), ["model-1"], recipe="first") == 1
    assert num_openings(store, TEST) == 2


def test_the_same_models_again_are_no_new_look_but_one_new_among_them_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_test(store, TEST, ["model-1"], recipe="first")
    assert open_test(store, TEST, ["model-1"], recipe="renamed") == 1
    assert open_test(store, TEST, ["model-1", "model-2"], recipe="first") == 2


def test_a_test_set_is_its_files_whatever_their_order() -> None:
    assert digest_of_test(["file-b", "file-a", "file-b"]) == TEST
    assert digest_of_test(["file-a"]) != TEST


def test_lines_are_only_ever_added(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_test(store, TEST, ["model-1"], recipe="first")
    before = (tmp_path / LEDGER).read_bytes()
    open_test(store, TEST, ["model-2"], recipe="second")
    after = (tmp_path / LEDGER).read_bytes()
    assert after.startswith(before)
    assert [json.loads(line)["recipe"] for line in after.splitlines()] == ["first", "second"]
