"""Loaded by every Python process of a test run: no network but loopback, no writing outside temporary folders."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import tempfile
from pathlib import Path

_TEMPORARY = os.path.realpath(tempfile.gettempdir())
_CHECKOUT = str(Path(__file__).resolve().parents[2])  # may lie in a temporary folder itself
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# By audit event: where a changed path stands among the arguments, and the descriptor that it may be relative to.
_PATHS_WRITTEN = {
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
}


def _check(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        _check_address(*arguments)
    elif event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING:
            _check_path(path)
    elif event in _PATHS_WRITTEN:
        for path, folder in _PATHS_WRITTEN[event]:
            if arguments[folder] == -1:
                _check_path(arguments[path])


def _check_address(opened: socket.socket, address: object) -> None:
    if opened.family == getattr(socket, "AF_UNIX", None):
        return
    host = str(address[0]) if isinstance(address, tuple) else str(address)
    try:
        is_local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        is_local = host == "localhost"
    if not is_local:
        raise PermissionError(f"tests must not use the network: {address}")


def _check_path(path: object) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return  # an open file's descriptor
    absolute = os.path.realpath(os.fsdecode(path))
    is_temporary = f"{absolute}{os.sep}".startswith((_TEMPORARY + os.sep, "/dev/", "/proc/self/"))
    if not is_temporary or absolute.startswith(_CHECKOUT + os.sep):
        raise PermissionError(f"tests must not write outside temporary folders: {absolute}")


sys.dont_write_bytecode = True
sys.addaudithook(_check)
