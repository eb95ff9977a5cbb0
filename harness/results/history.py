"""Older rounds of cells, and samples for cells that were read without them: in batches, however much is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, select

from harness.results.attempts import BATCH, batches, stored_repeats
from harness.results.records import measurement_of
from harness.results.schema import newest, repeats, rounds
from pocketzoo.errors import WorkFailed
from zoo.instants import instant
from zoo.measurement import Measurement
from zoo.past import Past


def newest_rounds(models: Sequence[str], devices: Sequence[str], *, failed: bool) -> Select[Any]:
    """The newest ended round of each cell, or the newest finished one; empty sequences choose all."""
    query = select(rounds.c.id, rounds.c.job_key, rounds.c.number, rounds.c.measurement).join_from(
        newest, rounds, rounds.c.id == (newest.c.ended_id if failed else newest.c.done_id)
    )
    if models:
        query = query.where(newest.c.model.in_(models))
    if devices:
        query = query.where(newest.c.device.in_(devices))
    return query


def repeats_of_newest(chosen: Select[Any]) -> Select[Any]:
    """The repeats of such rounds, round by round."""
    ids = chosen.with_only_columns(rounds.c.id).subquery()
    return (
        select(repeats)
        .join_from(ids, repeats, repeats.c.round_id == ids.c.id)
        .order_by(repeats.c.round_id, repeats.c.number)
    )


def history(connection: Connection, job_keys: Iterable[str], place: str) -> dict[str, tuple[Past, ...]]:
    """Every ended round of these job keys, oldest first; a key that nobody measured is not in the answer."""
    found: dict[str, list[Past]] = {}
    for batch in batches(job_keys):
        query = (
            select(rounds.c.id, rounds.c.job_key, rounds.c.measurement)
            .where(rounds.c.job_key.in_(batch), rounds.c.measurement.is_not(None))
            .order_by(rounds.c.job_key, rounds.c.number)
        )
        for row in connection.execute(query):
            try:
                past = msgspec.json.decode(row.measurement, type=Past)
            except msgspec.DecodeError as error:
                raise WorkFailed(f"a stored result is damaged (round {row.id}): {error}", where=place) from error
            found.setdefault(past.job_key, []).append(past)
    return {key: tuple(sorted(pasts, key=lambda past: instant(past.time) or 0.0)) for key, pasts in found.items()}


def as_of(connection: Connection, time: float, place: str) -> Iterator[Measurement]:
    """The newest measurement of each job key that was made at ``time`` (s since 1970) or before, without samples."""
    seen: set[str] = set()
    query = select(rounds.c.id, rounds.c.job_key, rounds.c.measurement).where(rounds.c.measurement.is_not(None))
    # Newest first: what is older than the one that was found is not decoded.
    for row in connection.execution_options(yield_per=BATCH).execute(query.order_by(rounds.c.id.desc())):
        if row.job_key not in seen:
            measurement = measurement_of(row, place)
            made = instant(measurement.time)
            if made is not None and made <= time:
                seen.add(row.job_key)
                yield measurement


def whole(connection: Connection, cells: Sequence[Measurement], place: str) -> Iterator[Measurement]:
    """These cells as they are stored, with every raw sample, in their order; one that is not comes back as it is."""
    for start in range(0, len(cells), BATCH):
        batch = cells[start : start + BATCH]
        rows = _rounds_of(connection, batch, place)
        repeats_of = stored_repeats(connection, [row.id for row in rows.values()], place)
        for cell in batch:
            stored = rows.get((cell.job_key, cell.time))
            if stored is None:
                yield cell
            else:
                repeats = tuple(repeats_of[stored.id].values())
                yield msgspec.structs.replace(measurement_of(stored, place), repeats=repeats)


def _rounds_of(connection: Connection, cells: Sequence[Measurement], place: str) -> dict[tuple[str, str], Any]:
    """The round of each (job key, time): nearly always the newest of its key, so the older ones are not decoded."""
    wanted = {(cell.job_key, cell.time) for cell in cells}
    found: dict[tuple[str, str], Any] = {}
    keys = {key for key, _ in wanted}
    query = select(rounds.c.id, rounds.c.job_key, rounds.c.measurement)
    latest = query.join_from(newest, rounds, rounds.c.id == newest.c.ended_id).where(newest.c.job_key.in_(keys))
    _keep(connection.execute(latest), wanted, found, place)
    left = {key for key, time in wanted if (key, time) not in found}
    if left:
        older = query.where(rounds.c.job_key.in_(left), rounds.c.measurement.is_not(None)).order_by(rounds.c.number)
        _keep(connection.execute(older), wanted, found, place)
    return found


def _keep(rows: Iterable[Any], wanted: set[tuple[str, str]], found: dict[tuple[str, str], Any], place: str) -> None:
    for row in rows:
        try:
            past = msgspec.json.decode(row.measurement, type=Past)
        except (msgspec.DecodeError, TypeError) as error:
            raise WorkFailed(f"a stored result is damaged (round {row.id}): {error}", where=place) from error
        if (row.job_key, past.time) in wanted:
            found[row.job_key, past.time] = row


def ended(connection: Connection) -> list[tuple[int, str, str]]:
    """The newest ended round of each job key: its id, the key, and when it was begun. One look at two indexes."""
    query = select(newest.c.ended_id, newest.c.job_key, rounds.c.started).join_from(
        newest, rounds, rounds.c.id == newest.c.ended_id
    )
    return [(id_, key, started) for id_, key, started in connection.execute(query).all()]


def of_rounds(connection: Connection, ids: Iterable[int], place: str) -> dict[int, Measurement]:
    """The measurements of these rounds without samples, by id."""
    found = {}
    for batch in batches(ids):
        query = select(rounds.c.id, rounds.c.job_key, rounds.c.measurement).where(rounds.c.id.in_(batch))
        found.update({row.id: measurement_of(row, place) for row in connection.execute(query)})
    return found
