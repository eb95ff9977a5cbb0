"""Rows of the index: made from the files of a store, and made into candidates again."""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pocketzoo.errors import PocketzooError
from zoo.artifact import Accuracy, Artifact
from zoo.candidate import LOCAL, Candidate, CellFacts, cell_facts
from zoo.index import ABSENT, UNSETTLED, EntryRow, Listed, Seen, Stale, Stamp, Top1, stamp
from zoo.indexfile import IndexDamaged
from zoo.kept import read_manifest, read_measurement
from zoo.reference import DIGEST, NAME, TAG, matches

SETTLED_NS = 2_000_000_000
"""Change times have the file system's grain. What changed so recently may change again within the same grain."""

_CELL = msgspec.msgpack.Decoder(CellFacts)
_ACCURACY = msgspec.json.Decoder(tuple[Accuracy, ...])
_Cell = tuple[str, int, int, str, bytes, int]  # file, inode, changed, device, facts, checksum


@dataclass
class Found:
    """What was read, to be written: each name and digest replaces all that the index had of it."""

    all_names: Stamp
    looked_closely: int
    gone: list[str]
    names: dict[str, _Name] = field(default_factory=dict)
    cells: dict[str, tuple[Stamp, list[_Cell]]] = field(default_factory=dict)
    problems: list[PocketzooError] = field(default_factory=list)


@dataclass(frozen=True)
class _Name:
    folder: Stamp
    tagged: Stamp
    entries: dict[str, EntryRow]
    tags: list[tuple[str, str, Stamp]]


def names_in(folder: str) -> tuple[Stamp, set[str]]:
    """The names that a folder of entries holds, and its stamp from before it was read."""
    at = _settled(stamp(folder), time.time_ns())
    return at, {name for name in os.listdir(folder) if matches(NAME, name)}  # noqa: PTH208


def look(root: Path, database: sqlite3.Connection, seen: Seen, stale: Stale) -> Found:
    """Read what is stale. Stamps are taken before what they stamp is read, so that no change is ever missed."""
    now = time.time_ns()
    found = Found(stale.all_names, stale.looked_closely, stale.gone)
    known: dict[str, dict[str, EntryRow]] = {}
    for row in seen.entries:
        known.setdefault(row.name, {})[row.digest] = row
    digests = set(stale.digests)
    for name in stale.names:
        there = _look_at_name(root, name, known.get(name, {}), now, found.problems)
        if there is None:
            found.gone.append(name)
            continue
        found.names[name] = there
        digests.update(there.entries.keys() - seen.cells.keys())
    for digest in sorted(digests):
        found.cells[digest] = _look_at_cells(root, digest, database, now, found.problems)
    return found


def _look_at_name(
    root: Path, name: str, known: Mapping[str, EntryRow], now: int, problems: list[PocketzooError]
) -> _Name | None:
    folder, tagged = root / "entries" / name, root / "tags" / name
    at, tagged_at = _settled(stamp(str(folder)), now), _settled(stamp(str(tagged)), now)
    try:
        files = sorted(file for file in os.listdir(folder) if file.endswith(".json"))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return None
    entries = {}
    for file in files:
        digest, path = file.removesuffix(".json"), folder / file
        manifest_at = stamp(str(path))
        row = known.get(digest)
        if row is None or (row.inode, row.changed) != manifest_at:
            try:
                row = _row(read_manifest(path, name, digest), _settled(manifest_at, now))
            except FileNotFoundError:
                continue  # removed meanwhile
            except PocketzooError as problem:
                problems.append(problem)
                at = UNSETTLED  # it is told each time
                continue
        entries[digest] = row
    return _Name(at, tagged_at, entries, _tags(tagged, now))


def _tags(folder: Path, now: int) -> list[tuple[str, str, Stamp]]:
    tags = []
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    for path in paths:
        if matches(TAG, path.name):
            at = _settled(stamp(str(path)), now)
            try:
                digest = path.read_text(encoding="ascii", errors="replace").strip()
            except FileNotFoundError:
                continue
            tags.append((path.name, digest if matches(DIGEST, digest) else "", at))
    return tags


def _look_at_cells(
    root: Path, digest: str, database: sqlite3.Connection, now: int, problems: list[PocketzooError]
) -> tuple[Stamp, list[_Cell]]:
    folder = root / "measurements" / digest
    at = _settled(stamp(str(folder)), now)
    try:
        files = sorted(file for file in os.listdir(folder) if file.endswith(".json"))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return at, []
    select = "SELECT file, inode, changed, device, facts, checksum FROM cell WHERE digest = ?"
    known: dict[str, _Cell] = {row[0]: row for row in database.execute(select, (digest,))}
    cells = []
    for file in files:
        cell, file_at = known.get(file), stamp(str(folder / file))
        if cell is None or cell[1:3] != file_at:
            try:
                facts = cell_facts(read_measurement(folder / file))
            except FileNotFoundError:
                continue
            except PocketzooError as problem:
                problems.append(problem)
                at = UNSETTLED
                continue
            packed = msgspec.msgpack.encode(facts)
            cell = (file, *_settled(file_at, now), facts.device, packed, zlib.crc32(packed))
        cells.append(cell)
    return at, cells


def write(database: sqlite3.Connection, found: Found) -> None:
    """Write what was read, inside a transaction of the caller."""
    run, many = database.execute, database.executemany
    for name in (*found.gone, *found.names):
        for table in ("name", "entry", "tag"):
            run(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608  one of three words
    many("INSERT INTO name VALUES (?,?,?,?,?)", [(n, *there.folder, *there.tagged) for n, there in found.names.items()])
    entries = [row for there in found.names.values() for row in there.entries.values()]
    many("INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", entries)
    tags = [(name, tag, digest, *at) for name, there in found.names.items() for tag, digest, at in there.tags]
    many("INSERT INTO tag VALUES (?,?,?,?,?)", tags)
    run("INSERT OR REPLACE INTO name VALUES ('',?,?,0,?)", (*found.all_names, found.looked_closely))
    for digest, (at, cells) in found.cells.items():
        run("DELETE FROM cell WHERE digest = ?", (digest,))
        run("INSERT OR REPLACE INTO artifact VALUES (?,?,?,?)", (digest, *at, len(cells)))
        many("INSERT INTO cell VALUES (?,?,?,?,?,?,?)", [(digest, *cell) for cell in cells])
    for table in ("artifact", "cell"):
        run(f"DELETE FROM {table} WHERE digest NOT IN (SELECT digest FROM entry)")  # noqa: S608  one of two words


def candidates_of(database: sqlite3.Connection, seen: Seen, device: str | None) -> list[Candidate]:
    """The entries that were seen as choices, with all cells, or those of one device.

    Raises:
        IndexDamaged: a row is not what was written.
    """
    cells, tags = _cells(database, seen, device), seen.tags_by_entry()
    found = []
    for row in seen.entries:
        if row.checksum != _checksum(row):
            raise IndexDamaged
        of_entry = cells.get(row.digest, [])
        if len(of_entry) > 1:
            of_entry.sort(key=_by_time)
        found.append(
            Candidate(
                name=row.name,
                digest=row.digest,
                source=LOCAL,
                tags=tuple(tags.get(row[:2], ())),
                format=row.format,
                task=row.task,
                size_bytes=row.size_bytes,
                accuracy=_ACCURACY.decode(row.accuracy),
                parent=row.parent,
                parent_name=row.parent_name,
                cells=tuple(of_entry),
            )
        )
    return found


def _cells(database: sqlite3.Connection, seen: Seen, device: str | None) -> dict[str, list[CellFacts]]:
    select, wanted = "SELECT digest, facts, checksum FROM cell", [] if device is None else [device]
    by_device = "device = ?" if device is not None else "1"
    cells: dict[str, list[CellFacts]] = {}
    crc32, decode = zlib.crc32, _CELL.decode
    for digest in [None] if seen.every else sorted(seen.cells):
        if digest is None:
            rows = database.execute(f"{select} WHERE {by_device}", wanted)
        else:
            rows = database.execute(f"{select} WHERE digest = ? AND {by_device}", [digest, *wanted])
        for key, facts, checksum in rows:
            if crc32(facts) != checksum:
                raise IndexDamaged
            cells.setdefault(key, []).append(decode(facts))
    return cells


def _by_time(cell: CellFacts) -> tuple[str, str]:
    return cell.time, cell.job_key


def listed(artifact: Artifact, tags: Iterable[str], measurements: int) -> Listed:
    """An artifact from anywhere as a row of a list."""
    row, top1 = _row(artifact, UNSETTLED), artifact.metric("top1")
    return Listed(
        row.name,
        row.digest,
        tuple(tags),
        row.format,
        row.task,
        row.size_bytes,
        Top1(top1.value, top1.samples, top1.provenance) if top1 else None,
        row.accuracy,
        measurements,
    )


def _row(artifact: Artifact, at: Stamp) -> EntryRow:
    top1, parent = artifact.metric("top1"), artifact.parent
    row = EntryRow(
        name=artifact.name,
        digest=artifact.digest,
        inode=at[0],
        changed=at[1],
        format=artifact.format,
        task=artifact.task,
        size_bytes=artifact.size_bytes,
        top1=top1.value if top1 else None,
        top1_samples=top1.samples if top1 else None,
        top1_provenance=top1.provenance if top1 else None,
        accuracy=msgspec.json.encode(artifact.accuracy).decode(),
        parent=parent.digest if parent else None,
        parent_name=parent.name if parent else None,
        checksum=0,
    )
    return row._replace(checksum=_checksum(row))


def _checksum(row: EntryRow) -> int:
    # Without the stamp: a manifest that was only touched is the same.
    return zlib.crc32(repr((row[0], row[1], row[4:13])).encode("utf-8", "surrogatepass"))


def _settled(at: Stamp, now: int) -> Stamp:
    return at if at == ABSENT or at[1] < now - SETTLED_NS else UNSETTLED
