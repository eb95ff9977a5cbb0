"""Repositories with commits, and the store of large files behind them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

LARGE = (".tflite", ".onnx", ".safetensors", ".pt", ".pt2", ".pth", ".bin", ".engine", ".h5", ".gz", ".zip")
LARGEST_REGULAR = 10 << 20


class Refusal(Exception):
    """An answer that is an error: its status, what the Hub calls it, and its text."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class File:
    """A file of a commit: its git object id and size, and for a large one its SHA-256; the bytes are elsewhere."""

    oid: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Commit:
    oid: str
    summary: str
    files: Mapping[str, File]


@dataclass
class Repository:
    name: str
    private: bool = False
    gated: bool = False
    commits: list[Commit] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit:
        if revision == "main":
            return self.head
        for commit in self.commits:
            if commit.oid == revision:
                return commit
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # git's name of a file, no signature


def is_large(path: str, size: int, sample: bytes) -> bool:
    return path.endswith(LARGE) or size > LARGEST_REGULAR or b"\0" in sample


class Storage:
    """All repositories of a Hub. Large files are kept by SHA-256, others by git object id."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.regular: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def create(self, name: str, *, private: bool = False, gated: bool = False) -> Repository:
        with self.lock:
            if name in self.repositories:
                raise Refusal(409, "You already created this model repo")
            repository = Repository(name, private=private, gated=gated)
            attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE).encode()
            oid = git_oid(attributes)
            self.regular[oid] = attributes
            files = {".gitattributes": File(oid, len(attributes), None)}
            repository.commits.append(Commit(secrets.token_hex(20), "initial commit", MappingProxyType(files)))
            self.repositories[name] = repository
            return repository

    def content(self, file: File) -> bytes:
        return self.large[file.sha256] if file.sha256 else self.regular[file.oid]

    def commit(self, repository: Repository, revision: str, lines: bytes, complain: Callable[[str], None]) -> Commit:
        """Carry out the lines of a commit; all of them or none."""
        if revision != "main":
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        with repository.lock:
            head = repository.head
            files = dict(head.files)
            summary = ""
            for number, line in enumerate(lines.splitlines()):
                item = json.loads(line)
                key, value = item["key"], item["value"]
                if (key == "header") != (number == 0):
                    complain(f"line {number} of a commit is {key}")
                if key == "header":
                    summary = value["summary"]
                    if value.get("parentCommit") not in (None, head.oid):
                        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
                elif key == "file":
                    self._path(value["path"], complain)
                    data = base64.b64decode(value["content"], validate=True)
                    if is_large(value["path"], len(data), data[:512]) and data:
                        raise Refusal(400, f"{value['path']} should be a large file")
                    oid = git_oid(data)
                    self.regular[oid] = data
                    files[value["path"]] = File(oid, len(data), None)
                elif key == "lfsFile":
                    self._path(value["path"], complain)
                    if value["oid"] not in self.large:
                        raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {value['oid']}")
                    size = len(self.large[value["oid"]])
                    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{value['oid']}\nsize {size}\n"
                    files[value["path"]] = File(git_oid(pointer.encode()), size, value["oid"])
                elif key == "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise Refusal(404, f"{value['path']} does not exist", "EntryNotFound")
                else:
                    complain(f"a commit has a line {key!r}")
            folders = {path.rsplit("/", n)[0] for path in files for n in range(1, path.count("/") + 1)}
            if clash := folders & files.keys():
                raise Refusal(400, f"both a file and a folder: {sorted(clash)}")
            commit = Commit(secrets.token_hex(20), summary, MappingProxyType(files))
            repository.commits.append(commit)
            return commit

    @staticmethod
    def _path(path: str, complain: Callable[[str], None]) -> None:
        if path.startswith("/") or any(part in ("", ".", "..", ".git") for part in path.split("/")):
            complain(f"a path that leads elsewhere: {path!r}")
