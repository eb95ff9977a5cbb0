"""Where results are: SQLite or PostgreSQL by URL, its schema, transactions, and errors that can be acted on.

On SQLite pysqlite's own transaction handling is off: it would commit before each statement that changes the schema,
and a migration must happen whole or not at all. A transaction that writes begins IMMEDIATE: two processes take turns
instead of finding out at their first write that the other was there.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, inspect, select, table
from sqlalchemy import column as column_of
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DatabaseError,
    DisconnectionError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import (
    TimeoutError as QueueTimeout,
)

from harness.results.schema import SCHEMA, VERSION_TABLE, meta
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed

BUSY_S = 30.0
CONNECT_S = 10
PING_S = 2.0
"""A connection that was idle for longer is asked whether it lives before it is used."""
CONNECTIONS = 4
"""To a server, of one process: a transaction takes milliseconds, so the fifty devices of a host share them. A server
takes a hundred where nobody said otherwise, and twenty hosts must not use them up; one that is opened for each burst
and closed after it costs more than the transaction."""
QUEUE_S = 120.0
"""How long a thread waits for one of them."""
# Which of a PostgreSQL server's advisory locks keeps two migrations apart: the first 8 bytes of sha256("pocketzoo").
MIGRATION_LOCK = 0x79CC1D2B59513F1D

_version = table(VERSION_TABLE, column_of("version_num"))


class Conflict(WorkFailed):
    """Another process stored something under the same unique key."""


class Unreachable(WorkFailed):
    """The server is away or going away; what was to be stored is not known to be, and may be brought again."""


class Database:
    """An engine whose database has the newest schema whenever a transaction begins.

    Safe to share between threads; nothing is opened before the first transaction.

    Args:
        url: a SQLAlchemy URL. ``postgresql://`` takes the driver psycopg.

    Raises:
        BadInput: not a URL, a kind of database that is not known, or a driver that is not installed.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        # For people: a URL in an error or a log must not carry the password.
        self.place = parsed.render_as_string(hide_password=True)
        self._file = _sqlite_file(parsed)
        self._ready = False
        self._preparing = threading.Lock()
        self._engine = _engine(parsed, self.place)
        # Drivers warn of connections that nobody closed; the pool's are closed with the last reference, or at exit.
        self.close = weakref.finalize(self, self._engine.dispose)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def upsert(self, into: Table) -> Any:
        """An INSERT that knows ON CONFLICT, as this database writes it."""
        if self.dialect == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as postgresql_insert

            return postgresql_insert(into)
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(into)

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """One consistent view, or None where nothing was ever stored: reading makes no files and no tables.

        Raises:
            BadInput: the database was written by a newer pocketzoo.
            WorkFailed: it cannot be opened or read.
        """
        if (self._file is not None and not self._file.exists()) or not self._prepare(create=False):
            yield None
            return
        with self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def writing(self, *, one_statement: bool = False) -> Iterator[Connection]:
        """A transaction; what was written in it is on disk when the block has ended, or none of it is.

        Args:
            one_statement: the block executes one; PostgreSQL then needs no round trips to begin and end.

        Raises:
            BadInput: the database was written by a newer pocketzoo.
            Conflict: a unique key is taken.
            WorkFailed: it cannot be opened or written.
        """
        self._prepare(create=True)
        with self._transaction(write=True, one_statement=one_statement) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, write: bool, one_statement: bool = False) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                connection.execution_options(pocketzoo_write=write)
                if not write and self.dialect == "postgresql":
                    # One view for several queries, as SQLite gives it: a round must not end between two of them.
                    connection.execution_options(isolation_level="REPEATABLE READ")
                elif one_statement and self.dialect == "postgresql":
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                with connection.begin():
                    yield connection
        except IntegrityError as error:
            raise Conflict(f"stored already by another process: {_first_line(error)}", where=self.place) from error
        except DatabaseError as error:
            raise _told(error, self.place) from error
        except QueueTimeout as error:
            hint = "look at the server's load; what was measured is kept and brought again"
            raise Unreachable("the results database does not keep up", where=self.place, hint=hint) from error

    def _prepare(self, *, create: bool) -> bool:
        """Whether the database has the newest schema; older ones are brought there, a missing one if ``create``."""
        with self._preparing:
            if self._ready:
                return True
            if self._file is not None and create:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._transaction(write=False) as connection:
                found = self._schema(connection)
            if found is None and not create:
                return False
            if found != SCHEMA:
                self._migrate()
            self._ready = True
            return True

    def _migrate(self) -> None:
        # Alembic takes longer to import than a current database takes to answer.
        from harness.results.migrations import upgrade

        with self._transaction(write=True) as connection:
            if self.dialect == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            # Asked again under the lock: another process may have just done it.
            found = self._schema(connection)
            if found == SCHEMA:
                return
            by_alembic = inspect(connection).has_table(VERSION_TABLE)
            upgrade(connection, stamp=None if by_alembic else found)

    def _schema(self, connection: Connection) -> int | None:
        """The version of the stored schema; None where there is nothing of ours.

        Raises:
            BadInput: newer than this pocketzoo.
        """
        known = select(meta.c.value).where(meta.c.name == "schema_version")
        for query in (select(_version.c.version_num), known):
            try:
                # Asking outright is one round trip; a savepoint, because PostgreSQL ends a transaction that has failed.
                with connection.begin_nested():
                    found = connection.execute(query).scalar()
                break
            except DatabaseError as error:
                if not _no_such_table(error):
                    raise
        else:
            return None
        text = str(found or "")
        if not text.isdecimal() or int(text) > SCHEMA:
            raise BadInput(
                f"a results database of schema {text.lstrip('0') or 'unknown'}; "
                f"this pocketzoo reads schema 1 to {SCHEMA}",
                where=self.place,
                hint="pip install --upgrade pocketzoo",
            )
        return int(text)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        hint = "for example sqlite:////path/results.sqlite or postgresql://user@host/name"
        raise BadInput("not a database URL", where=url, hint=hint) from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise BadInput(
            f"results are kept in SQLite or PostgreSQL, not in {parsed.drivername}",
            where=parsed.render_as_string(hide_password=True),
            hint="for example sqlite:////path/results.sqlite or postgresql://user@host/name",
        )
    return parsed


def _sqlite_file(url: URL) -> Path | None:
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name)


def _engine(url: URL, place: str) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    url = url.update_query_dict({"application_name": url.query.get("application_name", "pocketzoo")})
    try:
        # A campaign leaves its connection idle for as long as a repeat takes; a firewall may have dropped it by then.
        engine = create_engine(
            url, use_native_hstore=False, connect_args={"connect_timeout": CONNECT_S},
            pool_size=CONNECTIONS, max_overflow=0, pool_timeout=QUEUE_S,
        )  # fmt: skip
    except ImportError as error:
        raise BadInput(
            f"PostgreSQL needs the driver psycopg: {error}",
            where=place,
            hint="pip install 'pocketzoo[postgresql]'",
        ) from error
    event.listen(engine, "checkin", _note_time)
    event.listen(engine, "checkout", _ping_if_idle)
    return engine


def _note_time(_connection: object, record: Any) -> None:
    record.info["idle since"] = time.monotonic()


def _ping_if_idle(connection: Any, record: Any, _proxy: object) -> None:
    """Give a connection up that is dead; what was used a moment ago costs no round trip to find out."""
    if connection is None or time.monotonic() - record.info.get("idle since", time.monotonic()) < PING_S:
        return
    try:
        connection.autocommit = True
        connection.execute("SELECT 1")
        connection.autocommit = False
    except Exception as error:  # whatever the driver has for it
        raise DisconnectionError(str(error)) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Write-ahead log: a reader never waits for a campaign, and what is committed survives a power loss."""
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in (f"busy_timeout={BUSY_S * 1e3:.0f}", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        _set_wal(cursor)
    finally:
        cursor.close()


def _set_wal(cursor: Any) -> None:
    """SQLite does not wait for the lock that the change to WAL needs, whatever busy_timeout says."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("pocketzoo_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _away(error: DatabaseError, text: str) -> bool:
    """Whether a PostgreSQL server is not there, shuts down, starts up, or let go of the connection."""
    if not isinstance(error, OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    gone = "connection" in text and any(word in text for word in ("failed", "timeout", "closed", "lost", "refused"))
    return state[:2] in ("08", "57") or error.connection_invalidated or gone


def _no_such_table(error: DatabaseError) -> bool:
    return getattr(error.orig, "sqlstate", None) == "42P01" or str(error.orig).startswith("no such table")


def _first_line(error: DatabaseError) -> str:
    return (str(error.orig or error).strip() or type(error).__name__).splitlines()[0]


def _told(error: DatabaseError, place: str) -> PocketzooError:
    text = _first_line(error)
    if _away(error, text):
        hint = "check that the server runs and that POCKETZOO_RESULTS names it, its user and its database"
        return Unreachable(f"the results database cannot be reached: {text}", where=place, hint=hint)
    if "disk is full" in text or "disk I/O error" in text or "No space left" in text:
        return WorkFailed(
            f"the result could not be stored: {text}", where=place, hint="free some space, then run it again"
        )
    if "unable to open" in text or "readonly" in text:
        hint = "check the path and its permissions, or set POCKETZOO_HOME or POCKETZOO_RESULTS"
        return WorkFailed(f"the results database cannot be opened: {text}", where=place, hint=hint)
    if "locked" in text:
        hint = "end the other process or let it finish, then run it again"
        return WorkFailed(f"the results database is in use by another process: {text}", where=place, hint=hint)
    if "malformed" in text or "not a database" in text:
        hint = "move that file away; with sqlite3, `.recover` writes what can still be read into a new one"
        return WorkFailed(f"the results database is damaged: {text}", where=place, hint=hint)
    return WorkFailed(f"the results database does not answer as it should: {text}", where=place)
