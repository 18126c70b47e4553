"""Progress with time left, on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

_SECONDS_BEFORE_FIRST_LINE = 2.0  # what is quicker needs no progress in a log
_SECONDS_BETWEEN_LINES = 15.0


class Progress(Protocol):
    """What long work reports to."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""

    def describe(self, text: str) -> None:
        """Replace the note behind the figures, such as the current loss."""


@contextlib.contextmanager
def track(
    description: str, total: int, unit: str = "images", done: int = 0, *, is_shown: bool = True
) -> Iterator[Progress]:
    """Report progress of `total` units of work, of which `done` were done before (a resumed stage)."""
    if not is_shown:
        yield _Silent()
    elif sys.stderr.isatty():
        with _bar(description, total, unit, done) as progress:
            yield progress
    else:
        yield _Lines(description, total, unit, done)


@contextlib.contextmanager
def _bar(description: str, total: int, unit: str, done: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")

        class _Task:
            def advance(self, n: int = 1) -> None:
                bar.advance(task, n)

            def describe(self, text: str) -> None:
                bar.update(task, note=text)

        yield _Task()


class _Silent:
    def advance(self, n: int = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


class _Lines:
    def __init__(self, description: str, total: int, unit: str, done: int) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = self._done_before = done
        self._start = time.monotonic()
        self._next_line = self._start + _SECONDS_BEFORE_FIRST_LINE
        self._note = ""

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + _SECONDS_BETWEEN_LINES
            rate = (self._done - self._done_before) / max(now - self._start, 1e-9)
            seconds_left = (self._total - self._done) / max(rate, 1e-9)
            print(
                f"{self._description}: {self._done}/{self._total} {self._unit}, {rate:.1f} a second, "
                f"{format_seconds(seconds_left)} left{self._note}",
                file=sys.stderr,
                flush=True,
            )

    def describe(self, text: str) -> None:
        self._note = f" ({text})" if text else ""


def format_seconds(seconds: float) -> str:
    """Return a duration as people say it: `45 s`, `12 min`, `3.5 h`."""
    if seconds < 99:
        return f"{seconds:.0f} s"
    if seconds < 99 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
