"""The results as the harness works with them.

A *round* is one attempt at a cell: a job key and a number. Asking for what is measured already finds the finished
round; ``--fresh`` opens the next one; an interrupted round is gone on with where it stopped. Unique keys on
(job key, round) and (round, repeat number) make a duplicate impossible.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import func, select

from devices.facts import DeviceFacts
from harness.job import Cell
from harness.results import attempts, campaigns, history
from harness.results.attempts import BATCH, Round, batches
from harness.results.campaigns import Campaign, State, Wanted
from harness.results.database import Conflict, Database
from harness.results.history import newest_rounds, repeats_of_newest
from harness.results.records import measurement_of, repeat_columns, repeat_of
from harness.results.schema import newest, rounds
from pocketzoo.errors import WorkFailed
from pocketzoo.home import home
from zoo.measurement import Measurement, Repeat, RunnerRecord
from zoo.past import Past

BEGIN_TRIES = 5


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
        return self.find_each([job_key], since=since).get(job_key)

    def find_each(self, job_keys: Sequence[str], *, since: int = 0) -> dict[str, Measurement]:
        """As :meth:`find` for several job keys; those that have no finished measurement are not in the answer."""
        with self.database.reading() as connection:
            return {} if connection is None else attempts.finished(connection, list(job_keys), since, self.url)

    def known(self, job_keys: Iterable[str]) -> set[str]:
        """Those of the job keys that have a finished measurement; cheap for ten thousand of them."""
        keys = list(job_keys)
        found: set[str] = set()
        with self.database.reading() as connection:
            if connection is None:
                return found
            for some in batches(keys):
                asked = newest.c.job_key.in_(some)
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
        return self.begin_each([(cell, runner)], facts, fresh=fresh)[0]

    def begin_each(
        self, wanted: Sequence[tuple[Cell, RunnerRecord]], facts: DeviceFacts, *, fresh: bool = False
    ) -> list[Round]:
        """As :meth:`begin` for several cells of a device, in their order."""
        for _ in range(BEGIN_TRIES):
            try:
                with self.database.writing() as connection:
                    return attempts.begin(connection, wanted, facts, self.url, fresh=fresh)
            except Conflict:
                if len(wanted) > 1:  # of one of them; whose it is shows when each is begun alone
                    return [self.begin(cell, facts, runner, fresh=fresh) for cell, runner in wanted]
                # The round that took the number was begun after this was asked: it is as fresh as can be.
                fresh = False
        raise WorkFailed("other processes keep beginning this cell", where=self.url, hint="harness results")

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
                stored = attempts.append(connection, round_, number, columns)
            if not stored:  # why not is another question
                with self.database.writing() as connection:
                    attempts.check_open(connection, round_, self.url)
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
        with self.database.writing() as connection:
            attempts.finish(connection, round_, measurement, self._newest_ended, self.url)

    @cached_property
    def _newest_ended(self) -> Any:
        return attempts.newest_ended(self.database.upsert(newest))

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


def latest() -> tuple[Measurement, ...]:
    """The newest ended measurement of each job key in the default database."""
    return Results().latest()


def _sorted(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    return tuple(sorted(measurements, key=lambda m: (m.device.name, m.model, m.abi, m.threads_requested, m.job_key)))
