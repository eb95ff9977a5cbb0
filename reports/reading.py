"""The zoo as a report needs it: every manifest, and every measurement without its samples; read once, then remembered.

Ten thousand entries with their measurements are hundreds of megabytes of JSON, of which a report needs the summaries.
What was read is kept beside the zoo's state. What a folder lists is believed as long as the folder has the inode and
change time it had then, a manifest or a tag as long as its file has; a measurement has the digest of its content in its
name. What changed less than two seconds ago is not believed (two changes within the grain of a change time leave one
stamp), nor is a folder in which something was damaged, so that it is told every time. A missing or damaged memory costs
a slow reading and no more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pocketzoo import __version__
from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_bytes, write_atomically
from pocketzoo.home import home
from reports import collecting
from zoo.artifact import Artifact
from zoo.index import ABSENT, UNSETTLED, Stamp, stamp
from zoo.kept import read_manifest, read_measurement
from zoo.measurement import Measurement
from zoo.reference import NAME, matches
from zoo.store import Store

SETTLED_NS = 2_000_000_000
MOST_BYTES = 1 << 30
OnProblem = Callable[[PocketzooError], None]


@dataclass(frozen=True)
class Read:
    """An entry: its manifest, its tags, its measurements without samples and the file of each."""

    artifact: Artifact
    tags: tuple[str, ...]
    cells: tuple[tuple[Measurement, Path], ...]


class _Manifest(msgspec.Struct, array_like=True):
    """A manifest, and the stamp of its file."""

    at: Stamp
    artifact: Artifact


class _Name(msgspec.Struct, array_like=True):
    """The entries of a name by their digests, and its tags with the digest and the stamp of each."""

    entries_at: Stamp
    tags_at: Stamp
    entries: dict[str, _Manifest]
    tags: dict[str, tuple[str, Stamp]]


class _Cells(msgspec.Struct, array_like=True):
    """The measurements of a file by the names of theirs."""

    at: Stamp
    found: dict[str, Measurement]


class _Kept(msgspec.Struct):
    """What was read. Paths are relative to the zoo's root."""

    root: str
    version: str
    names: dict[str, _Name] = {}
    cells: dict[str, _Cells] = {}


def entries(store: Store, on_problem: OnProblem) -> Iterator[Read]:
    """Every entry by name, then by digest.

    Args:
        store: the zoo.
        on_problem: called with the error of an entry or measurement that is damaged; it is left out.
    """
    path = home() / "reports" / f"read-{sha256_bytes(str(store.root).encode())[:16]}.msgpack"
    with collecting.off():
        before = _remembered(path, str(store.root))
        reading = _Reading(store, before, on_problem)
        now = _Kept(before.root, before.version, {}, {})
        for name in _names(store):
            found = reading.name(name)
            now.names[name] = found
            for digest in found.entries:
                if digest not in now.cells:
                    now.cells[digest] = reading.cells(digest)
        # What is gone is forgotten.
        gone = before.names.keys() - now.names.keys() or before.cells.keys() - now.cells.keys()
        if reading.changed or gone:
            # A folder that cannot be written to only costs time.
            with contextlib.suppress(OSError):
                write_atomically(path, msgspec.msgpack.encode(now), durable=False)
    root = f"{store.root}/measurements"
    for found in now.names.values():
        for digest, manifest in found.entries.items():
            tags = tuple(sorted(tag for tag, (target, _) in found.tags.items() if target == digest))
            cells = now.cells[digest].found.items()
            yield Read(manifest.artifact, tags, tuple((cell, Path(f"{root}/{digest}/{file}")) for file, cell in cells))


def _remembered(path: Path, root: str) -> _Kept:
    """What was read of this zoo by this version; empty where nothing was, or the memory cannot be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError, RecursionError):
        if path.stat().st_size <= MOST_BYTES:
            found = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
            if (found.root, found.version) == (root, __version__):
                return found
    return _Kept(root, __version__)


def _names(store: Store) -> list[str]:
    """The folders that may hold entries, sorted."""
    try:
        found = os.listdir(store.root / "entries")  # noqa: PTH208  names, not paths
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in found if matches(NAME, name))


def _settled(found: Stamp) -> Stamp:
    """A stamp that may be believed later; UNSETTLED where what it is of has only just changed."""
    return found if time.time_ns() - found[1] > SETTLED_NS else UNSETTLED


class _Reading:
    """One look at the zoo, held against what is remembered of it. ``changed``: something was read anew."""

    def __init__(self, store: Store, before: _Kept, on_problem: OnProblem) -> None:
        self.changed = False
        self._store, self._before, self._on_problem = store, before, on_problem
        self._root = str(store.root)

    def name(self, name: str) -> _Name:
        """The entries and tags of a name."""
        kept = self._before.names.get(name)
        entries = f"{self._root}/entries/{name}"
        # Taken before the folder is listed: what comes meanwhile makes it another.
        at, tags_at = stamp(entries), stamp(f"{self._root}/tags/{name}")
        if (
            kept is not None
            and kept.entries_at == at
            and kept.tags_at == tags_at
            and all(stamp(f"{entries}/{digest}.json") == one.at for digest, one in kept.entries.items())
            and all(stamp(f"{self._root}/tags/{name}/{tag}") == found for tag, (_, found) in kept.tags.items())
        ):
            return kept
        self.changed = True
        found: dict[str, _Manifest] = {}
        sound = True
        for digest in _json_files(entries):
            path = Path(f"{entries}/{digest}.json")
            written = stamp(str(path))
            try:
                artifact = read_manifest(path, name, digest)
            except FileNotFoundError:
                continue  # removed meanwhile
            except PocketzooError as problem:
                self._on_problem(problem)
                sound = False
                continue
            found[digest] = _Manifest(_settled(written), artifact)
        tags = {
            tag: (target, _settled(stamp(f"{self._root}/tags/{name}/{tag}")))
            for tag, target in self._store.tags(name).items()
        }
        return _Name(_settled(at) if sound else UNSETTLED, _settled(tags_at), found, tags)

    def cells(self, digest: str) -> _Cells:
        """The measurements of a file."""
        kept = self._before.cells.get(digest)
        folder = f"{self._root}/measurements/{digest}"
        at = stamp(folder)
        if kept is not None and kept.at == at:
            return kept
        known = kept.found if kept is not None else {}
        if at == ABSENT:
            self.changed = self.changed or kept is None or kept.at != ABSENT
            return _Cells(ABSENT, {})
        self.changed = True
        found: dict[str, Measurement] = {}
        sound = True
        for stem in _json_files(folder):
            file = f"{stem}.json"
            cell = known.get(file)
            if cell is None:
                try:
                    cell = msgspec.structs.replace(read_measurement(Path(f"{folder}/{file}")), repeats=())
                except FileNotFoundError:
                    continue
                except PocketzooError as problem:
                    self._on_problem(problem)
                    sound = False
                    continue
            found[file] = cell
        return _Cells(_settled(at) if sound else UNSETTLED, found)


def _json_files(folder: str) -> list[str]:
    """The names of the JSON files in a folder, sorted, without ``.json``."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  names, not paths
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))
