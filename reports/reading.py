"""The zoo as a report needs it: every manifest, and every measurement without its samples; read once, then remembered.

Ten thousand entries with their measurements are hundreds of megabytes of JSON, of which a report needs the summaries.
What was read is kept beside the zoo's state: a measurement by the name of its file, which holds the digest of its
content; a manifest by inode, change time and size. What changed less than two seconds ago is not believed (two changes
within the grain of a change time leave one stamp). A missing or damaged memory costs a slow reading and no more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pocketzoo import __version__
from pocketzoo.decodable import decodable
from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_bytes, write_atomically
from pocketzoo.home import home
from zoo.artifact import Artifact
from zoo.kept import read_manifest, read_measurement
from zoo.measurement import Measurement
from zoo.store import Store

SETTLED_NS = 2_000_000_000
MOST_BYTES = 1 << 30
Stamp = tuple[int, int, int]  # inode, change time (ns), size


@dataclass(frozen=True)
class Read:
    """An entry: its manifest, its tags, its measurements without samples and the file of each."""

    artifact: Artifact
    tags: tuple[str, ...]
    cells: tuple[tuple[Measurement, Path], ...]


class _Kept(msgspec.Struct):
    """What was read before. Paths are relative to the zoo's root."""

    root: str
    version: str
    manifests: dict[str, tuple[Stamp, Artifact]] = {}
    cells: dict[str, Measurement] = {}


decodable(_Kept)


@dataclass
class _Memory:
    """Where what was read is kept, and what was used of it or added by this reading."""

    path: Path
    before: _Kept
    now: _Kept
    changed: bool = field(default=False)

    @classmethod
    def of(cls, store: Store) -> _Memory:
        path = home() / "reports" / f"read-{sha256_bytes(str(store.root).encode())[:16]}.msgpack"
        fresh = _Kept(str(store.root), __version__)
        before = fresh
        with contextlib.suppress(OSError, msgspec.DecodeError, RecursionError):
            if path.stat().st_size <= MOST_BYTES:
                found = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
                if (found.root, found.version) == (fresh.root, fresh.version):
                    before = found
        return cls(path, before, _Kept(fresh.root, fresh.version, {}, {}))

    def keep(self) -> None:
        """Write down what was read, if that is anything new. A folder that cannot be written to only costs time."""
        gone = len(self.now.manifests) != len(self.before.manifests) or len(self.now.cells) != len(self.before.cells)
        if self.changed or gone:
            with contextlib.suppress(OSError):
                write_atomically(self.path, msgspec.msgpack.encode(self.now), durable=False)


def entries(store: Store, on_problem: Callable[[PocketzooError], None]) -> Iterator[Read]:
    """Every entry by name, then by digest.

    Args:
        store: the zoo.
        on_problem: called with the error of an entry or measurement that is damaged; it is left out.
    """
    memory = _Memory.of(store)
    for name in store.names():
        tags = store.tags(name)
        for file in _json_files(store.root / "entries" / name):
            digest = file.name.removesuffix(".json")
            try:
                artifact = _artifact(store, memory, name, digest)
            except FileNotFoundError:
                continue  # removed meanwhile
            except PocketzooError as problem:
                on_problem(problem)
                continue
            cells = _cells(store, memory, digest, on_problem)
            yield Read(artifact, tuple(sorted(tag for tag, target in tags.items() if target == digest)), cells)
    memory.keep()


def _artifact(store: Store, memory: _Memory, name: str, digest: str) -> Artifact:
    path = store.manifest(name, digest)
    found = path.stat()
    stamp = (found.st_ino, found.st_ctime_ns, found.st_size)
    key = f"{name}/{digest}"
    kept = memory.before.manifests.get(key)
    if kept is not None and kept[0] == stamp:
        memory.now.manifests[key] = kept
        return kept[1]
    artifact = read_manifest(path, name, digest)
    if time.time_ns() - found.st_ctime_ns > SETTLED_NS:
        memory.now.manifests[key] = (stamp, artifact)
        memory.changed = True
    return artifact


def _cells(
    store: Store, memory: _Memory, digest: str, on_problem: Callable[[PocketzooError], None]
) -> tuple[tuple[Measurement, Path], ...]:
    found: list[tuple[Measurement, Path]] = []
    for file in _json_files(store.root / "measurements" / digest):
        key = f"{digest}/{file.name}"
        cell = memory.before.cells.get(key)
        path = Path(file.path)
        if cell is None:
            try:
                cell = msgspec.structs.replace(read_measurement(path), repeats=())
            except FileNotFoundError:
                continue
            except PocketzooError as problem:
                on_problem(problem)
                continue
            memory.changed = True
        memory.now.cells[key] = cell
        found.append((cell, path))
    return tuple(found)


def _json_files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted((file for file in found if file.name.endswith(".json")), key=lambda file: file.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
