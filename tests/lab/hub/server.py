"""The HTTP side: routes, tokens, pages, ranges, redirects to a second address, and the faults that were ordered."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
import urllib.parse
from collections.abc import Callable

from tests.lab.hub.faults import Faults
from tests.lab.hub.repository import File, Refusal, Repository, Storage, is_large
from tests.lab.hub.wire import Answer, Asked, Listener, as_json

INVALID = "Invalid credentials in Authorization header"


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
        self.range_shift: int | None = 0  # how far from where it is asked a part begins; None: parts are not sent
        self.ignored: str | None = None  # what a .gitignore keeps out, as a regular expression
        self.stopping = threading.Event()
        self._signature = secrets.token_hex(8)
        self._servers = [Listener(self, "hub", port), Listener(self, "cdn", 0)]
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
            return as_json({"error": refusal.message, "url": f"{self.endpoint}/{name}"}, refusal.status)
        return as_json({"url": f"{self.endpoint}/{name}", "name": name})

    def _validate(self, *, body: bytes, **_: object) -> Answer:
        from ruamel.yaml import YAML, YAMLError

        content = json.loads(body)["content"]
        try:
            head = front_matter(content)
            found = YAML(typ="safe").load(head) if head else {}
        except YAMLError as error:
            return as_json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        warnings = [] if found else [{"message": "empty or missing yaml metadata in repo card"}]
        return as_json({"errors": [], "warnings": warnings})

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
        return as_json(info)

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
        return as_json([_listed(path, files[path]) for path in wanted if path in files])

    def _preupload(self, *, repo: str, revision: str, known: bool, body: bytes, **_: object) -> Answer:
        files = self._writable(repo, known).at(revision).files
        answers = []
        for asked in json.loads(body)["files"]:
            large = is_large(asked["path"], asked["size"], base64.b64decode(asked["sample"]))
            held = files.get(asked["path"])
            oid = (held.sha256 or held.oid) if held else None
            mode = "lfs" if large else "regular"
            ignored = bool(self.ignored and re.search(self.ignored, asked["path"]))
            answers.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": ignored, "oid": oid})
        return as_json({"files": answers})

    def _commit(self, *, repo: str, revision: str, known: bool, body: bytes, **_: object) -> Answer:
        repository = self._writable(repo, known)
        commit = self.storage.commit(repository, revision, body, self.complaints.append)
        return as_json({"commitUrl": f"{self.endpoint}/{repo}/commit/{commit.oid}", "commitOid": commit.oid})

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
        return as_json({"transfer": "basic", "objects": objects})

    def _verify(self, *, known: bool, body: bytes, **_: object) -> Answer:
        wanted = json.loads(body)
        if not known:
            raise Refusal(401, INVALID)
        held = self.storage.large.get(wanted["oid"])
        if held is None or len(held) != wanted["size"]:
            raise Refusal(422, "the object was not uploaded, or has another size")
        return as_json({})

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
        return self._ranged(self.storage.content(file), asked, headers)

    def _ranged(self, data: bytes, asked: Asked, headers: dict[str, str]) -> Answer:
        """The part that was asked for, 206, or all of it."""
        headers = {"Content-Type": "application/octet-stream", **headers}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
        if match is None or self.range_shift is None:
            return Answer(200, data, headers)
        start = int(match[1]) + self.range_shift
        end = min(int(match[2] or len(data) - 1), len(data) - 1)
        if start >= len(data):
            return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        part = bytes(memoryview(data)[start : end + 1])
        return Answer(206, part, {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def _paged(self, found: list[dict[str, object]], path: str, query: dict[str, list[str]]) -> Answer:
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.page
        kept = [(k, v) for k, values in query.items() if k != "cursor" for v in values]
        more = urllib.parse.urlencode([*kept, ("cursor", str(end))])
        headers = (
            {"Link": f'<{self.endpoint}{path}?{more}>; rel="next"'} if end < len(found) or self.endless_pages else {}
        )
        return as_json(found[start:end], **headers)

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
            return self._ranged(self.storage.large[match[1]], asked, {"ETag": f'"{match[1]}"'})
        self.complaints.append(f"not expected at the CDN: {asked.method} {asked.path}")
        raise Refusal(500, "this CDN knows no such address")


def front_matter(card: str) -> str | None:
    """The YAML at the head of a card."""
    match = re.match(r"---\n(.*?\n)---(\n|$)", card, re.DOTALL)
    return match[1] if match else None


def _listed(path: str, file: File) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.sha256:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 135}
    return entry
