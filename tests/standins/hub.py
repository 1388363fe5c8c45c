"""A Hugging Face hub on the loopback: repositories are folders, spoken for as `huggingface_hub` knows it.

Small files are answered with their Git hash as ETag, large ones (as Git LFS keeps them) with a redirect to another host
that serves ranges. Renamed repositories are redirected, unknown ones are "unauthorised", as the real hub has it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = 100_000  # bytes from which on a file is kept as Git LFS keeps it
PIECE = 1 << 20


@dataclass
class Fault:
    """What goes wrong where a path holds `where`, the first `times` times (None: always).

    gated: 403 for files; missing: 404 for a file; broken: 500; portal: a page that is none of the
    hub's; slow: `value` seconds late; dead: no answer for ever;
    hangs up: the connection closes without one; cut: it breaks after `value` of the bytes; short: the file has only
    `value` of its bytes.
    """

    kind: str
    where: str
    times: int | None = None
    value: float = 0.5


class Repository:
    """A folder that is served.

    Parameters
    ----------
    name
        Its name on the hub.
    folder
        Its files.
    old
        Other names it had.
    """

    def __init__(self, name: str, folder: Path, *old: str) -> None:
        self.name, self.folder, self.old = name, folder, old
        self.commit = hashlib.sha1(f"{name} {folder}".encode()).hexdigest()

    @cached_property
    def paths(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def size(self, path: str) -> int:
        return (self.folder / path).stat().st_size

    def hash(self, path: str) -> str:
        """The Git hash, or for large files what stands for their SHA-256: the client takes both as they are."""
        file = self.folder / path
        if self.size(path) >= LARGE:
            return hashlib.sha256(f"{file} {file.stat().st_mtime_ns}".encode()).hexdigest()
        data = file.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def entry(self, path: str) -> dict:
        size, oid = self.size(path), self.hash(path)
        lfs = {"lfs": {"oid": oid, "size": size, "pointerSize": 134}} if size >= LARGE else {}
        return {"type": "file", "path": path, "size": size, "oid": oid[:40], **lfs}

    def info(self) -> dict:
        info = {
            "_id": self.commit[:24],
            "id": self.name,
            "modelId": self.name,
            "sha": self.commit,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 1,
            "likes": 1,
            "tags": [],
            "siblings": [{"rfilename": path} for path in self.paths],
        }
        parameters: dict[str, int] = {}
        for path in self.paths:
            if path.startswith("model") and path.endswith(".safetensors"):
                with (self.folder / path).open("rb") as file:
                    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
                for tensor in header.values():
                    if "dtype" in tensor:
                        count = 1
                        for side in tensor["shape"]:
                            count *= side
                        parameters[tensor["dtype"]] = parameters.get(tensor["dtype"], 0) + count
        return {**info, "safetensors": {"parameters": parameters, "total": sum(parameters.values())}}


class Hub:
    """The server; a context manager. `requests` are (method, path, range) in the order they came."""

    def __init__(self, *repositories: Repository) -> None:
        self.repositories = {name: r for r in repositories for name in (r.name, *r.old)}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, str]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.hub = self
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def files(self) -> str:
        """Where large files are served: another host to a client, as the real hub's is."""
        return f"http://localhost:{self.server.server_port}"

    def paths(self, method: str = "") -> list[str]:
        return [path for asked, path, _ in self.requests if method in ("", asked)]

    def fault(self, *arguments, **keywords) -> None:
        self.faults.append(Fault(*arguments, **keywords))

    def faulty(self, path: str, *kinds: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.kind in kinds and fault.where in path and fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def __enter__(self) -> Hub:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        if fault := self.hub.faulty(path, "slow"):
            time.sleep(fault.value)
        if self.hub.faulty(path, "dead"):
            self.hub.closing.wait()
        if self.hub.closing.is_set() or self.hub.faulty(path, "hangs up"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif self.hub.faulty(path, "broken"):
            self.reply(500, b"Internal Server Error")
        elif self.hub.faulty(path, "portal"):
            self.reply(200, b"<html><title>Log in to the network</title></html>")
        elif path.startswith("/api/models/"):
            self.api(path.removeprefix("/api/models/"))
        elif path.startswith("/lfs/"):
            name, _, file = path.removeprefix("/lfs/").partition("@/")
            self.body(self.hub.repositories[name].folder / file)
        else:
            self.resolve(path)

    def api(self, path: str) -> None:
        name, kind, rest = self.split(path, "/tree/", "/revision/")
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.error(401, "RepoNotFound", "Repository not found")
        elif kind == "/tree/":
            revision, _, folder = rest.partition("/")
            entries = [repository.entry(path) for path in repository.paths if path.startswith(folder)]
            if self.known(repository, revision):
                self.json(entries)
        elif not kind or self.known(repository, rest):
            self.json(repository.info())

    def resolve(self, path: str) -> None:
        name, _, rest = self.split(path.lstrip("/"), "/resolve/")
        revision, _, file = rest.partition("/")
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.error(401, "RepoNotFound", "Repository not found")
            return
        if name != repository.name:
            self.reply(307, b"", Location=f"/{repository.name}/resolve/{revision}/{file}")
            return
        if self.hub.faulty(path, "gated"):
            self.error(
                403, "GatedRepo", f"Access to model {name} is restricted and you are not in the authorized list."
            )
        elif self.known(repository, revision):
            if file not in repository.paths or self.hub.faulty(path, "missing"):
                commit = {"X-Repo-Commit": repository.commit}
                self.error(404, "EntryNotFound", "Entry not found", **commit)
            elif repository.size(file) >= LARGE:
                self.reply(
                    302,
                    b"",
                    Location=f"{self.hub.files}/lfs/{name}@/{file}",
                    **{
                        "X-Repo-Commit": repository.commit,
                        "X-Linked-Size": str(repository.size(file)),
                        "X-Linked-ETag": f'"{repository.hash(file)}"',
                    },
                )
            else:
                tag = {"ETag": f'"{repository.hash(file)}"', "X-Repo-Commit": repository.commit}
                self.body(repository.folder / file, **tag)

    def known(self, repository: Repository, revision: str) -> bool:
        if revision in ("main", repository.commit):
            return True
        self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return False

    def split(self, path: str, *marks: str) -> tuple[str, str, str]:
        for mark in marks:
            if mark in path:
                name, _, rest = path.partition(mark)
                return name, mark, rest
        return path, "", ""

    def json(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def error(self, status: int, code: str, message: str, **headers: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.reply(status, body, **{"X-Error-Code": code, "X-Error-Message": message}, **headers)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self, file: Path, **headers: str) -> None:
        """Send a file or the range of it that is asked for."""
        size, start = file.stat().st_size, 0
        path = unquote(self.path)
        wanted = self.headers.get("Range", "")
        if self.command != "HEAD" and (fault := self.hub.faulty(path, "short")):
            size = int(size * fault.value)
        stop = size
        if wanted.startswith("bytes="):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1 if last else size
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        for name, value in {**headers, "Accept-Ranges": "bytes", "Content-Length": str(stop - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.faulty(path, "cut")
        end = start + int((stop - start) * cut.value) if cut else stop
        with file.open("rb") as source:
            source.seek(start)
            while start < end:
                piece = source.read(min(PIECE, end - start))
                self.wfile.write(piece)
                start += len(piece)
        if cut:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
