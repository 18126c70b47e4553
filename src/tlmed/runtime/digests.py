"""SHA-256 of files, remembered by path, size, times and inode, so that a second run reads no image."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from tlmed.runtime.progress import track
from tlmed.runtime.store import Store

_FILES_AT_ONCE = 256
_NUM_THREADS = 4  # reading is what takes the time, and hashing lets go of the interpreter lock
# The time of change and the inode as well: a file may be replaced or altered under its old modification time.
_SCHEMA = """CREATE TABLE IF NOT EXISTS file_digests (path TEXT PRIMARY KEY, size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, inode TEXT NOT NULL, digest TEXT NOT NULL)"""
_ERROR_NUMBERS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
}

_Stamp = tuple[int, int, int, str]


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def short_digest(digest: str) -> str:
    """The first 16 hexadecimal digits: enough to tell files apart."""
    return digest[:16]


class FileDigests:
    """Digests of files, remembered in the store."""

    def __init__(self, store: Store) -> None:
        self._database = store.root / "digests.sqlite"

    def of(self, files: Sequence[Path], *, read_again: bool = False) -> list[str]:
        """Return the digest of each file, in order; only new or changed files are read.

        Args:
            files: to be digested.
            read_again: read all of them and remember what comes out, for a disk may change what it holds unnoticed.

        Raises:
            OSError: a file cannot be read, or the digests cannot be kept (disk full, read-only).
        """
        if not files:
            return []
        self._database.parent.mkdir(parents=True, exist_ok=True)
        stamps = {file: _stamp(file) for file in dict.fromkeys(files)}
        with _opened(self._database) as database:
            known = {} if read_again else self._remembered(database, stamps)
            missing = [file for file in stamps if file not in known]
            for fresh in _digest_files(missing):
                rows = [(str(file), *stamps[file], digest) for file, digest in fresh.items()]
                with database:
                    database.executemany("INSERT OR REPLACE INTO file_digests VALUES (?, ?, ?, ?, ?, ?)", rows)
                known.update(fresh)
        return [known[file] for file in files]

    @staticmethod
    def _remembered(database: sqlite3.Connection, stamps: dict[Path, _Stamp]) -> dict[Path, str]:
        query = """SELECT digest FROM file_digests
            WHERE path = ? AND size = ? AND modified_ns = ? AND changed_ns = ? AND inode = ?"""
        found = {file: database.execute(query, (str(file), *stamp)).fetchone() for file, stamp in stamps.items()}
        return {file: row[0] for file, row in found.items() if row is not None}


def _stamp(file: Path) -> _Stamp:
    status = file.stat()
    # As text: on Windows an inode may need more bits than SQLite's integers have.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, str(status.st_ino)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(file, timeout=60)) as database:
            database.execute(_SCHEMA)
            yield database
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN:
            file.open("ab").close()  # fails as well, and says why: a read-only folder, no rights, no room
        number = _ERROR_NUMBERS.get(code)
        if number is not None:
            raise OSError(number, os.strerror(number), str(file)) from error
        raise OSError(
            errno.EIO, f"the memory of file digests cannot be used ({error}); remove it", str(file)
        ) from error


def _digest_files(files: Sequence[Path]) -> Iterator[dict[Path, str]]:
    """Yield the digests of some files after the others, so that a stop loses little."""
    if not files:
        return  # no bar for no work
    with track("reading files", total=len(files), unit="files") as progress, ThreadPoolExecutor(_NUM_THREADS) as pool:
        for start in range(0, len(files), _FILES_AT_ONCE):
            some = files[start : start + _FILES_AT_ONCE]
            yield dict(zip(some, pool.map(file_digest, some), strict=True))
            progress.advance(len(some))


def source_digest(*parts: str) -> str:
    """The SHA-256 of this package's own code, templates and tables in some folders and files.

    For the keys of results that must not outlive a change of it.
    """
    package = Path(__file__).parents[1]
    sources = [file for part in parts for file in sorted([*(package / part).rglob("*"), package / part])]
    hashed = hashlib.sha256()
    for source in sources:
        if source.is_file() and source.suffix != ".pyc":
            hashed.update(source.read_bytes())
    return hashed.hexdigest()
