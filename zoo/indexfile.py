"""The file of the index: opened, made, made anew where it is damaged, or replaced by one in memory.

    index/N.sqlite    the tables, of schema N: two versions of this program do not fight over one file
    index/lock        held together by all who use the file, alone by who throws a damaged one away

A file that others have open must not be exchanged (sqlite.org/howtocorrupt.html, 2.4): that is what the lock is for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

SCHEMA = 1
BUSY_S = 5.0
_TABLES = """
CREATE TABLE name (name TEXT PRIMARY KEY, inode INTEGER, changed INTEGER, tags_inode INTEGER, tags_changed INTEGER)
    WITHOUT ROWID;
CREATE TABLE entry (
    name TEXT, digest TEXT, inode INTEGER, changed INTEGER, format TEXT, task TEXT, size_bytes INTEGER, top1 REAL,
    top1_samples INTEGER, top1_provenance TEXT, accuracy TEXT, parent TEXT, parent_name TEXT, checksum INTEGER,
    PRIMARY KEY (name, digest)
) WITHOUT ROWID;
CREATE TABLE tag (name TEXT, tag TEXT, digest TEXT, inode INTEGER, changed INTEGER, PRIMARY KEY (name, tag))
    WITHOUT ROWID;
CREATE TABLE artifact (digest TEXT PRIMARY KEY, inode INTEGER, changed INTEGER, cells INTEGER) WITHOUT ROWID;
CREATE TABLE cell (
    digest TEXT, file TEXT, inode INTEGER, changed INTEGER, device TEXT, facts BLOB, checksum INTEGER,
    PRIMARY KEY (digest, file)
) WITHOUT ROWID;
CREATE INDEX cell_device ON cell (device);
CREATE INDEX entry_digest ON entry (digest);
"""


class IndexDamaged(Exception):
    """The file is no index, or its rows are not what was written; it is made anew from the store."""


@contextmanager
def as_it_is(root: Path) -> Iterator[sqlite3.Connection]:
    """The index of a store, made where there is none.

    Raises:
        IndexDamaged: also out of the block, where damage is found there.
        sqlite3.Error, OSError: it cannot be used.
    """
    with _lock(root, fcntl.LOCK_SH), _damage_told(), closing(_connect(_path(root))) as database:
        _check(database)
        yield database


@contextmanager
def made_anew(root: Path) -> Iterator[sqlite3.Connection]:
    """A new index; the damaged one is thrown away, once nobody uses it.

    Raises:
        IndexDamaged, sqlite3.Error, OSError: as above.
    """
    with _lock(root, fcntl.LOCK_EX):
        for path in (_path(root), Path(f"{_path(root)}-journal")):
            path.unlink(missing_ok=True)
    with as_it_is(root) as database:
        yield database


@contextmanager
def in_memory() -> Iterator[sqlite3.Connection]:
    """The same tables, empty, for one answer."""
    with closing(_connect(":memory:")) as database:
        _check(database)
        yield database


def _path(root: Path) -> Path:
    return root / "index" / f"{SCHEMA}.sqlite"


def _connect(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)


def _check(database: sqlite3.Connection) -> None:
    if database.execute("PRAGMA user_version").fetchone() == (SCHEMA,):
        return
    database.execute("BEGIN IMMEDIATE")  # of several that find an empty file one makes the tables
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0 and not database.execute("SELECT 1 FROM sqlite_master").fetchone():
        for statement in _TABLES.split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {SCHEMA:d}")
        version = SCHEMA
    database.execute("COMMIT")
    if version != SCHEMA:
        raise IndexDamaged


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such" in str(error):  # a table or column: not the schema that the file says it has
            raise IndexDamaged from error
        raise
    except (sqlite3.NotSupportedError, sqlite3.InterfaceError):
        raise
    except sqlite3.DatabaseError as error:  # no database, malformed, not UTF-8
        raise IndexDamaged from error


@contextmanager
def _lock(root: Path, how: int) -> Iterator[None]:
    folder = root / "index"
    try:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        handle = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + BUSY_S
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, how | fcntl.LOCK_NB)
                break
            if time.monotonic() > until:
                raise sqlite3.OperationalError("the index is locked")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)
