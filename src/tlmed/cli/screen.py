"""What commands show: log lines on stderr, answers on stdout."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlmed.report.parts import Section


def show_log() -> None:
    """Send the package's log to stderr, one plain line an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("tlmed")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def print_json(value: Any) -> None:
    """Print the one machine-readable answer on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_sections(said: Sequence[Section], written: str | None) -> None:
    """Print an answer in sections, and where it was written.

    Args:
        said: the most important first.
        written: a sentence on files, if there are any.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for section in said:
        console.print(f"[bold]{escape(section.title)}[/bold]")
        if section.grid is not None:
            table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
            for name in section.grid.header:
                table.add_column(escape(name), overflow="fold")  # no figure is cut off
            for row in section.grid.rows:
                table.add_row(*map(escape, row))
            console.print(table)
        for sentence in section.sentences:
            console.print(escape(sentence), highlight=False)
        console.print()
    if written is not None:
        console.print(written, soft_wrap=True, highlight=False)
    console.print("Research use only, not a medical device.")
