"""The guard of conftest.py fires, in this process and in those that tests start."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def test_no_network() -> None:
    with socket.socket() as opened, pytest.raises(PermissionError, match="network"):
        opened.connect(("192.0.2.1", 80))


def test_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_no_writing_beside_the_code() -> None:
    with pytest.raises(PermissionError, match="temporary"):
        (_HERE / "stray.txt").write_text("x", encoding="utf-8")
    assert not (_HERE / "stray.txt").exists()


def test_started_processes_are_guarded_too() -> None:
    code = f"open({str(_HERE / 'stray.txt')!r}, 'w')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "temporary folders" in ended.stderr


def test_temporary_folders_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x", encoding="utf-8")
    assert (tmp_path / "file.txt").read_text(encoding="utf-8") == "x"
