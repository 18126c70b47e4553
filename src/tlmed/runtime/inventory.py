"""What a store holds, how large it is, and what no run refers to any more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlmed.runtime.store import Store, write_json_durably

REFERENCES_FILE = "references.json"
KINDS = ("stages", "images", "predictions", "phantoms")


@dataclass(frozen=True)
class StoredEntry:
    """One result in the store.

    Attributes:
        key: None for what a killed process left behind.
        runs: folders of the runs that refer to it.
    """

    kind: str
    key: str | None
    path: Path
    num_bytes: int
    runs: tuple[str, ...]


def record_references(run_folder: Path, references: Mapping[str, Sequence[str]]) -> None:
    """Write down which keys of each kind a run needs, so that `tlmed clean` keeps them."""
    write_json_durably(run_folder / REFERENCES_FILE, {kind: sorted(keys) for kind, keys in references.items()})


def take_stock(store: Store, extra_runs: Sequence[Path] = ()) -> list[StoredEntry]:
    """List everything in a store, with the runs beside it (and `extra_runs`) that refer to it."""
    users: dict[tuple[str, str], list[str]] = {}
    for file in [*sorted(store.root.glob(f"*/{REFERENCES_FILE}")), *(run / REFERENCES_FILE for run in extra_runs)]:
        for kind, keys in json.loads(file.read_text(encoding="utf-8")).items():
            for key in keys:
                users.setdefault((kind, key), []).append(file.parent.name)
    entries = [
        StoredEntry(
            kind, key, store.folder(kind, key), _size(store.folder(kind, key)), tuple(users.get((kind, key), ()))
        )
        for kind in KINDS
        for key in store.entries(kind)
    ]
    leftovers = [StoredEntry(path.parent.name, None, path, _size(path), ()) for path in store.leftovers()]
    return entries + leftovers


def remove(store: Store, entry: StoredEntry) -> None:
    """Remove an entry; waits while another process is writing it."""
    key = entry.key or entry.path.name.removeprefix(".writing-").removesuffix(".work")
    with store.lock(entry.kind, key):
        # Renamed first: a folder under its own name is always complete.
        doomed = entry.path.with_name(f".writing-removed-{entry.path.name}")
        entry.path.rename(doomed)
        shutil.rmtree(doomed)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
