"""The HTTP side: routes, tokens, pages, ranges, redirects to a second address, and the faults that were ordered."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import secrets
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.lab.hub.faults import Fault, Faults
from tests.lab.hub.repository import File, Refusal, Repository, Storage, is_large

PIECE = 1 << 20
INVALID = "Invalid credentials in Authorization header"


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    where: str
    method: str
    path: str
    headers: Mapping[str, str]
    size: int


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def _json(value: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


class HubServer:
    """A Hub on loopback, in threads of this process.

    Args:
        tokens: each may read and write everything. What is asked without one sees public repositories only.
        cdn: large files are sent from, and received at, a second address.
        page: entries of a listing that are sent at once.
    """

    def __init__(self, *, port: int = 0, tokens: tuple[str, ...] = ("hf_test",), cdn: bool = True, page: int = 1000):
        self.tokens, self.cdn, self.page = tokens, cdn, page
        self.storage = Storage()
        self.faults = Faults()
        self.complaints: list[str] = []
        self.asked: list[Asked] = []
        self.extra_tree: list[dict[str, object]] = []  # what a hostile Hub lists beside the files
        self.endless_pages = False
        self._signature = secrets.token_hex(8)
        self._servers = [_Server(self, "hub", port), _Server(self, "cdn", 0)]
        self.endpoint, self.cdn_address = (server.address for server in self._servers)
        if not cdn:
            self.cdn_address = self.endpoint

    def __enter__(self) -> HubServer:
        for server in self._servers:
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for server in self._servers:
            server.stop()

    stopping: threading.Event

    def sent(self, method: str, path: str) -> list[Asked]:
        """The requests with this method whose path the expression is found in."""
        return [one for one in self.asked if one.method == method and re.search(path, one.path)]

    # what is asked of the Hub

    def answer(self, asked: Asked, body: bytes) -> Answer:
        url = urllib.parse.urlsplit(asked.path)
        query = urllib.parse.parse_qs(url.query)
        if asked.where == "cdn" or re.match("/(blob|upload)/", url.path):
            return self._cdn(asked, url.path, query, body)
        known = self._authorised(asked)
        raw = url.path  # still quoted: a slash inside a revision or path is %2F
        routes: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
            ("POST", r"/api/repos/create", self._create),
            ("POST", r"/api/validate-yaml", self._validate),
            ("GET", r"/api/models", self._models),
            ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?", self._info),
            ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", self._tree),
            ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)", self._paths),
            ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", self._preupload),
            ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", self._commit),
            ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            ("POST", r"/lfs/verify", self._verify),
            ("GET", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", self._resolve),
        )
        method = "GET" if asked.method == "HEAD" else asked.method
        for wanted, pattern, route in routes:
            if wanted == method and (match := re.fullmatch(pattern, raw)):
                parts = {k: urllib.parse.unquote(v) for k, v in match.groupdict().items() if v is not None}
                return route(known=known, query=query, body=body, asked=asked, **parts)
        self.complaints.append(f"not expected: {asked.method} {asked.path}")
        raise Refusal(500, "this Hub knows no such address")

    def _authorised(self, asked: Asked) -> bool:
        held = asked.headers.get("authorization")
        if held is None:
            return False
        if held.removeprefix("Bearer ") not in self.tokens:
            raise Refusal(401, INVALID)
        return True

    def _repository(self, name: str, known: bool) -> Repository:
        found = self.storage.repositories.get(name)
        if found is None or (found.private and not known):
            raise Refusal(404 if known else 401, "Repository not found", "RepoNotFound")
        return found

    def _writable(self, name: str, known: bool) -> Repository:
        if not known:
            raise Refusal(401, "Invalid username or password.")
        return self._repository(name, known)

    def _create(self, *, known: bool, body: bytes, **_: object) -> Answer:
        wanted = json.loads(body)
        if not known:
            raise Refusal(401, "Invalid username or password.")
        if set(wanted) - {"name", "organization", "visibility", "type"}:
            self.complaints.append(f"create: {sorted(wanted)}")
        name = f"{wanted['organization'] or 'somebody'}/{wanted['name']}"
        try:
            self.storage.create(name, private=wanted.get("visibility") == "private")
        except Refusal as refusal:
            return _json({"error": refusal.message, "url": f"{self.endpoint}/{name}"}, refusal.status)
        return _json({"url": f"{self.endpoint}/{name}", "name": name})

    def _validate(self, *, body: bytes, **_: object) -> Answer:
        from ruamel.yaml import YAML, YAMLError

        content = json.loads(body)["content"]
        try:
            head = front_matter(content)
            found = YAML(typ="safe").load(head) if head else {}
        except YAMLError as error:
            return _json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        warnings = [] if found else [{"message": "empty or missing yaml metadata in repo card"}]
        return _json({"errors": [], "warnings": warnings})

    def _models(self, *, known: bool, query: dict[str, list[str]], **_: object) -> Answer:
        if unknown := set(query) - {"author", "filter", "cursor", "limit"}:
            self.complaints.append(f"models: {sorted(unknown)}")
        author, wanted = query.get("author", [""])[0], query.get("filter", [])
        found = [
            {"id": name, "tags": tags, "private": repository.private}
            for name, repository in sorted(self.storage.repositories.items())
            if name.split("/")[0] == author and (known or not repository.private)
            for tags in [self._tags(repository)]
            if set(wanted) <= set(tags)
        ]
        return self._paged(found, "/api/models", query)

    def _tags(self, repository: Repository) -> list[str]:
        from ruamel.yaml import YAML

        card = repository.head.files.get("README.md")
        head = front_matter(self.storage.content(card).decode()) if card else None
        found = YAML(typ="safe").load(head) if head else {}
        return [str(tag) for tag in (found or {}).get("tags") or []]

    def _info(self, *, repo: str, known: bool, query: dict[str, list[str]], revision: str = "main", **_: object):
        repository = self._repository(repo, known)
        commit = repository.at(revision)
        info: dict[str, object] = {"id": repo, "sha": commit.oid}
        if "expand" not in query:
            info |= {
                "siblings": [{"rfilename": path} for path in sorted(commit.files)],
                "private": repository.private,
                "gated": "manual" if repository.gated else False,
                "tags": self._tags(repository),
            }
        return _json(info)

    def _tree(
        self,
        *,
        repo: str,
        revision: str,
        known: bool,
        query: dict[str, list[str]],
        asked: Asked,
        path: str = "",
        **_: object,
    ):
        files = self._repository(repo, known).at(revision).files
        recursive = query.get("recursive", ["false"])[0] == "true"
        inside = f"{path}/" if path else ""
        below = {name: file for name, file in files.items() if name.startswith(inside)}
        if path and not below:
            raise Refusal(404, f"{path} does not exist on {revision}", "EntryNotFound")
        entries: dict[str, dict[str, object]] = {}
        for name, file in sorted(below.items()):
            parts = name[len(inside) :].split("/")
            for depth in range(1, len(parts)):
                folder = inside + "/".join(parts[:depth])
                if depth == 1 or recursive:
                    oid = hashlib.sha1(folder.encode()).hexdigest()
                    entries.setdefault(folder, {"type": "directory", "path": folder, "size": 0, "oid": oid})
            if len(parts) == 1 or recursive:
                entries[name] = _listed(name, file)
        return self._paged([*entries.values(), *self.extra_tree], asked.path.split("?")[0], query)

    def _paths(self, *, repo: str, revision: str, known: bool, body: bytes, **_: object) -> Answer:
        files = self._repository(repo, known).at(revision).files
        wanted = urllib.parse.parse_qs(body.decode())["paths"]
        return _json([_listed(path, files[path]) for path in wanted if path in files])

    def _preupload(self, *, repo: str, revision: str, known: bool, body: bytes, **_: object) -> Answer:
        files = self._writable(repo, known).at(revision).files
        answers = []
        for asked in json.loads(body)["files"]:
            large = is_large(asked["path"], asked["size"], base64.b64decode(asked["sample"]))
            held = files.get(asked["path"])
            oid = (held.sha256 or held.oid) if held else None
            mode = "lfs" if large else "regular"
            answers.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return _json({"files": answers})

    def _commit(self, *, repo: str, revision: str, known: bool, body: bytes, **_: object) -> Answer:
        repository = self._writable(repo, known)
        commit = self.storage.commit(repository, revision, body, self.complaints.append)
        return _json({"commitUrl": f"{self.endpoint}/{repo}/commit/{commit.oid}", "commitOid": commit.oid})

    def _batch(self, *, repo: str, known: bool, body: bytes, **_: object) -> Answer:
        self._writable(repo, known)
        wanted = json.loads(body)
        if (wanted["operation"], wanted["hash_algo"]) != ("upload", "sha256"):
            self.complaints.append(f"batch: {wanted['operation']}, {wanted['hash_algo']}")
        objects = []
        for one in wanted["objects"]:
            answer = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.storage.large:
                answer["actions"] = {
                    "upload": {"href": f"{self.cdn_address}/upload/{one['oid']}?signature={self._signature}"},
                    "verify": {"href": f"{self.endpoint}/lfs/verify"},
                }
            objects.append(answer)
        return _json({"transfer": "basic", "objects": objects})

    def _verify(self, *, known: bool, body: bytes, **_: object) -> Answer:
        wanted = json.loads(body)
        if not known:
            raise Refusal(401, INVALID)
        held = self.storage.large.get(wanted["oid"])
        if held is None or len(held) != wanted["size"]:
            raise Refusal(422, "the object was not uploaded, or has another size")
        return _json({})

    def _resolve(self, *, repo: str, revision: str, path: str, known: bool, asked: Asked, **_: object) -> Answer:
        repository = self._repository(repo, known)
        if repository.gated and not known:
            raise Refusal(401, f"Access to model {repo} is restricted.", "GatedRepo")
        commit = repository.at(revision)
        file = commit.files.get(path)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        if file.sha256:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
            if self.cdn:
                where = f"{self.cdn_address}/blob/{file.sha256}?signature={self._signature}"
                return Answer(302, b"", {**headers, "Location": where})
            headers["ETag"] = f'"{file.sha256}"'
        return ranged(self.storage.content(file), asked, headers)

    def _paged(self, found: list[dict[str, object]], path: str, query: dict[str, list[str]]) -> Answer:
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.page
        kept = [(k, v) for k, values in query.items() if k != "cursor" for v in values]
        more = urllib.parse.urlencode([*kept, ("cursor", str(end))])
        headers = (
            {"Link": f'<{self.endpoint}{path}?{more}>; rel="next"'} if end < len(found) or self.endless_pages else {}
        )
        return _json(found[start:end], **headers)

    # what is asked of the second address

    def _cdn(self, asked: Asked, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if self.cdn and "authorization" in asked.headers:
            self.complaints.append(f"a token arrived at the CDN: {asked.method} {path}")
        if query.get("signature") != [self._signature]:
            raise Refusal(403, "Signature does not match")
        if asked.method == "PUT" and (match := re.fullmatch(r"/upload/([0-9a-f]{64})", path)):
            if hashlib.sha256(body).hexdigest() != match[1]:
                raise Refusal(400, "the body is not what its name says")
            self.storage.large[match[1]] = body
            return Answer()
        if asked.method in ("GET", "HEAD") and (match := re.fullmatch(r"/blob/([0-9a-f]{64})", path)):
            return ranged(self.storage.large[match[1]], asked, {"ETag": f'"{match[1]}"'})
        self.complaints.append(f"not expected at the CDN: {asked.method} {asked.path}")
        raise Refusal(500, "this CDN knows no such address")


def front_matter(card: str) -> str | None:
    """The YAML at the head of a card."""
    match = re.match(r"---\n(.*?\n)---(\n|$)", card, re.DOTALL)
    return match[1] if match else None


def ranged(data: bytes, asked: Asked, headers: dict[str, str]) -> Answer:
    """The part that was asked for, 206, or all of it."""
    headers = {"Content-Type": "application/octet-stream", **headers}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
    if match is None:
        return Answer(200, data, headers)
    start, end = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
    if start >= len(data):
        return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    part = bytes(memoryview(data)[start : end + 1])
    return Answer(206, part, {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})


def _listed(path: str, file: File) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.sha256:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 135}
    return entry


class _Server:
    """One listening address."""

    def __init__(self, hub: HubServer, where: str, port: int) -> None:
        hub.stopping = getattr(hub, "stopping", None) or threading.Event()

        class Handler(_Handler):
            pass

        Handler.hub, Handler.where = hub, where

        class Listening(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                error = sys.exc_info()[1]
                if not isinstance(error, ConnectionError):  # the client has heard enough
                    hub.complaints.append(f"the Hub itself failed: {error!r}")

        self._server = Listening(("127.0.0.1", port), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    hub: HubServer
    where: str

    def do_GET(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.where, self.command, self.path, headers, len(body))
        self.hub.asked.append(asked)
        fault = self.hub.faults.take(self.command, self.path)
        try:
            if fault and not fault.late and self._instead(fault):
                return
            try:
                answer = self.hub.answer(asked, body)
            except Refusal as refusal:
                answer = _json({"error": refusal.message}, refusal.status, **{"X-Error-Message": refusal.message})
                if refusal.code:
                    answer.headers["X-Error-Code"] = refusal.code
            if fault and fault.late and self._instead(fault):
                return
            self._send(answer, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has heard enough

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Requests are kept in ``HubServer.asked``."""

    def finish(self) -> None:
        try:
            super().finish()
        except (BrokenPipeError, ConnectionResetError):
            return

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _instead(self, fault: Fault) -> bool:
        """Answer by the fault alone, where it needs no body; False where it spoils one."""
        if fault.kind == "status":
            headers = {"Content-Type": "application/json", **dict(fault.headers)}
            self._send(Answer(fault.status, fault.body, headers), None)
        elif fault.kind == "redirect":
            self._send(Answer(302, b"", {"Location": fault.target}), None)
        elif fault.kind == "stall":
            self.hub.stopping.wait()
            self._cut()
        elif fault.kind == "endless":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
            piece = b"[" * (64 << 10)
            while not self.hub.stopping.is_set():
                self.wfile.write(piece)
        elif fault.kind == "drop" and fault.late:
            self._cut()
        else:
            return False
        return True

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        kind, body = fault.kind if fault else None, answer.body
        if kind == "corrupt" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        extra = fault.extra if fault and kind == "length" else 0
        self.send_header("Content-Length", str(len(body) + extra))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(body) // 2 if kind == "drop" else len(body)
        piece = 1 if kind == "trickle" else PIECE
        view = memoryview(body)
        for start in range(0, end, piece):
            self.wfile.write(view[start : min(start + piece, end)])
            if kind == "trickle":
                self.wfile.flush()
                if self.hub.stopping.is_set():
                    break
        self.wfile.flush()
        if kind in ("drop", "length"):
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
