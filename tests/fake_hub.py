"""A hub on this machine that answers what the hub's client asks, and that can fail in the ways a real one does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

FIRST, SECOND = "a" * 40, "b" * 40


@dataclass
class FakeRepository:
    """Files by commit, and what the model card says."""

    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    card: dict[str, Any] = field(default_factory=dict)
    gated: str | bool = False
    opens: bool = True  # for gated ones: whether we were given access

    def commit_of(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.branches.get(revision)


@dataclass
class FakeHub:
    """What the server answers from, and what it was asked."""

    url: str = ""
    repositories: dict[str, FakeRepository] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    status: int | None = None  # every answer
    num_breaks: int = 0  # so many downloads of weights end in the middle
    status_after_break: int | None = None
    damages: bool = False  # a byte of the weights arrives wrong

    def add(self, name: str, files: dict[str, bytes], **details: Any) -> FakeRepository:
        self.repositories[name] = FakeRepository({FIRST: files}, {"main": FIRST}, **details)
        return self.repositories[name]


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append((self.command, path))
        self.hub.tokens.add(self.headers.get("Authorization"))
        if self.hub.status is not None:
            self._send(self.hub.status)
        elif path.startswith("api/models/"):
            name, _, revision = path.removeprefix("api/models/").partition("/revision/")
            self._describe(name, revision or "main")
        else:
            name, _, rest = path.partition("/resolve/")
            revision, _, file = rest.partition("/")
            self._file(name, revision, file)

    def _known(self, name: str, revision: str) -> tuple[FakeRepository, str] | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._send(401, {"X-Error-Code": "RepoNotFound"})  # as the real one, which tells no stranger what is there
            return None
        commit = repository.commit_of(revision)
        if commit is None:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository, commit

    def _describe(self, name: str, revision: str) -> None:
        known = self._known(name, revision)
        if known is None:
            return
        repository, commit = known
        siblings = [
            {"rfilename": file, "size": len(content), "lfs": _large(content) if _is_large(file) else None}
            for file, content in repository.commits[commit].items()
        ]
        info = {"id": name, "sha": commit, "siblings": siblings, "cardData": repository.card, "gated": repository.gated}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(info).encode())

    def _file(self, name: str, revision: str, file: str) -> None:
        known = self._known(name, revision)
        if known is None:
            return
        repository, commit = known
        if repository.gated and not repository.opens:
            return self._send(403, {"X-Error-Code": "GatedRepo"})
        content = repository.commits[commit].get(file)
        if content is None:
            return self._send(404, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
        if self.hub.damages and _is_large(file):
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send_file(206 if start else 200, headers, content[start:], breaks=_is_large(file))

    def _send_file(self, status: int, headers: dict[str, str], content: bytes, breaks: bool) -> None:
        if self.command == "GET" and breaks and self.hub.num_breaks:
            self.hub.num_breaks -= 1
            self.hub.status = self.hub.status_after_break
            self._send(status, {**headers, "Content-Length": str(len(content))}, content[: len(content) // 2])
        else:
            self._send(status, headers, content)

    def _send(self, status: int, headers: dict[str, str] | None = None, content: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _is_large(file: str) -> bool:
    return file.endswith((".safetensors", ".bin"))


def _large(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
