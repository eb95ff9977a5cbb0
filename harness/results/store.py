"""The results as the harness works with them.

A *round* is one attempt at a cell: a job key and a number. Asking for what is measured already finds the finished
round; ``--fresh`` opens the next one; an interrupted round is gone on with where it stopped. Unique keys on
(job key, round) and (round, repeat number) make a duplicate impossible.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from devices.facts import DeviceFacts
from harness.job import Cell
from harness.results import campaigns, history
from harness.results.campaigns import Campaign, State, Wanted
from harness.results.database import Conflict, Database
from harness.results.history import newest_rounds, repeats_of_newest
from harness.results.records import measurement_of, repeat_columns, repeat_of, summary_text, text_of
from harness.results.schema import newest, repeats, rounds
from pocketzoo.errors import WorkFailed
from pocketzoo.home import home
from zoo.measurement import Measurement, Repeat, RunnerRecord
from zoo.past import Past

BEGIN_TRIES = 5
# Rows in memory at once where a result may be larger than memory, and keys in one IN (...).
BATCH = 500


# The round is held while the repeat is stored, all in one round trip: a farm stores a thousand a second.
_APPEND = (
    insert(repeats)
    .from_select(
        ["round_id", "number", "record", "samples"],
        select(
            rounds.c.id,
            bindparam("repeat", type_=repeats.c.number.type),
            bindparam("record", type_=repeats.c.record.type),
            bindparam("samples", type_=repeats.c.samples.type),
        )
        .where(rounds.c.id == bindparam("round"), rounds.c.state == "open")
        .with_for_update(),
    )
    .execution_options(preserve_rowcount=True)
)


@dataclass(frozen=True)
class Round:
    """A round that can be gone on with: its row and the repeats that are stored, by number."""

    id: int
    number: int
    done: dict[int, Repeat]


@dataclass(frozen=True)
class StoredRepeat:
    """A repeat of the newest round of a cell; ``measurement`` is without samples."""

    measurement: Measurement
    round_number: int
    number: int
    repeat: Repeat


def default_url() -> str:
    """$POCKETZOO_RESULTS, else a SQLite file in the state folder."""
    return os.environ.get("POCKETZOO_RESULTS") or f"sqlite:///{home() / 'results.sqlite'}"


class Results:
    """The results database. Threads may share one; ``url`` is for people, without the password.

    Every method may raise what opening a database can:
        BadInput: a database written by a newer pocketzoo.
        WorkFailed: it cannot be opened, or is damaged.

    Args:
        url: a SQLAlchemy URL; :func:`default_url` where it is not given.

    Raises:
        BadInput: not a URL, neither SQLite nor PostgreSQL, or the driver is not installed.
    """

    def __init__(self, url: str | None = None) -> None:
        self.database = Database(url or default_url())
        self.url = self.database.place

    def close(self) -> None:
        """Close the connections now; they are closed anyway when nothing refers to this any more."""
        self.database.close()

    # rounds

    def find(self, job_key: str, *, since: int = 0) -> Measurement | None:
        """The newest finished measurement of a job key; None where there is none.

        Args:
            job_key: of the cell.
            since: only rounds with this number or a later one (:attr:`harness.results.Wanted.fresh_round`).
        """
        with self.database.reading() as connection:
            if connection is None:
                return None
            row = connection.execute(
                select(rounds.c.id, rounds.c.job_key, rounds.c.measurement)
                .where(rounds.c.job_key == job_key, rounds.c.state == "done", rounds.c.number >= since)
                .order_by(rounds.c.number.desc())
                .limit(1)
            ).one_or_none()
            if row is None:
                return None
            return msgspec.structs.replace(
                measurement_of(row, self.url), repeats=tuple(self._repeats_of(connection, row.id).values())
            )

    def known(self, job_keys: Iterable[str]) -> set[str]:
        """Those of the job keys that have a finished measurement; cheap for ten thousand of them."""
        keys = list(job_keys)
        found: set[str] = set()
        with self.database.reading() as connection:
            if connection is None:
                return found
            for start in range(0, len(keys), BATCH):
                asked = newest.c.job_key.in_(keys[start : start + BATCH])
                query = select(newest.c.job_key).where(asked, newest.c.done_id.is_not(None))
                found.update(connection.execute(query).scalars())
        return found

    def begin(self, cell: Cell, facts: DeviceFacts, runner: RunnerRecord, *, fresh: bool = False) -> Round:
        """The round to work on: the open one of this job key where a run was interrupted, else a new one.

        Of two processes that begin at once one makes the round and both get it; each repeat is still stored once.

        Args:
            cell: the cell.
            facts: the device it is measured on.
            runner: what measures it.
            fresh: leave an open round behind, with its repeats, and start the next.
        """
        for _ in range(BEGIN_TRIES):
            try:
                with self.database.writing() as connection:
                    return self._begin(connection, cell, facts, runner, fresh=fresh)
            except Conflict:
                # The round that took the number was begun after this was asked: it is as fresh as can be.
                fresh = False
        raise WorkFailed("other processes keep beginning this cell", where=self.url, hint="harness results")

    def _begin(
        self, connection: Connection, cell: Cell, facts: DeviceFacts, runner: RunnerRecord, *, fresh: bool
    ) -> Round:
        last = connection.execute(
            select(rounds.c.id, rounds.c.number, rounds.c.state)
            .where(rounds.c.job_key == cell.key)
            .order_by(rounds.c.number.desc())
            .limit(1)
        ).one_or_none()
        if last is not None and last.state == "open":
            if not fresh:
                return Round(last.id, last.number, self._repeats_of(connection, last.id))
            still_open = (rounds.c.id == last.id) & (rounds.c.state == "open")
            connection.execute(update(rounds).where(still_open).values(state="abandoned"))
        number = 0 if last is None else last.number + 1
        made = connection.execute(
            insert(rounds)
            .returning(rounds.c.id)
            .values(
                job_key=cell.key,
                number=number,
                state="open",
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                model=cell.model,
                artifact_sha256=cell.artifact_sha256,
                device=cell.device,
                cell=text_of(cell),
                facts=text_of(facts),
                runner=text_of(runner),
            )
        )
        return Round(made.scalar_one(), number, {})

    def append(self, round_: Round, number: int, repeat: Repeat) -> None:
        """Store one repeat; it is on disk when this returns.

        Raises:
            WorkFailed: this repeat is stored already or the round has ended (another process measures the same cell),
                or it cannot be stored.
        """
        try:
            columns = repeat_columns(repeat)
        except ValueError as error:
            raise WorkFailed(f"repeat {number} of this cell cannot be stored: {error}", where=self.url) from error
        try:
            with self.database.writing(one_statement=True) as connection:
                stored = connection.execute(_APPEND, {"round": round_.id, "repeat": number, **columns}).rowcount
            if not stored:  # why not is another question
                with self.database.writing() as connection:
                    self._check_open(connection, round_)
                raise Conflict("the round was opened again meanwhile", where=self.url)
        except Conflict as error:
            raise WorkFailed(
                f"repeat {number} of this cell is stored already: another process measures the same cell",
                where=self.url,
                hint="harness results",
            ) from error

    def finish(self, round_: Round, measurement: Measurement) -> None:
        """End a round with its measurement; the repeats stay where they are.

        Raises:
            WorkFailed: it has ended already, or ``--fresh`` in another process left it behind.
        """
        failed = measurement.verdict.name == "failed"
        record = summary_text(measurement)
        with self.database.writing() as connection:
            row = self._check_open(connection, round_)
            connection.execute(
                update(rounds)
                .where(rounds.c.id == round_.id)
                .values(state="failed" if failed else "done", measurement=record)
            )
            mine = {"device": row.device, "model": row.model, "ended_id": round_.id}
            connection.execute(
                self.database.upsert(newest)
                .values(job_key=row.job_key, **mine)
                .on_conflict_do_update(
                    index_elements=[newest.c.job_key], set_=mine, where=newest.c.ended_id < round_.id
                )
            )
            if not failed:
                behind = or_(newest.c.done_id.is_(None), newest.c.done_id < round_.id)
                connection.execute(
                    update(newest).where(newest.c.job_key == row.job_key, behind).values(done_id=round_.id)
                )

    def _check_open(self, connection: Connection, round_: Round) -> Any:
        """The round's row, held until the transaction ends."""
        row = connection.execute(
            select(rounds.c.state, rounds.c.job_key, rounds.c.device, rounds.c.model)
            .where(rounds.c.id == round_.id)
            .with_for_update()
        ).one_or_none()
        state = "gone" if row is None else row.state
        if row is None or state != "open":
            raise WorkFailed(
                f"round {round_.number} of this cell is {state}: another process measures the same cell",
                where=self.url,
                hint="harness results",
            )
        return row

    # looking

    def latest(
        self, *, models: Sequence[str] = (), devices: Sequence[str] = (), failed: bool = True
    ) -> tuple[Measurement, ...]:
        """The newest ended measurement of each job key with its samples, by device, model, ABI and threads.

        Args:
            models: only these; all where empty.
            devices: only these; all where empty.
            failed: also cells that failed.
        """
        with self.database.reading() as connection:
            if connection is None:
                return ()
            chosen = newest_rounds(models, devices, failed=failed)
            found = {row.id: measurement_of(row, self.url) for row in connection.execute(chosen)}
            stored: dict[int, list[Repeat]] = {id_: [] for id_ in found}
            for row in connection.execute(repeats_of_newest(chosen)):
                stored[row.round_id].append(repeat_of(row, self.url))
        return _sorted(msgspec.structs.replace(m, repeats=tuple(stored[id_])) for id_, m in found.items())

    def latest_summaries(
        self,
        *,
        models: Sequence[str] = (),
        devices: Sequence[str] = (),
        failed: bool = True,
        limit: int | None = None,
    ) -> tuple[Measurement, ...]:
        """As :meth:`latest`, without samples (``repeats`` is empty): one indexed query, however much is stored.

        Args:
            models: only these; all where empty.
            devices: only these; all where empty.
            failed: also cells that failed.
            limit: only so many, those whose rounds were begun last.
        """
        query = newest_rounds(models, devices, failed=failed)
        if limit is not None:
            query = query.order_by(rounds.c.id.desc()).limit(limit)
        with self.database.reading() as connection:
            if connection is None:
                return ()
            rows = connection.execution_options(yield_per=BATCH).execute(query)
            return _sorted(measurement_of(row, self.url) for row in rows)

    def samples(
        self, *, models: Sequence[str] = (), devices: Sequence[str] = (), failed: bool = True
    ) -> Iterator[StoredRepeat]:
        """The repeats of :meth:`latest` one at a time, by round: for results that are larger than memory."""
        with self.database.reading() as connection:
            if connection is None:
                return
            chosen = newest_rounds(models, devices, failed=failed)
            found = {row.id: (measurement_of(row, self.url), row.number) for row in connection.execute(chosen)}
            stream = connection.execution_options(yield_per=BATCH).execute(repeats_of_newest(chosen))
            for row in stream:
                measurement, round_number = found[row.round_id]
                yield StoredRepeat(measurement, round_number, row.number, repeat_of(row, self.url))

    def whole(self, cells: Sequence[Measurement]) -> Iterator[Measurement]:
        """Cells that were read without samples, with every sample, in their order; others come back as they are."""
        with self.database.reading() as connection:
            if connection is None:
                yield from cells
            else:
                yield from history.whole(connection, cells, self.url)

    def history(self, job_keys: Iterable[str]) -> dict[str, tuple[Past, ...]]:
        """Every ended round of these job keys, oldest first."""
        with self.database.reading() as connection:
            return {} if connection is None else history.history(connection, job_keys, self.url)

    def ended(self) -> list[tuple[int, str, str]]:
        """Of each job key the newest ended round: (its id, the key, when it was begun). A round never changes."""
        with self.database.reading() as connection:
            return [] if connection is None else history.ended(connection)

    def of_rounds(self, ids: Iterable[int]) -> dict[int, Measurement]:
        """The measurements of rounds by their ids, without samples (``repeats`` is empty)."""
        with self.database.reading() as connection:
            return {} if connection is None else history.of_rounds(connection, ids, self.url)

    def round_counts(self) -> dict[str, int]:
        """How many rounds were begun of each job key, the open one included; read from the index alone."""
        with self.database.reading() as connection:
            if connection is None:
                return {}
            query = select(rounds.c.job_key, func.count()).group_by(rounds.c.job_key)
            return {key: count for key, count in connection.execute(query)}

    def as_of(self, time: float) -> tuple[Measurement, ...]:
        """As :meth:`latest_summaries`, as it was at a time (seconds since 1970)."""
        with self.database.reading() as connection:
            return () if connection is None else _sorted(history.as_of(connection, time, self.url))

    # campaigns

    def create_campaign(self, request: Mapping[str, Any], *, id: str | None = None, seed: int = 0) -> str:
        """A new open campaign.

        Args:
            request: what was asked for; anything that JSON holds.
            id: its name; made from the time where it is not given.
            seed: of the order of its repeats.

        Returns:
            Its name.

        Raises:
            BadInput: the name is taken.
        """
        with self.database.writing() as connection:
            return campaigns.create(connection, request, id, seed)

    def campaign(self, id: str | None = None) -> Campaign | None:
        """A campaign by its name, the last one without a name; None where there is none."""
        with self.database.reading() as connection:
            found = [] if connection is None else campaigns.stored(connection, id)
        return found[0] if found else None

    def campaigns(self) -> list[Campaign]:
        """Every campaign, the last one first."""
        with self.database.reading() as connection:
            return [] if connection is None else campaigns.stored(connection)

    def end_campaign(self, id: str, state: State) -> None:
        """Set a campaign's state: ``done``, ``interrupted``, or ``open`` where it is gone on with.

        Raises:
            BadInput: no such campaign.
        """
        with self.database.writing() as connection:
            campaigns.end(connection, id, state)

    def want(self, campaign_id: str, cells: Sequence[Cell], *, fresh: bool = False) -> None:
        """Store what a campaign is to measure; cells it wants already stay as they are.

        Args:
            campaign_id: the campaign.
            cells: in the order they were asked for; of two with one job key the last is kept.
            fresh: what is measured already does not count.

        Raises:
            BadInput: no such campaign.
        """
        with self.database.writing() as connection:
            campaigns.want(connection, campaign_id, cells, fresh=fresh)

    def wanted(self, campaign_id: str, *, device: str | None = None) -> list[Cell]:
        """The cells of a campaign, or those of one device, in their order; none where there is no such campaign."""
        return [wanted.cell for wanted in self.progress(campaign_id, device=device)]

    def progress(self, campaign_id: str, *, device: str | None = None) -> list[Wanted]:
        """The cells of a campaign, or those of one device, in their order, each with how far it is."""
        with self.database.reading() as connection:
            return [] if connection is None else campaigns.progress(connection, campaign_id, device)

    # inside

    def _repeats_of(self, connection: Connection, round_id: int) -> dict[int, Repeat]:
        query = select(repeats).where(repeats.c.round_id == round_id).order_by(repeats.c.number)
        return {row.number: repeat_of(row, self.url) for row in connection.execute(query)}


def latest() -> tuple[Measurement, ...]:
    """The newest ended measurement of each job key in the default database."""
    return Results().latest()


def _sorted(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    return tuple(sorted(measurements, key=lambda m: (m.device.name, m.model, m.abi, m.threads_requested, m.job_key)))
