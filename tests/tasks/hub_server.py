"""A model hub on loopback: the requests that ``huggingface_hub`` really makes, and chosen mishaps.

Spoken: ``/api/<type>s/<repo>[/revision/<rev>]``, ``/api/<type>s/<repo>/tree/<rev>`` and
``/<repo>/resolve/<rev>/<file>`` by HEAD and GET. Like the real one, the server sends LFS files by
way of a redirect to a signed address on another origin, where ranges are answered.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

from tests.waiting import LIMIT_S

SIGNATURE = "Signature=do-not-print-me"


@dataclass
class Repo:
    """A repository with one commit."""

    files: dict[str, bytes]
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    refs: tuple[str, ...] = ("main",)
    lfs: Callable[[str], bool] = lambda name: name.endswith((".safetensors", ".bin", ".pt"))
    gated: bool = False
    kind: str = "model"

    def has_revision(self, revision: str) -> bool:
        return revision in (self.commit, *self.refs)


@dataclass
class Mishap:
    """What goes wrong with the body of a file, once ``after`` bytes of it are out."""

    after: int
    hang: bool = False
    """Keep the connection open and say nothing; otherwise close it."""
    then_status: int | None = None
    """Answer of the requests that follow; None means that they go well."""
    over: bool = False


@dataclass
class Asked:
    """One request, as the log keeps it."""

    origin: str
    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int = 0


@dataclass
class Hub:
    """Repositories, mishaps and the log; shared by both origins."""

    repos: dict[str, Repo] = field(default_factory=dict)
    mishaps: dict[str, Mishap] = field(default_factory=dict)
    refuse: Callable[[str], int | None] = lambda path: None
    """Status to answer a path with instead of what it asks for."""
    ignore_ranges: bool = False
    log: list[Asked] = field(default_factory=list)
    url: str = ""
    storage_url: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def bodies(self, name: str | None = None) -> list[Asked]:
        """Return the GET requests for files, or for one file, that were answered with bytes."""
        marks = ("/resolve/", "/storage/")
        return [
            asked
            for asked in self.log
            if asked.method == "GET"
            and asked.status in (200, 206)
            and any(mark in asked.path for mark in marks)
            and (name is None or unquote(urlsplit(asked.path).path).endswith(f"/{name}"))
        ]

    def fetched_names(self) -> set[str]:
        """Return the names of the files whose bytes were sent."""
        paths = [unquote(urlsplit(asked.path).path) for asked in self.bodies()]
        return {re.sub(r"^.*/(resolve|storage)/[^/]+/", "", path) for path in paths}

    def heal(self) -> None:
        self.mishaps.clear()
        self.released.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # headers and body leave together; otherwise each answer waits 40 ms
    disable_nagle_algorithm = True
    hub: Hub
    origin: ClassVar[str]

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _route(self) -> None:
        self.asked = Asked(
            self.origin,
            self.command,
            self.path,
            self.headers.get("Range"),
            self.headers.get("Authorization"),
        )
        path = unquote(urlsplit(self.path).path)
        if path == "/api/agent-harnesses":  # newer libraries look for the tool that started them
            return self._refuse(404)
        self.hub.log.append(self.asked)
        if status := self.hub.refuse(path):
            return self._refuse(status)
        if match := re.fullmatch(r"/api/(\w+)s/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            return self._api(*match.groups())
        if match := re.fullmatch(
            r"/(?:(dataset|space)s/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path
        ):
            return self._resolve(*match.groups())
        if match := re.fullmatch(r"/storage/([^/]+)--([^/]+)/(.+)", path):
            owner, repo, name = match.groups()
            return self._send_file(self.hub.repos[f"{owner}/{repo}"], name, {})
        return self._refuse(404)

    def _find(self, kind: str | None, repo_id: str, revision: str | None) -> Repo | None:
        repo = self.hub.repos.get(repo_id)
        if repo is None or repo.kind != (kind or "model"):
            self._refuse(404, "RepoNotFound")
        elif revision is not None and not repo.has_revision(revision):
            self._refuse(404, "RevisionNotFound")
        else:
            return repo
        return None

    def _api(self, kind: str, repo_id: str, verb: str | None, revision: str | None) -> None:
        repo = self._find(kind, repo_id, revision)
        if repo is None:
            return None
        entries = [self._entry(repo, name) for name in repo.files]
        if verb == "tree":
            return self._send_json(
                [{"type": "file", "path": e.pop("rfilename"), **e} for e in entries]
            )
        siblings = [{**e, "blobId": e["oid"], "lfs": self._old_lfs(e)} for e in entries]
        body = {"id": repo_id, "_id": "1", "sha": repo.commit, "private": False, "tags": []}
        body |= {"downloads": 0, "likes": 0, "siblings": siblings}
        return self._send_json(body)

    @staticmethod
    def _entry(repo: Repo, name: str) -> dict[str, Any]:
        content = repo.files[name]
        entry: dict[str, Any] = {"rfilename": name, "size": len(content), "oid": _git_oid(content)}
        if repo.lfs(name):
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
        return entry

    @staticmethod
    def _old_lfs(entry: dict[str, Any]) -> dict[str, Any] | None:
        lfs = entry.get("lfs")
        return lfs and {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": 134}

    def _resolve(self, kind: str | None, repo_id: str, revision: str, name: str) -> None:
        repo = self._find(kind, repo_id, revision)
        if repo is None:
            return None
        if repo.gated and self.headers.get("Authorization") != "Bearer good-token":
            known = self.headers.get("Authorization") is not None
            return self._refuse(403 if known else 401, "GatedRepo")
        if name not in repo.files:
            return self._refuse(404, "EntryNotFound")
        if not repo.lfs(name):
            etag = _git_oid(repo.files[name])
            return self._send_file(repo, name, {"X-Repo-Commit": repo.commit, "ETag": f'"{etag}"'})
        sha256 = hashlib.sha256(repo.files[name]).hexdigest()
        place = f"/storage/{repo_id.replace('/', '--')}/{quote(name)}?{SIGNATURE}"
        return self._send(
            302,
            {
                "Location": self.hub.storage_url + place,
                "X-Repo-Commit": repo.commit,
                "X-Linked-ETag": f'"{sha256}"',
                "X-Linked-Size": str(len(repo.files[name])),
            },
            b"",
        )

    def _send_file(self, repo: Repo, name: str, headers: dict[str, str]) -> None:
        content = repo.files[name]
        start = 0
        if self.asked.range and not self.hub.ignore_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", self.asked.range)[1])  # type: ignore[index]
            headers |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        headers |= {"Accept-Ranges": "bytes"}
        mishap = self.hub.mishaps.get(name)
        if mishap is None or self.command == "HEAD" or (mishap.over and not mishap.then_status):
            return self._send(206 if start else 200, headers, content[start:])
        if mishap.over:
            return self._refuse(mishap.then_status or 500)
        mishap.over = True
        self._send(
            206 if start else 200, headers, content[start : mishap.after], len(content) - start
        )
        self.wfile.flush()
        if mishap.hang:
            self.hub.released.wait(LIMIT_S)
        self.close_connection = True
        return None

    def _refuse(self, status: int, code: str | None = None) -> None:
        self._send(status, {"X-Error-Code": code} if code else {}, b"")

    def _send_json(self, body: object) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, length: int | None = None
    ) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except OSError:  # the other end was killed
                self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the other end was killed


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub, and a storage on another origin, until the block ends."""
    hub = Hub()
    servers = []
    for origin in ("hub", "storage"):
        handler = type("Handler", (_Handler,), {"hub": hub, "origin": origin})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
    hub.url, hub.storage_url = (f"http://127.0.0.1:{s.server_address[1]}" for s in servers)
    try:
        yield hub
    finally:
        hub.released.set()
        for server in servers:
            server.shutdown()
            server.server_close()


def safetensors(data: bytes = b"", **tensors: int) -> bytes:
    """Return a safetensors file: tensors of so many bytes hold ``data`` and zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, size in (tensors or {"weight": len(data)}).items():
        offsets = [end, end + size]
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": offsets}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data.ljust(end, b"\0")


def index_of(*shards: str) -> bytes:
    """Return an index that names these shards."""
    return json.dumps({"weight_map": {f"t{i}": shard for i, shard in enumerate(shards)}}).encode()


def pointer_to(content: bytes) -> bytes:
    """Return the Git LFS pointer that stands for a file."""
    digest = hashlib.sha256(content).hexdigest()
    lines = ["version https://git-lfs.github.com/spec/v1", f"oid sha256:{digest}"]
    return "\n".join([*lines, f"size {len(content)}", ""]).encode()


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
