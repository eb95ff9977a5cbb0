"""What ``zoo list`` and choosing read instead of ten thousand files: derived from the store, never believed blindly.

A row is believed as long as the folders and files it was read from have the inode and change time they had then; what
differs is read again by whoever asks, who also writes it down. Nobody who changes the store has to know of the index,
so there is no moment at which a kill, a second process or a person's own hands could leave it wrong. Where it is
missing, damaged or cannot be written, the same tables are made in memory from the files (docs/decisions/0500).

Importing this module is cheap, and so is reading when nothing has changed: ``zoo list`` starts with it.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import time
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
CLOSELY_S = 600.0
"""Listing looks for files that were written over in place if nobody has for so long: it takes half as long again."""
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
        self.names: dict[str, tuple[int, ...]] = {}  # inode and change time of the folder, and of that of its tags
        self.entries: list[EntryRow] = []
        self.tags: list[tuple[str, str, str, int, int]] = []  # name, tag, digest, inode, change time
        for name in wanted:
            self.names.update({row[0]: row[1:] for row in _rows(database, "SELECT * FROM name", "name", name)})
            self.entries += map(EntryRow._make, _rows(database, "SELECT * FROM entry", "name", name))
            self.tags += _rows(database, "SELECT * FROM tag", "name", name)
        inode, changed, _, self.looked_closely = self.names.pop(_ALL, (*UNSETTLED, 0, 0))
        self.all_names = (inode, changed)
        digests = [None] if names is None else sorted({row.digest for row in self.entries})
        self.cells: dict[str, tuple[int, int, int]] = {}  # stamp of their folder, and how many
        for digest in digests:
            rows = _rows(database, "SELECT * FROM artifact", "digest", digest)
            self.cells.update({digest: (inode, at, count) for digest, inode, at, count in rows})

    def tags_by_entry(self) -> dict[tuple[str, str], list[str]]:
        """The tags of each name and digest, sorted."""
        found: dict[tuple[str, str], list[str]] = {}
        for name, tag, digest, _, _ in self.tags:
            found.setdefault((name, digest), []).append(tag)
        return found


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
        return self._asked(None, lambda _, seen: _listed(seen), on_problem, CLOSELY_S)

    def candidates(self, names: Iterable[str] | None, device: str | None, on_problem: OnProblem) -> list[Candidate]:
        """See :meth:`zoo.store.Store.candidates`."""
        from zoo.indexrows import candidates_of

        wanted = None if names is None else sorted(set(names))
        return self._asked(wanted, lambda database, seen: candidates_of(database, seen, device), on_problem)

    def _asked(
        self, names: list[str] | None, ask: Ask[Row], on_problem: OnProblem, closely_s: float = 0.0
    ) -> list[Row]:
        if stamp(self._entries) == ABSENT:
            return []
        collecting = gc.isenabled()
        gc.disable()  # a hundred thousand small records and no cycle among them
        try:
            rows, problems = self._opened(names, ask, closely_s)
        finally:
            if collecting:
                gc.enable()
        for problem in problems:
            on_problem(problem)
        return rows

    def _opened(self, names: list[str] | None, ask: Ask[Row], closely_s: float) -> Answer[Row]:
        try:
            try:
                with as_it_is(self.root) as database:
                    return self._answer(database, names, ask, closely_s)
            except IndexDamaged:
                with made_anew(self.root) as database:
                    return self._answer(database, names, ask, closely_s)
        except (sqlite3.Error, IndexDamaged, OSError):
            # Not writable, locked for long, no such locks here: the files themselves still answer.
            with in_memory() as database:
                return self._answer(database, names, ask, closely_s)

    def _answer(
        self, database: sqlite3.Connection, names: list[str] | None, ask: Ask[Row], closely_s: float
    ) -> Answer[Row]:
        database.execute("BEGIN")  # what is compared with the files is what is answered
        seen = Seen(database, names)
        closely = not 0 <= time.time() - seen.looked_closely < closely_s
        stale = self.stale(seen, names, closely=closely)
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

    def stale(self, seen: Seen, names: list[str] | None, *, closely: bool) -> Stale | None:
        """What differs from what the index has seen; None where nothing does.

        ``closely``: also look for files that somebody wrote over in place, which leaves no trace on their folder.
        """
        all_names, gone = seen.all_names, set()
        changed: dict[str, None] = {}
        if names is not None:
            changed = dict.fromkeys(n for n in names if n not in seen.names and stamp(f"{self._entries}/{n}") != ABSENT)
        elif stamp(self._entries) != all_names:
            from zoo.indexrows import names_in

            all_names, there = names_in(self._entries)
            changed = dict.fromkeys(there - seen.names.keys())
            gone = seen.names.keys() - there
        known = seen.names.items()
        found = _differing(self._entries, [(name, name, at[0], at[1]) for name, at in known])
        found += _differing(self._tags, [(name, name, at[2], at[3]) for name, at in known])
        if closely:
            rows = [(r.name, f"{r.name}/{r.digest}.json", r.inode, r.changed) for r in seen.entries]
            found += _differing(self._entries, rows)
            found += _differing(self._tags, [(n, f"{n}/{tag}", inode, at) for n, tag, _, inode, at in seen.tags])
        changed.update(dict.fromkeys(found))
        nothing = (*UNSETTLED, 0)
        cells = []
        for digest in {row.digest for row in seen.entries}:
            inode, at, _ = seen.cells.get(digest, nothing)
            cells.append((digest, digest, inode, at))
        digests = _differing(self._measurements, cells)
        late = names is None and closely and time.time() - seen.looked_closely > CLOSELY_S
        if not changed and not gone and not digests and all_names == seen.all_names and not late:
            return None
        looked = int(time.time()) if names is None and closely else seen.looked_closely
        return Stale([name for name in changed if name not in gone], list(gone), digests, all_names, looked)


def _differing(folder: str, expected: list[tuple[str, str, int, int]]) -> list[str]:
    """The keys of those in ``expected`` (key, path in the folder, inode, change time) whose stamp is another."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return [key for key, _, inode, changed in expected if (inode, changed) != ABSENT]
    found, stat = [], os.stat
    try:
        for key, path, inode, changed in expected:
            try:
                at = stat(path, dir_fd=opened)
            except (FileNotFoundError, NotADirectoryError):
                if (inode, changed) != ABSENT:
                    found.append(key)
                continue
            if at.st_ino != inode or at.st_ctime_ns != changed:
                found.append(key)
    finally:
        os.close(opened)
    return found


def _write_and_ask(database: sqlite3.Connection, found: Found, names: list[str] | None, ask: Ask[Row]) -> list[Row]:
    from zoo.indexrows import write

    database.execute("BEGIN IMMEDIATE")
    write(database, found)
    rows = ask(database, Seen(database, names))
    database.execute("COMMIT")
    return rows


class Stale(NamedTuple):
    """What must be read again: names, names that are gone, digests whose measurements changed.

    ``all_names`` is the stamp of the folder of all names, taken before it was listed; ``looked_closely`` when all files
    were last compared, in seconds since the epoch.
    """

    names: list[str]
    gone: list[str]
    digests: list[str]
    all_names: Stamp
    looked_closely: int


def stamp(path: str) -> Stamp:
    """Inode and change time of a file or folder."""
    try:
        found = os.stat(path)  # noqa: PTH116  thirty thousand of them in 0.1 s
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    return found.st_ino, found.st_ctime_ns


def _listed(seen: Seen) -> list[Listed]:
    tags, rows = seen.tags_by_entry(), []
    for row in seen.entries:
        key = row[:2]
        top1 = None if row.top1 is None else Top1(row.top1, row.top1_samples or 0, row.top1_provenance or "")
        of_entry, count = tuple(tags.get(key, ())), seen.cells[row.digest][2]
        rows.append(Listed(*key, of_entry, row.format, row.task, row.size_bytes, top1, row.accuracy, count))
    return rows
