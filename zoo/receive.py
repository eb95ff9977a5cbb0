"""Receiving one file: resumed, bounded, hashed before it becomes visible, from the first source that has it right.

A file is received under ``partial/SHA256``, locked, so that two pulls of one file share one transfer. What a killed
pull left there is hashed again before it is gone on with, so no byte is believed because it is on the disk. A body of
another content, length or size is thrown away, asked for once more from its beginning, and then from the next source.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from pocketzoo.errors import Interrupted, PocketzooError
from pocketzoo.files import CHUNK, locked_file, sha256_file
from zoo.artifact import FileRecord
from zoo.backends.protocol import Blob, RemoteBroken, RemoteBusy, RemoteUnavailable
from zoo.progress import Progress, Silent
from zoo.store import Store

IDLE_TRIES = 3  # connections in a row that bring not a byte before a source is given up
PAUSES_S = (0.2, 1.0)  # before the second and third of them
MOST_TRIES = 100  # connections to one source for one file: one that drops every megabyte still brings 100 MB
SLOWEST_BYTES, SLOWEST_S = 1024, 60.0  # fewer bytes in so long is no transfer


@dataclass(frozen=True)
class Source:
    """A place to get a file from: its address for messages, and how to open its body at an offset."""

    address: str
    open: Callable[[int], AbstractContextManager[Blob]]


@dataclass(frozen=True)
class Received:
    """How a file came: bytes over the wire, bytes kept from an earlier try, the address; None: it was there."""

    path: Path
    fetched: int
    resumed: int
    address: str | None


def receive(
    store: Store,
    record: FileRecord,
    sources: Sequence[Source],
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Received:
    """Bring a file into the store.

    Args:
        store: takes the file; the caller holds a lease of its digest.
        record: name, SHA-256 and size it must have.
        sources: asked in this order.
        progress: is told of each block.
        stop: when it is set, the transfer ends at the next block; what has come is kept.

    Raises:
        RemoteUnavailable, RemoteDenied, RemoteBroken: the last source's error, with those of the others as detail.
        Interrupted: ``stop`` was set.
    """
    told = progress or Silent()
    path = store.blob(record.sha256)
    if sound(path, record):
        return Received(path, 0, 0, None)
    with locked_file(store.partial(record.sha256)) as file:
        if sound(path, record):  # another process brought it while we waited
            store.partial(record.sha256).unlink(missing_ok=True)
            return Received(path, 0, 0, None)
        transfer = _Transfer(file, record, told, stop or threading.Event())
        address = transfer.run(sources)
        os.fsync(file)
        store.move_in(store.partial(record.sha256), record)
    return Received(path, transfer.fetched, transfer.resumed, address)


def sound(path: Path, record: FileRecord) -> bool:
    """Whether a file is there with the size and SHA-256 of its record."""
    try:
        return path.stat().st_size == record.size and sha256_file(path) == record.sha256
    except OSError:
        return False


class _Transfer:
    def __init__(self, file: int, record: FileRecord, progress: Progress, stop: threading.Event) -> None:
        self._file = file
        self._record = record
        self._progress = progress
        self._stop = stop
        self.fetched = 0
        self.resumed = 0
        self._at = 0
        self._digest = hashlib.sha256()

    def run(self, sources: Sequence[Source]) -> str:
        """Fill the file; returns the address that the last byte came from."""
        self._keep()
        errors: list[PocketzooError] = []
        for source in sources:
            for _ in range(2):  # one that was wrong is asked once more, from the beginning
                try:
                    self._from(source)
                    self._progress.end(self._record.sha256, f"from {source.address}")
                    return source.address
                except Interrupted:
                    raise
                except PocketzooError as error:
                    error.where = error.where or source.address
                    errors.append(error)
                    if not isinstance(error, RemoteBroken):
                        break
                    self._restart()
        raise _why(self._record, errors)

    def _keep(self) -> None:
        """Hash what an earlier try left; more than the whole file is nothing that can be gone on with."""
        size = os.fstat(self._file).st_size
        if size > self._record.size:
            size = 0
            os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        while self._at < size and (chunk := os.read(self._file, CHUNK)):
            self._digest.update(chunk)
            self._at += len(chunk)
        self.resumed = self._at
        self._progress.begin(self._record.sha256, self._record.name, self._record.size, self._at)

    def _restart(self) -> None:
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._digest = hashlib.sha256()
        self._at = self.resumed = 0
        self._progress.begin(self._record.sha256, self._record.name, self._record.size, 0)

    def _from(self, source: Source) -> None:
        """All that is missing, over as many connections as it takes while each of them brings something."""
        idle, best = 0, self._at
        for _ in range(MOST_TRIES):
            try:
                if self._at < self._record.size or not self._record.size:
                    with source.open(self._at) as body:
                        self._begin(body)
                        self._body(body.chunks)
                if self._at == self._record.size:
                    return self._check(source)
                broke = RemoteUnavailable(
                    f"{self._record.name} broke off after {self._at:,} of {self._record.size:,} bytes",
                    where=source.address,
                    hint="run the same command again; what has come is kept",
                )
            except RemoteBusy:
                raise
            except RemoteUnavailable as error:
                broke = error
            # Further than ever counts; a server that cannot start in the middle may break off for ever.
            idle, best = (0, self._at) if self._at > best else (idle + 1, best)
            if idle >= IDLE_TRIES:
                raise broke
            if idle and self._stop.wait(PAUSES_S[idle - 1]):
                raise _interrupted()
        raise broke

    def _begin(self, body: Blob) -> None:
        if body.offset == self._at:
            return
        if body.offset != 0:
            raise RemoteBroken(f"{self._record.name}: asked for byte {self._at:,}, given byte {body.offset:,}")
        self._restart()

    def _body(self, chunks: Iterator[bytes]) -> None:
        """Write a body; hashing runs beside it, because receiving and hashing each want a whole core."""
        todo: SimpleQueue[bytes | None] = SimpleQueue()
        room = threading.BoundedSemaphore(16)

        def hash_all() -> None:
            while (chunk := todo.get()) is not None:
                self._digest.update(chunk)
                room.release()

        hashing = threading.Thread(target=hash_all, name="hash", daemon=True)
        hashing.start()
        since, mark = time.monotonic(), self._at
        try:
            for chunk in chunks:
                if self._stop.is_set():
                    raise _interrupted()
                if self._at + len(chunk) > self._record.size:
                    raise RemoteBroken(
                        f"{self._record.name} is longer than the {self._record.size:,} bytes its manifest says"
                    )
                self._write(chunk)
                room.acquire()
                todo.put(chunk)
                self._at += len(chunk)
                self.fetched += len(chunk)
                self._progress.advance(self._record.sha256, len(chunk))
                if (now := time.monotonic()) - since >= SLOWEST_S:
                    if self._at - mark < SLOWEST_BYTES:
                        raise RemoteUnavailable(
                            f"{self._record.name} came with less than {SLOWEST_BYTES} bytes in {SLOWEST_S:g} s"
                        )
                    since, mark = now, self._at
        finally:
            todo.put(None)
            hashing.join()

    def _write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                os.ftruncate(self._file, 0)  # a full disk is not kept full
            raise

    def _check(self, source: Source) -> None:
        found = self._digest.hexdigest()
        if found != self._record.sha256:
            raise RemoteBroken(
                f"{self._record.name} is not the file its manifest describes (SHA-256 {found})",
                where=source.address,
                detail=(f"expected {self._record.sha256}, {self._record.size:,} bytes",),
                hint="its publisher can send it again: zoo push NAME --resend",
            )


def _why(record: FileRecord, errors: list[PocketzooError]) -> PocketzooError:
    """The last error, with what the others said."""
    if not errors:
        return RemoteUnavailable(f"no remote has {record.name} (sha256:{record.sha256})", hint="zoo remote list")
    last = errors[-1]
    before = [error for error in errors[:-1] if (error.what, error.where) != (last.what, last.where)]
    others = [f"{error.what}{f' ({error.where})' if error.where else ''}" for error in before]
    last.detail = tuple(dict.fromkeys([*last.detail, *others]))
    return last


def _interrupted() -> Interrupted:
    return Interrupted("interrupted", hint="run the same command again; what has come is kept and gone on with")
