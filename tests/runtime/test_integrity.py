from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tlmed.runtime import digests
from tlmed.runtime.integrity import (
    DamagedResult,
    check_intact,
    find_damage,
    is_intact,
    publish_sealed,
    sealed_text,
)
from tlmed.runtime.store import Store

KEY, OTHER = "0123" * 8, "4567" * 8


def publish(store: Store, key: str = KEY, content: bytes = b"weights") -> bool:
    """Publish two files; False where the result was there."""
    with publish_sealed(store, "stages", key) as folder:
        if folder is None:
            return False
        (folder / "model").write_bytes(content)
        (folder / "card").write_text("words", encoding="utf-8")
    return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    assert publish(made)
    return made


def flip_bit(file: Path, position: int = 0, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def test_the_seal_holds_the_digest_of_every_file(store: Store) -> None:
    content = (store.folder("stages", KEY) / "digests.json").read_text(encoding="utf-8")
    expected = {"card": hashlib.sha256(b"words").hexdigest(), "model": hashlib.sha256(b"weights").hexdigest()}
    assert list(json.loads(content).items()) == list(expected.items())
    assert is_intact(store, "stages", KEY)
    assert not is_intact(store, "stages", OTHER)


@pytest.mark.parametrize("name", ["model", "card", "digests.json"])
def test_every_flipped_bit_is_found(store: Store, name: str) -> None:
    file = store.folder("stages", KEY) / name
    whole = file.read_bytes()
    for position in range(len(whole)):
        flip_bit(file, position, position % 8)
        assert not is_intact(store, "stages", KEY), position
        file.write_bytes(whole)
    assert is_intact(store, "stages", KEY)


def _remove(folder: Path) -> None:
    (folder / "card").unlink()


def _add(folder: Path) -> None:
    (folder / "more").touch()


def _cut(folder: Path) -> None:
    (folder / "model").write_bytes(b"weigh")


def _unseal(folder: Path) -> None:
    (folder / "digests.json").unlink()


@pytest.mark.parametrize("change", [_remove, _add, _cut, _unseal])
def test_other_files_than_those_written_are_damage(store: Store, change: Callable[[Path], None]) -> None:
    change(store.folder("stages", KEY))
    assert list(find_damage(store, "stages", [KEY, OTHER])) == [KEY]


def test_damage_is_named_removed_and_made_anew(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert not publish(store)
    flip_bit(store.folder("stages", KEY) / "model")
    assert publish(store, content=b"again")
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"stages/{KEY} is damaged: model changed" in warning
    assert (store.folder("stages", KEY) / "model").read_bytes() == b"again"
    assert is_intact(store, "stages", KEY)
    assert store.leftovers("stages") == []


def test_an_intact_store_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, OTHER)
    assert find_damage(store, "stages", [KEY, OTHER]) == {}

    def never(_: Path) -> str:
        raise AssertionError("read again")

    monkeypatch.setattr(digests, "file_digest", never)
    assert find_damage(store, "stages", [KEY, OTHER]) == {}
    with pytest.raises(AssertionError, match="read again"):
        check_intact(store, "stages", KEY)


def test_what_a_disk_changes_unnoticed_is_found_on_use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_stamp", lambda _: (0, 0, 0, ""))
    assert is_intact(store, "stages", KEY)
    flip_bit(store.folder("stages", KEY) / "model")
    assert is_intact(store, "stages", KEY)
    with pytest.raises(DamagedResult, match="model changed after it was written; the same command makes it anew"):
        check_intact(store, "stages", KEY)
    assert not is_intact(store, "stages", KEY)  # it is known from now on


def test_small_texts_are_checked_as_they_are_read(store: Store) -> None:
    folder = store.folder("stages", KEY)
    assert sealed_text(folder, "card") == "words"
    assert sealed_text(folder, "absent") is None
    flip_bit(folder / "card", bit=7)
    assert sealed_text(folder, "card") is None
