"""Rounds for the tests of results, and raw SQL where a test must do what the store never does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from harness.job import Cell
from harness.results import Results
from tests.harness.cells import RUNNER
from tests.records import FACTS, measurement_for, repeat_of
from zoo.artifact import Artifact, FileRecord
from zoo.measurement import Measurement, Verdict

ARTIFACT = Artifact(
    name="tiny-model", format="tflite", files=(FileRecord(name="tiny-model.tflite", sha256="c" * 64, size=1),)
)


def measured(cell: Cell, *, samples: Sequence[int] = (2_900_000, 3_000_000, 3_100_000), **fields: Any) -> Measurement:
    """The measurement of a cell, as the harness would have made it."""
    whole = measurement_for(ARTIFACT, key=cell.key, threads=cell.threads)
    facts = msgspec.structs.replace(FACTS, name=cell.device)
    repeats = tuple(repeat_of([n + i for n in samples]) for i in range(cell.protocol.repeats))
    return msgspec.structs.replace(whole, model=cell.model, device=facts, repeats=repeats, **fields)


def failed(cell: Cell) -> Measurement:
    verdict = Verdict(name="failed", reason="it crashed")
    return msgspec.structs.replace(measured(cell), repeats=(), summary=None, verdict=verdict)


def store(results: Results, cell: Cell, measurement: Measurement, *, fresh: bool = False) -> Measurement:
    """A whole round: begun, appended, finished."""
    round_ = results.begin(cell, measurement.device, RUNNER.record, fresh=fresh)
    for number, repeat in enumerate(measurement.repeats):
        results.append(round_, number, repeat)
    results.finish(round_, measurement)
    return measurement


def sql(url: str, statement: str, **values: Any) -> list[Any]:
    """Run one statement past the store and commit it; the rows where it gives any."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []
    finally:
        engine.dispose()
