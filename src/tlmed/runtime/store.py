"""The content-addressed store: a folder under a key is complete or absent, whatever happens.

Everything costly (trained stages, decoded images, phantoms, class probabilities) is a folder `<root>/<kind>/<key>/`
whose key is a digest of all that determines its content. It is written under a temporary name, flushed, and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_TEMPORARY_PREFIX = ".writing-"
_LOCK_SUFFIX = ".lock"
_KEY_LENGTH = 32
_KEY = re.compile(f"[0-9a-f]{{{_KEY_LENGTH}}}")
# Weights of a hub lie under their name there, "--" for "/", and not under a content key.
_HUB_KEY = r"[A-Za-z0-9][A-Za-z0-9._-]*--[A-Za-z0-9._-]+(?:@[0-9a-f]{40})?"
_TEMPORARY = re.escape(_TEMPORARY_PREFIX)
_LEFTOVER = re.compile(rf"{_TEMPORARY}(?:removed-)?({_KEY.pattern})|({_KEY.pattern})\.work|{_TEMPORARY}({_HUB_KEY})")


def content_key(value: Any) -> str:
    """Return a 128-bit hexadecimal key of a JSON-able value; equal values give equal keys on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_KEY_LENGTH]


def is_content_key(name: str) -> bool:
    """Whether a name has the form of a key; other folders in a store are somebody else's."""
    return _KEY.fullmatch(name) is not None


def key_of_leftover(name: str) -> str | None:
    """The key of the result that a temporary or unfinished folder was to become; None for any other name."""
    found = _LEFTOVER.fullmatch(name)
    return next(key for key in found.groups() if key is not None) if found is not None else None


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable; a no-op where the system has no such call (Windows)."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_file(path: Path) -> None:
    """Make a file's content durable."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def write_durably(path: Path, content: bytes | str) -> None:
    """Replace a file so that after a crash either the old or the new content is there, never a part.

    Raises:
        OSError: disk full or not writable; the temporary file is then gone and the old content still there.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replaced_durably(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replaced_durably(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` durably when the block ends without an exception.

    Raises:
        OSError: disk full or not writable; the temporary file is then gone and the old content still there.
    """
    temporary = path.with_name(f"{_TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        with _naming(path):
            yield temporary
            flush_file(temporary)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say which file or folder could not be written: an error of `write` itself names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def append_line(path: Path, line: str) -> None:
    """Append a line of text to a file, whole or not at all.

    Raises:
        OSError: disk full or not writable; the file is then as it was.
    """
    with path.open("ab", buffering=0) as stream:
        size = stream.tell()
        data = f"{line}\n".encode()
        try:
            if stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            stream.truncate(size)
            raise


def remove_unfinished_files(folder: Path) -> None:
    """Remove the temporary files that killed processes left; to be called by the only process that writes there."""
    for file in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        if file.is_file():
            file.unlink()


def write_json_durably(path: Path, value: Any) -> None:
    """Write JSON for people and machines: indented, keys in the order given, no NaN."""
    write_durably(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class Store:
    """The folder that holds content-addressed results.

    Args:
        root: created when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def folder(self, kind: str, key: str) -> Path:
        """Where a result is, or would be."""
        return self.root / kind / key

    def work_folder(self, kind: str, key: str) -> Path:
        """Where unfinished work on a result keeps what it needs to resume."""
        return self.root / kind / f"{key}.work"

    def is_complete(self, kind: str, key: str) -> bool:
        """Whether the result is there; a folder under its final name is complete by construction."""
        return self.folder(kind, key).is_dir()

    def discard(self, kind: str, key: str) -> None:
        """Remove a result; the caller holds its lock. Renamed first: a folder under its own name is always whole."""
        folder = self.folder(kind, key)
        doomed = folder.with_name(f"{_TEMPORARY_PREFIX}removed-{key}")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed)

    @contextlib.contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold the right to write one result; waits, and says so, while another process has it."""
        parent = self.root / kind
        parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(parent / f"{key}{_LOCK_SUFFIX}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("waiting: another process is making %s/%s in %s", kind, key, self.root)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def try_lock(self, kind: str, key: str) -> Iterator[bool]:
        """Hold the right to write one result, or yield False at once where another process has it."""
        lock = FileLock(self.root / kind / f"{key}{_LOCK_SUFFIX}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @contextlib.contextmanager
    def publish(self, kind: str, key: str) -> Iterator[Path]:
        """Yield a temporary folder that becomes the result when the block ends without an exception.

        Waits for another process that is writing the same result; when that one has finished meanwhile, what is
        written here is discarded: equal keys mean equal content.

        Raises:
            OSError: disk full or not writable; the temporary folder is then gone.
        """
        with self.lock(kind, key):
            final = self.folder(kind, key)
            temporary = final.with_name(f"{_TEMPORARY_PREFIX}{key}")
            shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process: we hold its lock
            temporary.mkdir(parents=True)
            try:
                with _naming(final):
                    yield temporary
                    if not final.exists():
                        self._finish(temporary, final)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    @staticmethod
    def _finish(temporary: Path, final: Path) -> None:
        for path in temporary.rglob("*"):
            if path.is_file():
                flush_file(path)
        flush_folder(temporary)
        temporary.rename(final)
        flush_folder(final.parent)

    def entries(self, kind: str) -> list[str]:
        """Keys of the complete results of one kind, sorted."""
        parent = self.root / kind
        if not parent.is_dir():
            return []
        return sorted(
            path.name
            for path in parent.iterdir()
            if path.is_dir() and not path.name.startswith(_TEMPORARY_PREFIX) and not path.name.endswith(".work")
        )

    def leftovers(self, kind: str) -> list[Path]:
        """Temporary and unfinished folders of one kind that killed processes left behind."""
        parent = self.root / kind
        if not parent.is_dir():
            return []
        return sorted(path for path in parent.iterdir() if path.is_dir() and key_of_leftover(path.name) is not None)
