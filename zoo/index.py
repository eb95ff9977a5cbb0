"""What ``zoo list`` and choosing read instead of ten thousand files: derived from the store, never believed blindly.

A row is believed as long as the folders and files it was read from have the inode and change time they had then; what
differs is read again by whoever asks, who also writes it down. Nobody who changes the store has to know of the index,
so there is no moment at which a kill, a second process or a person's own hands could leave it wrong. Where it is
missing, damaged or cannot be written, the same tables are made in memory from the files (docs/decisions/0500).

Importing this module is cheap, and so is reading when nothing has changed: ``zoo list`` starts with it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from zoo.indexfile import IndexDamaged, as_it_is, in_memory, made_anew

if TYPE_CHECKING:
    from pocketzoo.errors import PocketzooError
    from zoo.candidate import Candidate

    OnProblem = Callable[[PocketzooError], None]

    from zoo.indexrows import Found

Row = TypeVar("Row")
Ask: TypeAlias = "Callable[[sqlite3.Connection, Seen], list[Row]]"
Answer: TypeAlias = "tuple[list[Row], list[PocketzooError]]"
Stamp = tuple[int, int]
"""Inode and change time (ns) of a file or folder."""
ABSENT: Stamp = (0, 0)
UNSETTLED: Stamp = (-1, -1)
"""Of what must be looked at again: it equals no stamp."""
_ALL = ""
"""The row of the table ``name`` that holds the stamp of the folder of all names."""


class Top1(NamedTuple):
    """Top-1 accuracy in percent; see :class:`zoo.artifact.Accuracy`."""

    value: float
    samples: int
    provenance: str


class Listed(NamedTuple):
    """An entry as ``zoo list`` shows it. ``accuracy`` is the JSON of all its accuracies."""

    name: str
    digest: str
    tags: tuple[str, ...]
    format: str
    task: str | None
    size_bytes: int
    top1: Top1 | None
    accuracy: str
    measurements: int


class EntryRow(NamedTuple):
    """A row of the table ``entry``; ``checksum`` is that of what the manifest said (:mod:`zoo.indexrows`)."""

    name: str
    digest: str
    inode: int
    changed: int
    format: str
    task: str | None
    size_bytes: int
    top1: float | None
    top1_samples: int | None
    top1_provenance: str | None
    accuracy: str
    parent: str | None
    parent_name: str | None
    checksum: int


class Seen:
    """What the index holds of some names (None: of all): what the files are compared with, and what is answered.

    Args:
        database: the index.
        names: which; default: all.
    """

    def __init__(self, database: sqlite3.Connection, names: list[str] | None) -> None:
        self.every = names is None
        wanted = [None] if names is None else names
        self.names: dict[str, tuple[Stamp, Stamp]] = {}
        self.entries: dict[str, dict[str, EntryRow]] = {}
        self.tags: dict[str, dict[str, tuple[str, Stamp]]] = {}
        for name in wanted:
            for key, a, b, c, d in _rows(database, "SELECT * FROM name", "name", name):
                self.names[key] = ((a, b), (c, d))
            for row in _rows(database, "SELECT * FROM entry", "name", name):
                self.entries.setdefault(row[0], {})[row[1]] = EntryRow._make(row)
            for key, tag, digest, inode, changed in _rows(database, "SELECT * FROM tag", "name", name):
                self.tags.setdefault(key, {})[tag] = (digest, (inode, changed))
        self.all_names = self.names.pop(_ALL, (UNSETTLED, UNSETTLED))[0]
        digests = [None] if names is None else sorted({d for entries in self.entries.values() for d in entries})
        self.cells: dict[str, tuple[Stamp, int]] = {
            key: ((inode, changed), count)
            for digest in digests
            for key, inode, changed, count in _rows(database, "SELECT * FROM artifact", "digest", digest)
        }


def _rows(database: sqlite3.Connection, select: str, column: str, value: str | None) -> Iterable[tuple]:  # type: ignore[type-arg]
    if value is None:
        return database.execute(select)
    return database.execute(f"{select} WHERE {column} = ?", (value,))


class Index:
    """The index of the store under ``root``; it is opened for each question."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._entries = f"{root}/entries"
        self._tags = f"{root}/tags"
        self._measurements = f"{root}/measurements"

    def listing(self, on_problem: OnProblem) -> list[Listed]:
        """See :meth:`zoo.store.Store.listing`."""
        return self._asked(None, lambda _, seen: _listed(seen), on_problem)

    def candidates(self, names: Iterable[str] | None, device: str | None, on_problem: OnProblem) -> list[Candidate]:
        """See :meth:`zoo.store.Store.candidates`."""
        from zoo.indexrows import candidates_of

        wanted = None if names is None else sorted(set(names))
        return self._asked(wanted, lambda database, seen: candidates_of(database, seen, device), on_problem)

    def _asked(self, names: list[str] | None, ask: Ask[Row], on_problem: OnProblem) -> list[Row]:
        if stamp(self._entries) == ABSENT:
            return []
        try:
            try:
                with as_it_is(self.root) as database:
                    rows, problems = self._answer(database, names, ask)
            except IndexDamaged:
                with made_anew(self.root) as database:
                    rows, problems = self._answer(database, names, ask)
        except (sqlite3.Error, IndexDamaged, OSError):
            # Not writable, locked for long, no such locks here: the files themselves still answer.
            with in_memory() as database:
                rows, problems = self._answer(database, names, ask)
        for problem in problems:
            on_problem(problem)
        return rows

    def _answer(self, database: sqlite3.Connection, names: list[str] | None, ask: Ask[Row]) -> Answer[Row]:
        database.execute("BEGIN")  # what is compared with the files is what is answered
        seen = Seen(database, names)
        stale = self.stale(seen, names)
        if stale is None:
            return ask(database, seen), []
        from zoo.indexrows import look

        database.execute("ROLLBACK")
        found = look(self.root, database, seen, stale)
        try:
            return _write_and_ask(database, found, names, ask), found.problems
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise
        # It can be read and not written: a copy of it in memory takes what has changed.
        with in_memory() as copy:
            if database.in_transaction:
                database.execute("ROLLBACK")
            database.backup(copy)
            return _write_and_ask(copy, found, names, ask), found.problems

    def stale(self, seen: Seen, names: list[str] | None) -> Stale | None:
        """What differs from what the index has seen; None where nothing does."""
        all_names, gone = seen.all_names, []
        changed: dict[str, None] = {}
        if names is not None:
            changed = dict.fromkeys(n for n in names if n not in seen.names and stamp(f"{self._entries}/{n}") != ABSENT)
        elif stamp(self._entries) != all_names:
            from zoo.indexrows import names_in

            all_names, there = names_in(self._entries)
            changed = dict.fromkeys(there - seen.names.keys())
            gone = list(seen.names.keys() - there)
        for name, (entries, tags) in seen.names.items():
            if stamp(folder := f"{self._entries}/{name}") != entries or stamp(tagged := f"{self._tags}/{name}") != tags:
                changed[name] = None
                continue
            for digest, row in seen.entries.get(name, _NO_ENTRIES).items():
                if stamp(f"{folder}/{digest}.json") != (row.inode, row.changed):
                    changed[name] = None
            for tag, (_, at) in seen.tags.get(name, _NO_TAGS).items():
                if stamp(f"{tagged}/{tag}") != at:
                    changed[name] = None
        digests = []
        for digest in {digest for entries_of in seen.entries.values() for digest in entries_of}:
            known = seen.cells.get(digest)
            if known is None or stamp(f"{self._measurements}/{digest}") != known[0]:
                digests.append(digest)
        if not changed and not gone and not digests and all_names == seen.all_names:
            return None
        return Stale([name for name in changed if name not in gone], gone, digests, all_names)


def _write_and_ask(database: sqlite3.Connection, found: Found, names: list[str] | None, ask: Ask[Row]) -> list[Row]:
    from zoo.indexrows import write

    database.execute("BEGIN IMMEDIATE")
    write(database, found)
    rows = ask(database, Seen(database, names))
    database.execute("COMMIT")
    return rows


class Stale(NamedTuple):
    """What must be read again: names, names that are gone, digests whose measurements changed.

    ``all_names`` is the stamp of the folder of all names, taken before it was listed.
    """

    names: list[str]
    gone: list[str]
    digests: list[str]
    all_names: Stamp


_NO_ENTRIES: dict[str, EntryRow] = {}
_NO_TAGS: dict[str, tuple[str, Stamp]] = {}


def stamp(path: str) -> Stamp:
    """Inode and change time of a file or folder."""
    try:
        found = os.stat(path)  # noqa: PTH116  thirty thousand of them in 0.1 s
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    return found.st_ino, found.st_ctime_ns


def _listed(seen: Seen) -> list[Listed]:
    rows = []
    for name in sorted(seen.entries):
        pointing = seen.tags.get(name, _NO_TAGS)
        for digest, row in sorted(seen.entries[name].items()):
            tags = tuple([tag for tag, (target, _) in pointing.items() if target == digest])
            top1 = None if row.top1 is None else Top1(row.top1, row.top1_samples or 0, row.top1_provenance or "")
            count = seen.cells[digest][1]
            rows.append(Listed(name, digest, tags, row.format, row.task, row.size_bytes, top1, row.accuracy, count))
    return rows
