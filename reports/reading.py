"""The zoo and the results as a report needs them: manifests, and measurements without samples; read once, remembered.

Ten thousand entries with their measurements are hundreds of megabytes of JSON, of which a report needs the summaries.
What was read is kept in the state folder. What a folder lists is believed as long as the folder has the inode and
change time it had then, a manifest or a tag as long as its file has; a measurement has the digest of its content in its
name, and a round of the results never changes. What changed less than two seconds ago is not believed (two changes
within the grain of a change time leave one stamp), nor is a folder in which something was damaged, so that it is told
every time. A missing or damaged memory costs a slow reading and no more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.results import Results
from pocketzoo import __version__
from pocketzoo.decodable import decodable
from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_bytes, write_atomically
from pocketzoo.home import home
from reports import collecting
from reports.remembered import Cell, Keeper, Shared
from zoo.artifact import Artifact
from zoo.index import ABSENT, UNSETTLED, Stamp, stamp
from zoo.kept import read_manifest, read_measurement
from zoo.measurement import Measurement
from zoo.reference import NAME, matches
from zoo.store import Store

SETTLED_NS = 2_000_000_000
MOST_BYTES = 1 << 30
FORMAT = "3"  # of what is remembered; another one is not read
OnProblem = Callable[[PocketzooError], None]


@dataclass(frozen=True)
class Read:
    """An entry: its manifest, its tags, its measurements without samples and the file of each."""

    artifact: Artifact
    tags: tuple[str, ...]
    cells: tuple[tuple[Measurement, str], ...]


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
    found: dict[str, Cell]


class _Kept(msgspec.Struct):
    """What was read of a zoo and a database, ``places``. ``rounds``: id, when it was begun, what it measured."""

    places: str
    version: str
    shared: Shared = msgspec.field(default_factory=Shared)
    names: dict[str, _Name] = {}
    cells: dict[str, _Cells] = {}
    rounds: list[tuple[int, str, Cell]] = []


decodable(_Manifest, _Name, _Cells, _Kept)


@dataclass(frozen=True)
class Found:
    """All that was read. ``rounds``: the newest of each cell of the results; ``signs``: by (job key, time)."""

    entries: tuple[Read, ...]
    rounds: tuple[Measurement, ...]
    signs: dict[tuple[str, str], str]


def read(store: Store, results: Results, on_problem: OnProblem) -> Found:
    """Every entry by name, then by digest, and the newest ended round of every cell.

    Args:
        store: the zoo.
        results: the database.
        on_problem: called with the error of an entry or measurement that is damaged; it is left out.
    """
    places = f"{store.root}\0{results.url}"
    path = home() / "reports" / f"read-{sha256_bytes(places.encode())[:16]}.msgpack"
    version = f"{__version__} {FORMAT}"
    with collecting.off():
        try:
            return _read(store, results, _remembered(path, places, version), path, on_problem)
        except IndexError:  # cells that refer to what the memory lacks: it is damaged
            return _read(store, results, _Kept(places, version), path, on_problem)


def _read(store: Store, results: Results, before: _Kept, path: Path, on_problem: OnProblem) -> Found:
    reading = _Reading(store, before, on_problem)
    now = _Kept(before.places, before.version, before.shared, {}, {}, reading.rounds(results))
    for name in _names(store):
        found = reading.name(name)
        now.names[name] = found
        for digest in found.entries:
            if digest not in now.cells:
                now.cells[digest] = reading.cells(digest)
    # What is gone is forgotten.
    gone = before.names.keys() - now.names.keys() or before.cells.keys() - now.cells.keys()
    told = _told(store, now, reading.keeper)
    if reading.changed or gone or len(before.rounds) != len(now.rounds):
        # A folder that cannot be written to only costs time.
        with contextlib.suppress(OSError):
            write_atomically(path, msgspec.msgpack.encode(now), durable=False)
    return told


def _told(store: Store, now: _Kept, keeper: Keeper) -> Found:
    entries, signs = [], {}
    whole = keeper.whole
    for found in now.names.values():
        for digest, manifest in found.entries.items():
            folder = f"{store.root}/measurements/{digest}"
            cells = []
            for file, cell in now.cells[digest].found.items():
                cells.append((whole(cell), f"{folder}/{file}"))
                signs[cell.job_key, cell.time] = cell.sign
            tags = tuple(sorted(tag for tag, (target, _) in found.tags.items() if target == digest))
            entries.append(Read(manifest.artifact, tags, tuple(cells)))
    rounds = tuple([whole(cell) for _, _, cell in now.rounds])
    signs.update({(cell.job_key, cell.time): cell.sign for _, _, cell in now.rounds})
    return Found(tuple(entries), rounds, signs)


def _remembered(path: Path, places: str, version: str) -> _Kept:
    """What was read of these by this version; empty where nothing was, or the memory cannot be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError, RecursionError):
        if path.stat().st_size <= MOST_BYTES:
            found = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
            if (found.places, found.version) == (places, version):
                return found
    return _Kept(places, version)


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
        self.keeper = Keeper(before.shared)
        self._store, self._before, self._on_problem = store, before, on_problem
        self._root = str(store.root)

    def rounds(self, results: Results) -> list[tuple[int, str, Cell]]:
        """The newest ended round of every cell."""
        known = {id_: (started, cell) for id_, started, cell in self._before.rounds}
        ended = results.ended()
        missing = [
            id_
            for id_, key, started in ended
            if (kept := known.get(id_)) is None or kept[0] != started or kept[1].job_key != key
        ]
        self.changed = self.changed or bool(missing)
        short = self.keeper.short
        anew = {id_: short(cell) for id_, cell in results.of_rounds(missing).items()}
        return [(id_, started, anew[id_] if id_ in anew else known[id_][1]) for id_, _, started in ended]

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
        found: dict[str, Cell] = {}
        sound = True
        for stem in _json_files(folder):
            file = f"{stem}.json"
            cell = known.get(file)
            if cell is None:
                try:
                    cell = self.keeper.short(read_measurement(Path(f"{folder}/{file}")))
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
