"""What commands show: log lines on stderr, answers on stdout."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any


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
