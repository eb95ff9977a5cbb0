"""``zoo.lock``: which entry a query was answered with, so that the next pull gets exactly that.

The file belongs into version control beside what uses the model. It is JSON with a schema version, one pin for each
query, sorted, so that two people's pins merge. A pin holds digests, and digests are all that is believed of it: no
address out of a lock file is ever opened, and whatever is pulled is hashed. The figures tell a reader why.

Schema history
    1  first
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically
from pocketzoo.names import did_you_mean
from zoo.artifact import Accuracy, FileRecord, Name, Sha256

SCHEMA = 1
FILE = "zoo.lock"
LARGEST = 8 << 20  # bytes
LONGEST = 4000


class Figures(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decided: accuracies, the latency with how it was measured, and the size."""

    size_bytes: int
    accuracy: tuple[Accuracy, ...] = ()
    latency: dict[str, Any] | None = None


class Pin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query and its answer.

    Args:
        query: the reference and the options, in their canonical text (:func:`zoo.constraints.query_text`).
        name: of the entry.
        digest: of the entry: the SHA-256 of its first file.
        files: all its files; the first is the one that runs.
        remote: where it came from, for people; never opened. None: the local zoo.
        figures: what decided; None where nothing was asked but the name.
        time: when it was pinned (UTC, ISO 8601).
    """

    query: Annotated[str, Meta(min_length=1, max_length=LONGEST)]
    name: Name
    digest: Sha256
    files: Annotated[tuple[FileRecord, ...], Meta(min_length=1)]
    remote: Annotated[str, Meta(max_length=LONGEST)] | None = None
    figures: Figures | None = None
    time: Annotated[str, Meta(max_length=64)]


class LockFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All pins, by query."""

    schema: int = SCHEMA
    pins: tuple[Pin, ...] = ()


class _SchemaOnly(Struct):
    schema: int


decodable(Figures, Pin, LockFile, _SchemaOnly)


def decode_lock(data: bytes, where: str) -> LockFile:
    """A lock file out of bytes that anybody may have written.

    Raises:
        BadInput: not JSON, too large, of an unknown schema, a field that does not fit, a query twice, or a digest that
            is not that of the first file.
    """
    if len(data) > LARGEST:
        raise BadInput(f"a lock file of more than {LARGEST:,} bytes", where=where)
    try:
        schema = msgspec.json.decode(data, type=_SchemaOnly).schema
        if schema != SCHEMA:
            raise BadInput(
                f"a lock file of schema {schema}; this pocketzoo reads schema {SCHEMA}",
                where=where,
                hint="pip install --upgrade pocketzoo" if schema > SCHEMA else None,
            )
        found = msgspec.json.decode(data, type=LockFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(
            f"not a lock file: {error}", where=where, hint="take it from version control, or pin anew with --lock"
        ) from error
    for pin in found.pins:
        if pin.digest != pin.files[0].sha256:
            raise BadInput(f"the pin of {pin.query!r} contradicts itself: its digest is not its file's", where=where)
    queries = [pin.query for pin in found.pins]
    if len(set(queries)) != len(queries):
        twice = next(query for query in queries if queries.count(query) > 1)
        raise BadInput(f"two pins of one query: {twice!r}", where=where, hint="remove the one that is out of date")
    return found


def encode_lock(lock: LockFile) -> bytes:
    """The canonical text: pins by query, keys sorted, a line for each value."""
    ordered = msgspec.structs.replace(lock, pins=tuple(sorted(lock.pins, key=lambda pin: pin.query)))
    return msgspec.json.format(msgspec.json.encode(ordered, order="deterministic"), indent=2) + b"\n"


def read_lock(path: Path) -> LockFile:
    """The lock file there.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise BadInput("there is no lock file", where=str(path), hint="zoo pull NAME --lock writes one") from error
    except OSError as error:
        raise BadInput(f"the lock file cannot be read: {error.strerror}", where=str(path)) from error
    return decode_lock(data, str(path))


def write_pin(path: Path, pin: Pin) -> Pin | None:
    """Add a pin, or replace the one of its query; several processes at once lose nothing.

    A pin that says the same as before keeps its time, so that pinning again changes no byte.

    Returns:
        The pin it replaced.

    Raises:
        BadInput: what is there is no lock file.
    """
    with _alone(path.parent):
        lock = read_lock(path) if path.exists() else LockFile()
        before = next((other for other in lock.pins if other.query == pin.query), None)
        if before is not None and msgspec.structs.replace(before, time=pin.time) == pin:
            return before
        kept = tuple(other for other in lock.pins if other.query != pin.query)
        write_atomically(path, encode_lock(msgspec.structs.replace(lock, pins=(*kept, pin))))
    return before


def find_pin(lock: LockFile, query: str, where: str) -> Pin:
    """The pin of a query.

    Raises:
        BadInput: there is none; names the nearest.
    """
    for pin in lock.pins:
        if pin.query == query:
            return pin
    close = did_you_mean(query, [pin.query for pin in lock.pins])
    raise BadInput(
        f"the lock file has no pin for: {query}",
        where=where,
        detail=(close or f"it has {len(lock.pins)} pins",),
        hint=f"zoo pull {query} --lock",
    )


def pinned(path: Path) -> frozenset[str]:
    """The SHA-256 digests that a lock file pins, of entries and of all their files.

    Raises:
        BadInput: there is no lock file, or it cannot be read.
    """
    return frozenset(
        digest for pin in read_lock(path).pins for digest in (pin.digest, *(file.sha256 for file in pin.files))
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the folder itself is locked, so that nothing is left behind in somebody's project."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
