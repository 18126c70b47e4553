"""How often each test set was opened, and what was asked before: append-only lists in the store, over all recipes.

Whoever looks at the same test cases again and again, and keeps what looked best, fits them; the count says how often
that may have happened. And whoever chooses the question by the answer always finds one: so it is written down first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from filelock import FileLock

from tlmed.errors import InputError
from tlmed.runtime.store import Store, append_line, content_key

LEDGER, QUESTIONS = "test-ledger.jsonl", "question-ledger.jsonl"
_SKETCH_SIZE, _DIGITS = 64, 16
_OF_TEST = {"test", "sketch", "num_images", "recipe"}
_KEYS = {
    LEDGER: _OF_TEST | {"looks"},
    QUESTIONS: _OF_TEST | {"time", "digest", "question", "num_openings", "openings_before"},
}
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


@dataclass(frozen=True)
class Registration:
    """When a question was written down.

    Attributes:
        digest: of the question.
        time: of its first registration.
        changed_after_looking: what there is to say where the recipe had opened the test before; None where it had not.
        openings_before: how often the test set had been opened by then, by any recipe of this store.
        others_on_this_test: other recipes that asked something of the same test set.
        own_earlier: other questions that this recipe asked of it, whether it was opened for them or not.
    """

    digest: str
    time: str
    changed_after_looking: str | None
    openings_before: int
    others_on_this_test: int
    own_earlier: int


def register_question(store: Store, test: TestSet, question: Mapping[str, Any], *, recipe: str) -> Registration:
    """Write down what a recipe asks of a test set, before it is opened; once written, it stays.

    Args:
        store: keeps the ledger.
        test: as in `open_test`.
        question: JSON-able; its key `text` is for readers.
        recipe: its name; under another name the same question is another recipe's.

    Raises:
        InputError: a ledger is damaged.
    """
    digest = content_key(dict(question))
    with FileLock(store.root / f".{LEDGER}.lock"):
        of_test = [entry for entry in _lines(store, QUESTIONS) if test.is_mostly(_test_set(entry))]
        own = [entry for entry in of_test if entry["recipe"] == recipe]
        entry = next((entry for entry in own if entry["digest"] == digest), None)
        if entry is None:
            openings = [line for line in _lines(store, LEDGER) if test.is_mostly(_test_set(line))]
            entry = _append(
                store,
                QUESTIONS,
                test,
                recipe,
                digest=digest,
                question=dict(question),
                num_openings=sum(line["recipe"] == recipe for line in openings),
                openings_before=len(openings),
            )
    changed = None
    if entry["num_openings"]:
        times = "1 time" if entry["num_openings"] == 1 else f"{entry['num_openings']} times"
        earlier = [one["question"]["text"] for one in own if one["digest"] != digest and not one["num_openings"]]
        before = f"; before, it was: {' | '.join(earlier)}" if earlier else ""
        changed = f"fixed on {entry['time']}, after this recipe had opened the test {times}{before}"
    others = {one["recipe"] for one in of_test} - {recipe}
    own_others = {one["digest"] for one in own} - {digest}
    return Registration(digest, entry["time"], changed, entry["openings_before"], len(others), len(own_others))


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
        earlier = [entry["looks"] for entry in _lines(store, LEDGER) if test.is_mostly(_test_set(entry))]
        known = {key for looks in earlier for key in looks}
        new = sorted(set(looks) - known)
        if new:
            _append(store, LEDGER, test, recipe, looks=new)
    return len(earlier) + bool(new)


def _append(store: Store, name: str, test: TestSet, recipe: str, **further: Any) -> dict[str, Any]:
    """Add an entry to a ledger; returns it."""
    entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "recipe": recipe, **further}
    entry |= {"test": test.digest, "sketch": test.sketch, "num_images": test.num_images}
    append_line(store.root / name, json.dumps(entry, ensure_ascii=False))
    return entry


def _lines(store: Store, name: str) -> list[dict[str, Any]]:
    """The entries of a ledger, whose keys are there."""
    file = store.root / name
    needed = _KEYS[name]
    entries = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.exists() else (), start=1):
        try:
            entry = json.loads(line)
            if not needed <= entry.keys():
                raise KeyError(*needed - entry.keys())
            _test_set(entry)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{file}, line {number}: damaged; move the file away, and the count starts anew."
            ) from error
        entries.append(entry)
    return entries


def _test_set(entry: Mapping[str, Any]) -> TestSet:
    return TestSet(entry["test"], tuple(entry["sketch"]), int(entry["num_images"]))
