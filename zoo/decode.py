"""Untrusted JSON into records: sizes bounded, schema checked first, every mistake with its place."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput
from zoo import artifact, measurement
from zoo.artifact import Artifact
from zoo.measurement import Measurement

LARGEST = 64 << 20  # bytes of one record; a manifest has kilobytes, a long measurement a few megabytes

Record = TypeVar("Record", Artifact, Measurement)


class _SchemaOnly(msgspec.Struct):
    schema: int
    versions: object = None


decodable(_SchemaOnly)


def decode_artifact(data: bytes, where: str) -> Artifact:
    """Decode an artifact manifest. ``where`` names it in errors.

    Raises:
        BadInput: not JSON, too large, of an unknown schema, a field that does not fit, or files that contradict each
            other.
    """
    decoded = _decode(data, Artifact, artifact.SCHEMA, where)
    _check_files(decoded, where)
    return decoded


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
        head = msgspec.json.decode(data, type=_SchemaOnly)
        if not 1 <= head.schema <= newest:
            raise BadInput(
                f"{what} record of schema {head.schema}; this pocketzoo reads schema 1 to {newest}",
                where=where,
                hint=_reader_of(head.versions) if head.schema > newest else None,
            )
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise BadInput(f"not a valid {what} record: {error}", where=where) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"not a valid {what} record: {type(error).__name__}", where=where) from error


def _reader_of(versions: object) -> str:
    """What to install to read a newer record: the version that wrote it, where the record says so."""
    wrote = versions.get("pocketzoo") if isinstance(versions, dict) else None
    if isinstance(wrote, str) and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){1,3}", wrote):
        return f"pip install 'pocketzoo>={wrote}', the version that wrote it"
    return "pip install --upgrade pocketzoo"


def _check_files(decoded: Artifact, where: str) -> None:
    """No two files share a name, also not where case makes no difference; one digest has one size."""
    names: set[str] = set()
    sizes: dict[str, int] = {}
    for file in decoded.files:
        if file.name.casefold() in names:
            raise BadInput(f"two files of {decoded.name} are called {file.name}", where=where)
        names.add(file.name.casefold())
        if sizes.setdefault(file.sha256, file.size) != file.size:
            raise BadInput(f"{decoded.name} gives two sizes for the file {file.sha256}", where=where)
