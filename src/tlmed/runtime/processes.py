"""Work on many items in several processes, results in the items' order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

from tlmed.runtime.hardware import num_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEMS_AT_ONCE = 16
# Starting a process costs about half a second, as much as one of these items many times over.
_MIN_ITEMS_PER_PROCESS = 100


def map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], *, num_workers: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order.

    Args:
        function: a module's function or a `functools.partial` of one; items and results travel between processes.
        items: what to work on.
        num_workers: processes; default: the machine's cores, or none where there is little to do.
    """
    workers = min(num_cores(), len(items) // _MIN_ITEMS_PER_PROCESS) if num_workers is None else num_workers
    if workers < 2:
        yield from map(function, items)
        return
    chunks = iter([items[start : start + _ITEMS_AT_ONCE] for start in range(0, len(items), _ITEMS_AT_ONCE)])
    # Spawned, not forked: safe beside threads, and the same on every system.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=begin_worker) as pool:
        running = [pool.submit(_map_chunk, function, chunk) for chunk in islice(chunks, 2 * workers)]
        while running:
            yield from running.pop(0).result()
            # A bounded number of chunks is on its way, so that a slow disk for writing does not fill the memory.
            running.extend(pool.submit(_map_chunk, function, chunk) for chunk in islice(chunks, 1))


def begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: to be called first in every process that is started here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # it was killed without warning: nobody waits for this work


def _map_chunk(function: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [function(item) for item in chunk]
