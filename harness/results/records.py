"""Records as they stand in a row, and back. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.results.samples import pack, unpack
from pocketzoo.errors import WorkFailed
from zoo.measurement import Measurement, Repeat


def text_of(record: msgspec.Struct) -> str:
    """A record as JSON, equal for equal records."""
    return msgspec.json.encode(record, order="deterministic").decode()


def summary_text(measurement: Measurement) -> str:
    """A measurement as its round holds it: the repeats are rows of their own."""
    return text_of(msgspec.structs.replace(measurement, repeats=()))


def repeat_columns(repeat: Repeat) -> dict[str, bytes]:
    """The columns ``record`` and ``samples`` of a repeat.

    Raises:
        ValueError: a sample is too large to be a time.
    """
    rest = msgspec.structs.replace(repeat, samples_ns=())
    return {"record": msgspec.msgpack.encode(rest), "samples": pack(repeat.samples_ns)}


def measurement_of(row: Any, place: str) -> Measurement:
    """The measurement of a row of ``rounds``, without its repeats.

    Raises:
        WorkFailed: it is damaged; ``place`` is the database it stands in.
    """
    try:
        return msgspec.json.decode(row.measurement, type=Measurement)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise _damaged(f"round {row.id}, cell {row.job_key[:12]}", error, place) from error


def repeat_of(row: Any, place: str) -> Repeat:
    """The repeat of a row of ``repeats``, with every sample.

    Raises:
        WorkFailed: it is damaged; ``place`` is the database it stands in.
    """
    try:
        if row.samples is None:
            raise ValueError("its samples are not there")
        rest = msgspec.msgpack.decode(row.record, type=Repeat)
        return msgspec.structs.replace(rest, samples_ns=unpack(row.samples))
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise _damaged(f"round {row.round_id}, repeat {row.number}", error, place) from error


def _damaged(what: str, error: Exception, place: str) -> WorkFailed:
    return WorkFailed(f"a stored result is damaged ({what}): {error}", where=place)
