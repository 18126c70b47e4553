from __future__ import annotations

import errno
import io
import threading
from pathlib import Path

import pytest

from tlmed.runtime.store import Store, append_line, content_key, remove_unfinished_files, write_durably

KEY = "0123" * 8


def test_equal_values_have_equal_keys_whatever_the_order() -> None:
    assert content_key({"a": 1, "b": [1.5, "x"]}) == content_key({"b": [1.5, "x"], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_publish_is_complete_or_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="half way"), store.publish("stages", KEY) as folder:
        (folder / "part").write_text("x")
        raise RuntimeError("half way")
    assert not store.is_complete("stages", KEY)
    assert store.leftovers("stages") == []
    with store.publish("stages", KEY) as folder:
        (folder / "file").write_text("whole")
    assert (store.folder("stages", KEY) / "file").read_text() == "whole"
    assert store.entries("stages") == [KEY]


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left = tmp_path / "stages" / f".writing-{KEY}"
    left.mkdir(parents=True)
    (left / "old").write_text("x")
    assert store.leftovers("stages") == [left]
    with store.publish("stages", KEY) as folder:
        (folder / "new").write_text("y")
    assert [file.name for file in store.folder("stages", KEY).iterdir()] == ["new"]


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    order = []
    started = threading.Event()

    def second() -> None:
        started.wait()
        with Store(tmp_path).publish("stages", KEY):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with Store(tmp_path).publish("stages", KEY):
        started.set()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_full_disk_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state"
    write_durably(file, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tlmed.runtime.store.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_durably(file, "new")
    assert caught.value.filename == str(file)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_could_not_be_published_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for named, expected in ((None, str(store.folder("stages", KEY))), ("image.png", "image.png")):
        with pytest.raises(OSError, match="No space left") as caught, store.publish("stages", KEY):
            raise OSError(errno.ENOSPC, "No space left on device", named)
        assert caught.value.filename == expected


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log"
    append_line(file, "first")
    half = io.FileIO.write

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            return half(self, bytes(data)[:3])  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode, buffering: Full(path, mode))
        with pytest.raises(OSError, match="No space left"):
            append_line(file, "second")
    append_line(file, "third")
    assert file.read_text() == "first\nthird\n"


def test_files_that_a_killed_process_left_are_removed(tmp_path: Path) -> None:
    for name in (".writing-12-state", "state"):
        (tmp_path / name).touch()
    (tmp_path / ".writing-folder").mkdir()
    remove_unfinished_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-folder", "state"]


def test_a_discarded_result_is_gone_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.publish("stages", KEY) as folder:
        (folder / "file").touch()
    with store.lock("stages", KEY):
        store.discard("stages", KEY)
    assert not store.is_complete("stages", KEY)
    assert store.leftovers("stages") == []
