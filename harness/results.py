"""What was measured, as it was measured: SQL, append-only, a repeat committed as soon as it ends.

A *round* is one attempt at a cell: a job key and a number. Asking for what is measured already finds the finished
round; ``--fresh`` opens the next one; an interrupted round is gone on with where it stopped. Unique keys on
(job key, round) and (round, repeat number) make a duplicate impossible.

Schema history (``schema_version`` in the table ``meta``)
    1  first
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError, SQLAlchemyError

from devices.facts import DeviceFacts
from harness.job import Cell
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.home import home
from zoo.measurement import Measurement, Repeat, RunnerRecord

SCHEMA = 1

_meta = MetaData()
_versions = Table(
    "meta", _meta, Column("name", String(64), primary_key=True), Column("value", String(64), nullable=False)
)
_rounds = Table(
    "rounds",
    _meta,
    Column("id", Integer, primary_key=True),
    Column("job_key", String(64), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # open, done, failed, abandoned
    Column("started", String(40), nullable=False),
    Column("model", String(128), nullable=False, index=True),
    Column("artifact_sha256", String(64), nullable=False, index=True),
    Column("device", String(128), nullable=False, index=True),
    Column("cell", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("runner", Text, nullable=False),
    Column("measurement", Text),  # without its repeats, once the round has ended
    UniqueConstraint("job_key", "number"),
)
_repeats = Table(
    "repeats",
    _meta,
    Column("id", Integer, primary_key=True),
    Column("round_id", ForeignKey("rounds.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),  # MessagePack of zoo.measurement.Repeat, every raw sample in it
    UniqueConstraint("round_id", "number"),
)


@dataclass(frozen=True)
class Round:
    """A round that can be gone on with: its row and the repeats that are stored, by number."""

    id: int
    number: int
    done: dict[int, Repeat]


def default_url() -> str:
    """$POCKETZOO_RESULTS, else a SQLite file in the state folder."""
    return os.environ.get("POCKETZOO_RESULTS") or f"sqlite:///{home() / 'results.sqlite'}"


class Results:
    """The results database.

    Args:
        url: a SQLAlchemy URL; :func:`default_url` where it is not given.

    Raises:
        BadInput: not a URL, or a database written by a newer pocketzoo.
        WorkFailed: it cannot be opened or is damaged.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = url or default_url()
        try:
            parsed = make_url(self.url)
        except SQLAlchemyError as error:
            raise BadInput(
                "not a database URL", where=self.url, hint="for example sqlite:////path/results.sqlite"
            ) from error
        self._file = Path(parsed.database) if parsed.drivername == "sqlite" and parsed.database else None
        self._ready = False
        self._engine = create_engine(self.url)
        if self._file is not None:
            event.listen(self._engine, "connect", _prepare_sqlite)

    # rounds

    def find(self, job_key: str) -> Measurement | None:
        """The newest finished measurement of a job key; None where there is none."""
        with self._reading() as connection:
            if connection is None:
                return None
            row = connection.execute(
                select(_rounds)
                .where(_rounds.c.job_key == job_key, _rounds.c.state == "done")
                .order_by(_rounds.c.number.desc())
                .limit(1)
            ).one_or_none()
            return None if row is None else self._measurement(connection, row)

    def begin(self, cell: Cell, facts: DeviceFacts, runner: RunnerRecord, *, fresh: bool = False) -> Round:
        """The round to work on: the open one of this job key where a run was interrupted, else a new one.

        Args:
            cell: the cell.
            facts: the device it is measured on.
            runner: what measures it.
            fresh: leave an open round behind, with its repeats, and start the next.
        """
        with self._writing() as connection:
            newest = connection.execute(
                select(_rounds).where(_rounds.c.job_key == cell.key).order_by(_rounds.c.number.desc()).limit(1)
            ).one_or_none()
            if newest is not None and newest.state == "open":
                if not fresh:
                    return Round(newest.id, newest.number, dict(self._repeats(connection, newest.id)))
                connection.execute(update(_rounds).where(_rounds.c.id == newest.id).values(state="abandoned"))
            number = 0 if newest is None else newest.number + 1
            made = connection.execute(
                insert(_rounds)
                .returning(_rounds.c.id)
                .values(
                    job_key=cell.key,
                    number=number,
                    state="open",
                    started=datetime.now(UTC).isoformat(timespec="seconds"),
                    model=cell.model,
                    artifact_sha256=cell.artifact_sha256,
                    device=cell.device,
                    cell=_text(cell),
                    facts=_text(facts),
                    runner=_text(runner),
                )
            )
            return Round(made.scalar_one(), number, {})

    def append(self, round_: Round, number: int, repeat: Repeat) -> None:
        """Store one repeat; it is on disk when this returns.

        Raises:
            WorkFailed: this repeat is stored already (another process measures the same cell), or it cannot be stored.
        """
        try:
            with self._writing() as connection:
                connection.execute(
                    insert(_repeats).values(round_id=round_.id, number=number, record=msgspec.msgpack.encode(repeat))
                )
        except IntegrityError as error:
            raise WorkFailed(
                f"repeat {number} of this cell is stored already: another process measures the same cell",
                where=self.url,
                hint="harness results",
            ) from error

    def finish(self, round_: Round, measurement: Measurement) -> None:
        """End a round with its measurement; the repeats stay where they are."""
        state = "failed" if measurement.verdict.name == "failed" else "done"
        record = _text(msgspec.structs.replace(measurement, repeats=()))
        with self._writing() as connection:
            connection.execute(update(_rounds).where(_rounds.c.id == round_.id).values(state=state, measurement=record))

    # looking

    def latest(
        self, *, models: Sequence[str] = (), devices: Sequence[str] = (), failed: bool = True
    ) -> tuple[Measurement, ...]:
        """The newest ended measurement of each job key, by device, model, ABI and threads.

        Args:
            models: only these; all where empty.
            devices: only these; all where empty.
            failed: also cells that failed.
        """
        states = ["done", "failed"] if failed else ["done"]
        query = select(_rounds).where(_rounds.c.state.in_(states)).order_by(_rounds.c.number)
        if models:
            query = query.where(_rounds.c.model.in_(models))
        if devices:
            query = query.where(_rounds.c.device.in_(devices))
        with self._reading() as connection:
            if connection is None:
                return ()
            newest = {row.job_key: row for row in connection.execute(query)}
            found = [self._measurement(connection, row) for row in newest.values()]
        return tuple(sorted(found, key=lambda m: (m.device.name, m.model, m.abi, m.threads_requested, m.job_key)))

    # inside

    def _measurement(self, connection: Connection, row: Any) -> Measurement:
        try:
            stored = msgspec.json.decode(row.measurement, type=Measurement)
            repeats = tuple(repeat for _, repeat in self._repeats(connection, row.id))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WorkFailed(
                f"a stored result is damaged (round {row.id}, cell {row.job_key[:12]}): {error}", where=self.url
            ) from error
        return msgspec.structs.replace(stored, repeats=repeats)

    def _repeats(self, connection: Connection, round_id: int) -> Iterator[tuple[int, Repeat]]:
        query = select(_repeats).where(_repeats.c.round_id == round_id).order_by(_repeats.c.number)
        for row in connection.execute(query):
            yield row.number, msgspec.msgpack.decode(row.record, type=Repeat)

    @contextmanager
    def _reading(self) -> Iterator[Connection | None]:
        """A connection, or None where nothing was ever stored: reading makes no files."""
        if self._file is not None and not self._file.exists():
            yield None
            return
        with self._writing() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            self._prepare()
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except (OperationalError, DatabaseError) as error:
            raise _database_error(error, self.url) from error

    def _prepare(self) -> None:
        if self._ready:
            return
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._engine.begin() as connection:
            _meta.create_all(connection)
            found = connection.execute(select(_versions.c.value).where(_versions.c.name == "schema_version")).scalar()
            if found is None:
                connection.execute(insert(_versions).values(name="schema_version", value=str(SCHEMA)))
            elif not str(found).isdigit() or int(found) > SCHEMA:
                raise BadInput(
                    f"a results database of schema {found}; this pocketzoo reads schema 1 to {SCHEMA}",
                    where=self.url,
                    hint="pip install --upgrade pocketzoo",
                )
        self._ready = True


def latest() -> tuple[Measurement, ...]:
    """The newest ended measurement of each job key in the default database."""
    return Results().latest()


def _text(record: msgspec.Struct) -> str:
    return msgspec.json.encode(record, order="deterministic").decode()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Write-ahead log: a reader never waits for a campaign, and what is committed survives a power loss."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _database_error(error: DatabaseError, url: str) -> PocketzooError:
    text = str(error.orig or error).strip().splitlines()[0]
    if "disk is full" in text or "disk I/O error" in text:
        return WorkFailed(
            f"the result could not be stored: {text}", where=url, hint="free some space, then run it again"
        )
    if "unable to open" in text or "readonly" in text:
        hint = "check the path and its permissions, or set POCKETZOO_HOME or POCKETZOO_RESULTS"
        return WorkFailed(f"the results database cannot be opened: {text}", where=url, hint=hint)
    return WorkFailed(f"the results database does not answer as it should: {text}", where=url)
