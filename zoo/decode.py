"""Untrusted JSON into records: sizes bounded, schema checked first, every mistake with its place."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from pocketzoo.errors import BadInput
from zoo import artifact, measurement
from zoo.artifact import Artifact
from zoo.measurement import Measurement

LARGEST = 64 << 20  # bytes of one record; a manifest has kilobytes, a long measurement a few megabytes

Record = TypeVar("Record", Artifact, Measurement)


class _SchemaOnly(msgspec.Struct):
    schema: int


def decode_artifact(data: bytes, where: str) -> Artifact:
    """Decode an artifact manifest. ``where`` names it in errors.

    Raises:
        BadInput: not JSON, too large, of an unknown schema, or a field that does not fit.
    """
    return _decode(data, Artifact, artifact.SCHEMA, where)


def decode_measurement(data: bytes, where: str) -> Measurement:
    """Decode a measurement. ``where`` names it in errors.

    Raises:
        BadInput: not JSON, too large, of an unknown schema, or a field that does not fit.
    """
    return _decode(data, Measurement, measurement.SCHEMA, where)


def _decode(data: bytes, kind: type[Record], newest: int, where: str) -> Record:
    what = kind.__name__.lower()
    if len(data) > LARGEST:
        raise BadInput(f"a {what} record of {len(data):,} bytes; at most {LARGEST:,} are read", where=where)
    try:
        schema = msgspec.json.decode(data, type=_SchemaOnly).schema
        if not 1 <= schema <= newest:
            raise BadInput(
                f"{what} record of schema {schema}; this pocketzoo reads schema 1 to {newest}",
                where=where,
                hint="pip install --upgrade pocketzoo" if schema > newest else None,
            )
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise BadInput(f"not a valid {what} record: {error}", where=where) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"not a valid {what} record: {type(error).__name__}", where=where) from error
