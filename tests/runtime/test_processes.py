from __future__ import annotations

import math
import operator
import os
from functools import partial

import pytest

from tlmed.runtime.processes import map_in_order

# Functions come from the standard library: those of a test file cannot be imported in a spawned process.


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_results_come_in_the_items_order(num_workers: int) -> None:
    items = list(range(150, 0, -1))  # more than are on their way at once, and not a multiple of a chunk
    assert list(map_in_order(partial(pow, 2), items, num_workers=num_workers)) == [2**item for item in items]


def test_only_workers_are_other_processes() -> None:
    items = [os.getpid] * 40
    assert set(map_in_order(operator.call, items, num_workers=0)) == {os.getpid()}
    assert os.getpid() not in set(map_in_order(operator.call, items, num_workers=2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_exceptions_travel(num_workers: int) -> None:
    results = map_in_order(math.sqrt, [4.0, 9.0, -1.0, *[16.0] * 60], num_workers=num_workers)
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(results)


@pytest.mark.parametrize("num_workers", [None, 0, 2])
def test_no_items_give_no_results(num_workers: int | None) -> None:
    assert list(map_in_order(math.sqrt, [], num_workers=num_workers)) == []


def test_few_items_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("started")

    monkeypatch.setattr("tlmed.runtime.processes.ProcessPoolExecutor", start)
    monkeypatch.setattr("tlmed.runtime.processes.num_cores", lambda: 8)
    assert list(map_in_order(math.sqrt, [4.0, 9.0])) == [2.0, 3.0]
    with pytest.raises(AssertionError, match="started"):
        list(map_in_order(math.sqrt, [4.0] * 200))


def test_without_processes_an_item_is_worked_on_when_its_result_is_asked_for() -> None:
    done: list[int] = []

    def work(item: int) -> int:
        done.append(item)
        return item

    results = map_in_order(work, [1, 2, 3], num_workers=0)
    assert (next(results), done) == (1, [1])
