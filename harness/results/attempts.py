"""Rounds: begun, filled with repeats, ended. A connection in a transaction goes in; the store commits.

Statements are built once: a farm stores a thousand repeats a second, and building one costs more than sending it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, bindparam, func, insert, or_, select, update

from devices.facts import DeviceFacts
from harness.job import Cell
from harness.results.records import measurement_of, repeat_of, summary_text, text_of
from harness.results.schema import newest, repeats, rounds
from pocketzoo.errors import WorkFailed
from zoo.measurement import Measurement, Repeat, RunnerRecord

# Keys in one IN (...), of which SQLite takes 999 in its oldest builds; rows in memory where there may be more.
BATCH = 500


@dataclass(frozen=True)
class Round:
    """A round that can be gone on with: its row and the repeats that are stored, by number."""

    id: int
    number: int
    done: dict[int, Repeat]


_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_LAST = (
    select(rounds.c.job_key, func.max(rounds.c.number).label("number"))
    .where(rounds.c.job_key.in_(_KEYS))
    .group_by(rounds.c.job_key)
    .subquery()
)
_LAST_ROUNDS = select(rounds.c.id, rounds.c.job_key, rounds.c.number, rounds.c.state).join_from(
    _LAST, rounds, (rounds.c.job_key == _LAST.c.job_key) & (rounds.c.number == _LAST.c.number)
)
_FINISHED = (
    select(rounds.c.id, rounds.c.job_key, rounds.c.measurement)
    .join_from(newest, rounds, rounds.c.id == newest.c.done_id)
    .where(newest.c.job_key.in_(_KEYS), rounds.c.number >= bindparam("since"))
)
_REPEATS = select(repeats).where(repeats.c.round_id.in_(_IDS)).order_by(repeats.c.round_id, repeats.c.number)
_LEAVE_BEHIND = (
    update(rounds).where(rounds.c.id == bindparam("left"), rounds.c.state == "open").values(state="abandoned")
)
_MAKE = insert(rounds).returning(rounds.c.id, rounds.c.job_key)
# The round is held while the repeat is stored, all in one round trip.
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
_HELD = (
    select(rounds.c.state, rounds.c.job_key, rounds.c.device, rounds.c.model)
    .where(rounds.c.id == bindparam("round"))
    .with_for_update()
)
_END = (
    update(rounds)
    .where(rounds.c.id == bindparam("round"))
    .values(state=bindparam("ends_as"), measurement=bindparam("record"))
)
_DONE = (
    update(newest)
    .where(
        newest.c.job_key == bindparam("key"),
        or_(newest.c.done_id.is_(None), newest.c.done_id < bindparam("round")),
    )
    .values(done_id=bindparam("round"))
)


def newest_ended(upsert_into: Any) -> Any:
    """The statement that makes a round the newest ended one of its key; for :func:`finish`.

    Args:
        upsert_into: an INSERT into ``newest`` that knows ON CONFLICT.
    """
    made = upsert_into.values(
        job_key=bindparam("key"), device=bindparam("on"), model=bindparam("of"), ended_id=bindparam("round")
    )
    return made.on_conflict_do_update(
        index_elements=[newest.c.job_key],
        set_={name: made.excluded[name] for name in ("device", "model", "ended_id")},
        where=newest.c.ended_id < made.excluded.ended_id,
    )


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """At most BATCH of them at a time."""
    left = iter(items)
    while batch := list(islice(left, BATCH)):
        yield batch


def finished(connection: Connection, job_keys: Sequence[str], since: int, place: str) -> dict[str, Measurement]:
    """The newest finished measurement of each of these job keys that has one, with its repeats."""
    found: dict[str, Measurement] = {}
    for keys in batches(job_keys):
        rows = connection.execute(_FINISHED, {"keys": keys, "since": since}).all()
        stored = stored_repeats(connection, [row.id for row in rows], place)
        for row in rows:
            measurement = measurement_of(row, place)
            found[row.job_key] = msgspec.structs.replace(measurement, repeats=tuple(stored[row.id].values()))
    return found


def stored_repeats(connection: Connection, ids: Collection[int], place: str) -> dict[int, dict[int, Repeat]]:
    """The repeats of each of these rounds, by number, in their order."""
    found: dict[int, dict[int, Repeat]] = {id_: {} for id_ in ids}
    for some in batches(ids):
        for row in connection.execute(_REPEATS, {"ids": some}):
            found[row.round_id][row.number] = repeat_of(row, place)
    return found


def begin(
    connection: Connection,
    wanted: Sequence[tuple[Cell, RunnerRecord]],
    facts: DeviceFacts,
    place: str,
    *,
    fresh: bool,
) -> list[Round]:
    """The round to work on of each cell: the open one, else a new one; ``fresh`` leaves an open one behind."""
    last = _last_rounds(connection, [cell.key for cell, _ in wanted])
    if fresh:
        for row in sorted(last.values(), key=lambda row: row.id):
            if row.state == "open":
                connection.execute(_LEAVE_BEHIND, {"left": row.id})
        going = {}
    else:
        going = {key: row for key, row in last.items() if row.state == "open"}
    stored = stored_repeats(connection, [row.id for row in going.values()], place)
    numbers = {cell.key: 0 if cell.key not in last else last[cell.key].number + 1 for cell, _ in wanted}
    new = {
        cell.key: _columns(cell, runner, facts, numbers[cell.key]) for cell, runner in wanted if cell.key not in going
    }
    # By key, so that two who begin the same cells wait for each other in one order, and never in a circle.
    ordered = [new[key] for key in sorted(new)]
    made = {row.job_key: row.id for row in connection.execute(_MAKE, ordered)} if ordered else {}
    return [
        Round(going[key].id, going[key].number, stored[going[key].id])
        if key in going
        else Round(made[key], numbers[key], {})
        for key in (cell.key for cell, _ in wanted)
    ]


def _last_rounds(connection: Connection, job_keys: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keys in batches(job_keys):
        found.update({row.job_key: row for row in connection.execute(_LAST_ROUNDS, {"keys": keys})})
    return found


def _columns(cell: Cell, runner: RunnerRecord, facts: DeviceFacts, number: int) -> Mapping[str, object]:
    return {
        "job_key": cell.key,
        "number": number,
        "state": "open",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": cell.model,
        "artifact_sha256": cell.artifact_sha256,
        "device": cell.device,
        "cell": text_of(cell),
        "facts": text_of(facts),
        "runner": text_of(runner),
    }


def append(connection: Connection, round_: Round, number: int, columns: Mapping[str, bytes]) -> bool:
    """Store one repeat, see :func:`harness.results.records.repeat_columns`; False where the round is not open."""
    return bool(connection.execute(_APPEND, {"round": round_.id, "repeat": number, **columns}).rowcount)


def finish(connection: Connection, round_: Round, measurement: Measurement, upsert: Any, place: str) -> None:
    """End a round; ``upsert`` is :func:`newest_ended`.

    Raises:
        WorkFailed: see :func:`check_open`.
    """
    failed = measurement.verdict.name == "failed"
    row = check_open(connection, round_, place)
    ends = {"ends_as": "failed" if failed else "done", "record": summary_text(measurement)}
    connection.execute(_END, {"round": round_.id, **ends})
    connection.execute(upsert, {"key": row.job_key, "on": row.device, "of": row.model, "round": round_.id})
    if not failed:
        connection.execute(_DONE, {"key": row.job_key, "round": round_.id})


def check_open(connection: Connection, round_: Round, place: str) -> Any:
    """The round's row, held until the transaction ends.

    Raises:
        WorkFailed: it has ended, or another process left it behind.
    """
    row = connection.execute(_HELD, {"round": round_.id}).one_or_none()
    state = "gone" if row is None else row.state
    if row is None or state != "open":
        raise WorkFailed(
            f"round {round_.number} of this cell is {state}: another process measures the same cell",
            where=place,
            hint="harness results",
        )
    return row
