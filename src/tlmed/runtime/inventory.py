"""What a store holds, how large it is, and what no run refers to any more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlmed.runtime.store import Store, is_content_key, key_of_leftover, write_json_durably

REFERENCES_FILE = "references.json"
KINDS = ("stages", "images", "predictions", "phantoms", "audits", "measurements")
RESERVED_NAMES = (*KINDS, "weights")


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


def record_references(run_folder: Path, references: Mapping[str, Sequence[str]], *, finished: bool) -> None:
    """Write down which keys of each kind a run needs, so that `tlmed clean` keeps them.

    Args:
        run_folder: of the run.
        references: keys by kind.
        finished: False for what a run is going to need: what was noted before then stays.
    """
    file = run_folder / REFERENCES_FILE
    if not finished and file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        references = {kind: sorted({*keys, *before.get(kind, ())}) for kind, keys in references.items()}
    write_json_durably(file, {kind: sorted(keys) for kind, keys in references.items()})


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
        if is_content_key(key)
    ]
    leftovers = [
        StoredEntry(kind, None, path, _size(path), tuple(users.get((kind, _key_of(path)), ())))
        for kind in RESERVED_NAMES
        for path in store.leftovers(kind)
    ]
    return entries + leftovers


def remove(store: Store, entry: StoredEntry) -> bool:
    """Remove an entry; False where another process is just writing it or has removed it."""
    with store.try_lock(entry.kind, _key_of(entry.path)) as is_ours:
        if not is_ours or not entry.path.exists():
            return False
        if entry.key is not None:
            store.discard(entry.kind, entry.key)
        else:
            shutil.rmtree(entry.path)  # unfinished: nobody takes it for whole
        return True


def _key_of(path: Path) -> str:
    return key_of_leftover(path.name) or path.name


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
