"""Whether what the store holds is what was written: each sealed folder carries the digests of its files.

A disk, a copy or a hand may change a file after it was written whole. A result with a changed, missing or additional
file does not count as there: it is named in the log, removed under its lock, and made anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from tlmed.runtime.digests import FileDigests, file_digest
from tlmed.runtime.store import Store, write_json_durably

log = logging.getLogger(__name__)

SEAL_FILE = "digests.json"


class DamagedResult(OSError):
    """A stored result changed on disk after it was written; the next call finds it missing and makes it anew."""


@contextlib.contextmanager
def publish_sealed(store: Store, kind: str, key: str) -> Iterator[Path | None]:
    """Yield a temporary folder that becomes a sealed result, or None where an intact one is there.

    Holds the result's lock; a damaged result under this key is removed first, with a warning.

    Raises:
        OSError: disk full or not writable; the temporary folder is then gone.
    """
    with store.publish(kind, key) as folder:
        if store.is_complete(kind, key):
            damage = find_damage(store, kind, [key]).get(key)
            if damage is None:
                yield None  # another process finished it while this one waited
                return
            log.warning("%s; it is removed and made anew", damage)
            store.discard(kind, key)
        yield folder
        seal(folder)


def seal(folder: Path) -> None:
    """Write down the digest of every file in a folder: name to SHA-256, sorted."""
    write_json_durably(folder / SEAL_FILE, {name: file_digest(folder / name) for name in _names(folder)})


def find_damage(store: Store, kind: str, keys: Sequence[str], *, read_again: bool = False) -> dict[str, str]:
    """Return what is wrong, in words, with each of these results that is there but not intact.

    Args:
        store: that holds them.
        kind: of the results.
        keys: absent ones are passed over.
        read_again: read the files even where size, times and inode say that nothing changed since the last time.
    """
    folders = {key: store.folder(kind, key) for key in keys if store.is_complete(kind, key)}
    files = [folder / name for folder in folders.values() for name in _names(folder)]
    digest_of = dict(zip(files, FileDigests(store).of(files, read_again=read_again), strict=True))
    found = {key: _damage(folder, digest_of) for key, folder in folders.items()}
    return {key: damage for key, damage in found.items() if damage is not None}


def is_intact(store: Store, kind: str, key: str) -> bool:
    """Whether a result is there and its files are those that were written, as far as size, times and inode tell."""
    return store.is_complete(kind, key) and not find_damage(store, kind, [key])


def check_intact(store: Store, kind: str, key: str) -> None:
    """Read a result's files again before its content is used.

    Raises:
        DamagedResult: a file is not what was written.
    """
    damage = find_damage(store, kind, [key], read_again=True).get(key)
    if damage is not None:
        raise DamagedResult(errno.EIO, f"{damage}; the same command makes it anew", str(store.folder(kind, key)))


def sealed_text(folder: Path, name: str) -> str | None:
    """Return the text of a small file of a result, or None where it is not what was written."""
    expected = _read_seal(folder)
    if expected is None or name not in expected or not (folder / name).is_file():
        return None
    content = (folder / name).read_bytes()
    return content.decode("utf-8") if hashlib.sha256(content).hexdigest() == expected[name] else None


def _names(folder: Path) -> list[str]:
    """The sealed files of a folder, the seal itself left out."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != SEAL_FILE)


def _damage(folder: Path, digest_of: dict[Path, str]) -> str | None:
    what = f"{folder.parent.name}/{folder.name} is damaged"
    expected = _read_seal(folder)
    if expected is None:
        return f"{what}: its {SEAL_FILE} is missing or cannot be read"
    names = _names(folder)
    if sorted(expected) != names:
        return f"{what}: its files are not those named in {SEAL_FILE}"
    changed = [name for name in names if digest_of[folder / name] != expected[name]]
    return f"{what}: {', '.join(changed)} changed after it was written" if changed else None


def _read_seal(folder: Path) -> dict[str, str] | None:
    """Return the digests noted in a folder, or None where there are none or they are damaged themselves."""
    if not (folder / SEAL_FILE).is_file():
        return None
    try:
        content = json.loads((folder / SEAL_FILE).read_text(encoding="utf-8"))
    except ValueError:  # a changed byte: not JSON, or not even text
        return None
    return content if isinstance(content, dict) else None
