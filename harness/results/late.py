"""What was measured while the database was away, delivered once: bringing it again changes nothing."""

from __future__ import annotations

from sqlalchemy import select

from harness.results.attempts import Round
from harness.results.records import repeat_columns
from harness.results.schema import repeats, rounds
from harness.results.store import Results
from zoo.measurement import Measurement, Repeat


def deliver_repeat(results: Results, round_id: int, number: int, repeat: Repeat) -> bool:
    """Store a repeat, unless it is stored or its round has ended.

    Args:
        results: of the database that the round was begun in.
        round_id: of the round.
        number: of the repeat in it.
        repeat: what was measured.

    Returns:
        Whether it was new.

    Raises:
        Unreachable: the database is still away.
        ValueError: a sample is too large to be a time.
    """
    columns = repeat_columns(repeat)
    database = results.database
    with database.writing() as connection:
        held = select(rounds.c.state).where(rounds.c.id == round_id).with_for_update()
        if connection.execute(held).scalar() != "open":
            return False
        done = connection.execute(
            database.upsert(repeats)
            .values(round_id=round_id, number=number, **columns)
            .on_conflict_do_nothing(index_elements=[repeats.c.round_id, repeats.c.number])
        )
        return bool(done.rowcount)


def deliver_end(results: Results, round_id: int, measurement: Measurement) -> bool:
    """End a round, unless it has ended. Arguments and errors as of :func:`deliver_repeat`."""
    with results.database.reading() as connection:
        if connection is None:
            return False
        row = connection.execute(select(rounds.c.number, rounds.c.state).where(rounds.c.id == round_id)).one_or_none()
    if row is None or row.state != "open":
        return False
    results.finish(Round(round_id, row.number, {}), measurement)
    return True
