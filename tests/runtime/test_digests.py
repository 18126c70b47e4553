from __future__ import annotations

import hashlib
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
