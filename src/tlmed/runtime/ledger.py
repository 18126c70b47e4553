"""How often each test set was opened: an append-only list in the store, over all recipes.

Whoever looks at the same test cases again and again, and keeps what looked best, fits them; the count says how often
that may have happened.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from filelock import FileLock

from tlmed.errors import InputError
from tlmed.runtime.store import Store, append_line, content_key

LEDGER = "test-ledger.jsonl"
_SKETCH_SIZE, _DIGITS = 64, 16
_SAME_FROM = 0.5  # share of images in common from which two test sets count as one


@dataclass(frozen=True)
class TestSet:
    """What is tested on, by its files' contents, whatever they are called and in whatever order.

    Attributes:
        digest: of all files.
        sketch: the smallest digests, cut off: of two sets they tell how much they have in common (Broder, Proc
            Compression and Complexity of Sequences 1997:21).
    """

    __test__ = False  # its name would make pytest collect it

    digest: str
    sketch: tuple[str, ...]

    @classmethod
    def of(cls, digests: Iterable[str]) -> TestSet:
        """Of the SHA-256 of its files."""
        known = sorted(set(digests))
        return cls(content_key({"test": known}), tuple(digest[:_DIGITS] for digest in known[:_SKETCH_SIZE]))

    def is_mostly(self, digest: str, sketch: Sequence[str]) -> bool:
        """Whether another set is this one, or has most images in common with it."""
        if digest == self.digest:
            return True
        smallest = set(sorted({*self.sketch, *sketch})[:_SKETCH_SIZE])
        return len(smallest & set(self.sketch) & set(sketch)) >= _SAME_FROM * len(smallest)


def open_test(store: Store, test: TestSet, looks: Iterable[str], *, recipe: str) -> int:
    """Write down that a test set is looked at, and return how often it was so far, this time included.

    Looking again at what was looked at before is not counted: the same figures teach nothing new.

    Args:
        store: keeps the ledger.
        test: a set that shares half of its images with it counts as the same.
        looks: what is measured, and how: keys of models and of settings.
        recipe: its name, for readers of the ledger.

    Raises:
        InputError: the ledger is damaged.
    """
    with FileLock(store.root / f".{LEDGER}.lock"):
        earlier = [entry for entry in _entries(store) if test.is_mostly(entry["test"], entry["sketch"])]
        known = {key for entry in earlier for key in entry["looks"]}
        new = sorted(set(looks) - known)
        if new:
            entry = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "test": test.digest,
                "sketch": test.sketch,
                "recipe": recipe,
                "looks": new,
            }
            append_line(store.root / LEDGER, json.dumps(entry, ensure_ascii=False))
    return len(earlier) + bool(new)


def _entries(store: Store) -> list[dict[str, Any]]:
    file = store.root / LEDGER
    if not file.exists():
        return []
    entries = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            entries.append({name: entry[name] for name in ("test", "sketch", "looks")})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{file}, line {number}: damaged; move the file away, and the count starts anew."
            ) from error
    return entries
