"""How often each test set was opened: an append-only list in the store, over all recipes.

Whoever looks at the same test cases again and again, and keeps what looked best, fits them; the count says how often
that may have happened.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from filelock import FileLock

from tlmed.errors import InputError
from tlmed.runtime.store import Store, append_line, content_key

LEDGER = "test-ledger.jsonl"
_SKETCH_SIZE, _DIGITS = 64, 16
_SAME_FROM = 0.5  # share of the smaller set's images that the other has, from which two test sets count as one


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
    num_images: int

    @classmethod
    def of(cls, digests: Iterable[str]) -> TestSet:
        """Of the SHA-256 of its files."""
        known = sorted(set(digests))
        return cls(content_key({"test": known}), tuple(digest[:_DIGITS] for digest in known[:_SKETCH_SIZE]), len(known))

    def is_mostly(self, other: TestSet) -> bool:
        """Whether another set is this one, or one of the two has half of its images from the other."""
        if other.digest == self.digest:
            return True
        smallest = set(sorted({*self.sketch, *other.sketch})[:_SKETCH_SIZE])
        of_all = len(smallest & set(self.sketch) & set(other.sketch)) / max(1, len(smallest))
        num_shared = of_all * (self.num_images + other.num_images) / (1 + of_all)
        return num_shared >= _SAME_FROM * min(self.num_images, other.num_images)


def open_test(store: Store, test: TestSet, looks: Iterable[str], *, recipe: str) -> int:
    """Write down that a test set is looked at, and return how often it was so far, this time included.

    Looking again at what was looked at before is not counted: the same figures teach nothing new.

    Args:
        store: keeps the ledger.
        test: a set that shares half of its or its own images with it counts as the same.
        looks: what is measured, and how: keys of models and of settings.
        recipe: its name, for readers of the ledger.

    Raises:
        InputError: the ledger is damaged.
    """
    with FileLock(store.root / f".{LEDGER}.lock"):
        earlier = [looked for other, looked in _entries(store) if test.is_mostly(other)]
        known = {key for of_entry in earlier for key in of_entry}
        new = sorted(set(looks) - known)
        if new:
            entry = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "test": test.digest,
                "sketch": test.sketch,
                "num_images": test.num_images,
                "recipe": recipe,
                "looks": new,
            }
            append_line(store.root / LEDGER, json.dumps(entry, ensure_ascii=False))
    return len(earlier) + bool(new)


def _entries(store: Store) -> list[tuple[TestSet, list[str]]]:
    """What was tested on, and with which looks."""
    file = store.root / LEDGER
    entries = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.exists() else (), start=1):
        try:
            entry = json.loads(line)
            test = TestSet(entry["test"], tuple(entry["sketch"]), int(entry["num_images"]))
            entries.append((test, list(entry["looks"])))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{file}, line {number}: damaged; move the file away, and the count starts anew."
            ) from error
    return entries
