"""How often each test set was opened: an append-only list in the store, over all recipes.

Whoever looks at the same test cases again and again, and keeps what looked best, fits them; the count says how often
that may have happened.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from filelock import FileLock

from tlmed.runtime.store import Store, append_line, content_key

LEDGER = "test-ledger.jsonl"


def digest_of_test(digests: Iterable[str]) -> str:
    """The identity of a test set: of its files' contents, whatever they are called and in whatever order."""
    return content_key({"test": sorted(set(digests))})


def open_test(store: Store, test: str, models: Iterable[str], *, recipe: str) -> int:
    """Write down that models are measured on a test set, and return how often it was opened so far, this time included.

    Looking again at what was measured before is not counted: the same figures teach nothing new.

    Args:
        store: keeps the ledger.
        test: see `digest_of_test`.
        models: keys of what is measured.
        recipe: name of the recipe, for readers of the ledger.
    """
    with FileLock(store.root / f".{LEDGER}.lock"):
        earlier = [entry for entry in _entries(store) if entry["test"] == test]
        known = {key for entry in earlier for key in entry["models"]}
        new = sorted(set(models) - known)
        if new:
            entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "test": test, "recipe": recipe, "models": new}
            append_line(store.root / LEDGER, json.dumps(entry, ensure_ascii=False))
    return len(earlier) + bool(new)


def num_openings(store: Store, test: str) -> int:
    """How often a test set was opened so far."""
    return sum(entry["test"] == test for entry in _entries(store))


def _entries(store: Store) -> list[dict[str, Any]]:
    file = store.root / LEDGER
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
