from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from tlmed.runtime import digests
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store


def test_digests_are_sha256_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "a b%0.png", tmp_path / "b.png", tmp_path / "c.png"]
    for position, file in enumerate(files):
        file.write_bytes(b"same" if position < 2 else b"other")
    expected = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    remembered = FileDigests(Store(tmp_path / "store"))
    assert remembered.of(files) == expected

    def never(_: Path) -> str:
        raise AssertionError("read again")

    monkeypatch.setattr(digests, "file_digest", never)
    assert FileDigests(Store(tmp_path / "store")).of(files) == expected
    files[2].write_bytes(b"changed")
    with pytest.raises(AssertionError, match="read again"):
        remembered.of(files)


def test_a_change_under_the_old_modification_time_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    file.write_bytes(b"before")
    remembered = FileDigests(Store(tmp_path / "store"))
    before, status = remembered.of([file]), file.stat()
    file.write_bytes(b"after!")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert remembered.of([file]) == [hashlib.sha256(b"after!").hexdigest()] != before


def test_a_full_disk_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("tlmed.runtime.digests.sqlite3.connect", full)
    with pytest.raises(OSError, match="No space left") as caught:
        FileDigests(Store(tmp_path)).of([Path(__file__)])
    assert caught.value.errno == errno.ENOSPC


def test_a_database_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "digests.sqlite").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        FileDigests(Store(tmp_path)).of([Path(__file__)])
    assert caught.value.filename == str(tmp_path.resolve() / "digests.sqlite")
