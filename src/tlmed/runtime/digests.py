"""SHA-256 of files, remembered by path, size and modification time, so that a second run reads no image."""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from tlmed.runtime.progress import track
from tlmed.runtime.store import Store

_FILES_AT_ONCE = 256
_NUM_THREADS = 4  # reading is what takes the time, and hashing lets go of the interpreter lock
_SCHEMA = """CREATE TABLE IF NOT EXISTS digests
    (path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, digest TEXT NOT NULL)"""


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class FileDigests:
    """Digests of files, remembered in the store."""

    def __init__(self, store: Store) -> None:
        self._database = store.root / "digests.sqlite"

    def of(self, files: Sequence[Path]) -> list[str]:
        """Return the digest of each file, in order; only new or changed files are read.

        Raises:
            OSError: a file cannot be read.
        """
        self._database.parent.mkdir(parents=True, exist_ok=True)
        stamps = {}
        for file in dict.fromkeys(files):
            status = file.stat()
            stamps[file] = (status.st_size, status.st_mtime_ns)
        with _opened(self._database) as database:
            known = self._remembered(database, stamps)
            missing = [file for file in stamps if file not in known]
            for fresh in _digest_files(missing):
                rows = [(str(file), *stamps[file], digest) for file, digest in fresh.items()]
                with database:
                    database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", rows)
                known.update(fresh)
        return [known[file] for file in files]

    @staticmethod
    def _remembered(database: sqlite3.Connection, stamps: dict[Path, tuple[int, int]]) -> dict[Path, str]:
        query = "SELECT digest FROM digests WHERE path = ? AND size = ? AND modified_ns = ?"
        found = {file: database.execute(query, (str(file), *stamp)).fetchone() for file, stamp in stamps.items()}
        return {file: row[0] for file, row in found.items() if row is not None}


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(file, timeout=60)) as database:
            database.execute(_SCHEMA)
            yield database
    except sqlite3.Error as error:
        raise OSError(
            errno.EIO, f"the memory of file digests cannot be used ({error}); remove it", str(file)
        ) from error


def _digest_files(files: Sequence[Path]) -> Iterator[dict[Path, str]]:
    """Yield the digests of some files after the others, so that a stop loses little."""
    with track("reading files", total=len(files), unit="files") as progress, ThreadPoolExecutor(_NUM_THREADS) as pool:
        for start in range(0, len(files), _FILES_AT_ONCE):
            some = files[start : start + _FILES_AT_ONCE]
            yield dict(zip(some, pool.map(file_digest, some), strict=True))
            progress.advance(len(some))
