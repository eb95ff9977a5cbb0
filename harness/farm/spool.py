"""Results that wait on a host's disk while the database is away, and are delivered later, each once.

Implements :class:`harness.measuring.Rounds` over the real results. A round is begun in the database, so that its number
is the farm's; what is measured in it is written there, or, while nobody answers, to a file of its own under the state
folder, flushed before measuring goes on. Another process of this host may deliver what one left behind.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from devices.facts import DeviceFacts
from harness.job import Cell
from harness.results import Results, Round, Unreachable
from harness.results.late import deliver_end, deliver_repeat
from pocketzoo.decodable import decodable
from pocketzoo.files import write_atomically
from pocketzoo.home import home
from zoo.measurement import Measurement, Repeat, RunnerRecord

RETRY_S = 1.0
"""Between tries while the database is away."""

Result = TypeVar("Result")


class _Waiting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that was to be stored: a repeat of a round, or its end."""

    database: str
    round_id: int
    number: int = 0
    repeat: Repeat | None = None
    measurement: Measurement | None = None


decodable(_Waiting)


class Spool:
    """The folder of a host, shared by its devices' threads.

    Args:
        results: the farm's database.
        folder: default ``farm/spool`` in the state folder.
    """

    def __init__(self, results: Results, folder: Path | None = None) -> None:
        self.results = results
        self.folder = folder if folder is not None else home() / "farm" / "spool"
        self._count = itertools.count()
        self._lock = threading.RLock()
        self._campaigns: set[str] = set()

    def knows(self, campaign: str) -> bool:
        """Whether this database has a campaign; none is ever removed, so it is asked for each once.

        Raises:
            Unreachable: the database is away.
        """
        if campaign not in self._campaigns and self.results.campaign(campaign) is not None:
            self._campaigns.add(campaign)
        return campaign in self._campaigns

    def keep(self, what: _Waiting) -> None:
        """Write it to disk; it is there after a power loss when this returns."""
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._count):08d}.json"
        write_atomically(self.folder / name, msgspec.json.encode(what))

    def waiting(self) -> int:
        """How many things wait."""
        return sum(1 for _ in self._files())

    def deliver(self) -> int:
        """Bring everything that waits to the database, in the order it was measured.

        Returns:
            How many were delivered.

        Raises:
            Unreachable: it is still away; the rest waits on.
        """
        delivered = 0
        with self._alone():
            for path in sorted(self._files()):
                try:
                    what = msgspec.json.decode(path.read_bytes(), type=_Waiting)
                except FileNotFoundError:
                    continue
                except (msgspec.DecodeError, UnicodeDecodeError):
                    path.rename(path.with_suffix(".damaged"))  # kept for a person; it must not hold up the others
                    continue
                if what.database != self.results.url:
                    continue
                if what.repeat is not None:
                    deliver_repeat(self.results, what.round_id, what.number, what.repeat)
                elif what.measurement is not None:
                    deliver_end(self.results, what.round_id, what.measurement)
                path.unlink()
                delivered += 1
        return delivered

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One deliverer at a time on this host, so that a round's end never comes before its repeats."""
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)

    def _files(self) -> Iterator[Path]:
        yield from self.folder.glob("[0-9]*.json")


class Spooled:
    """Implements :class:`harness.measuring.Rounds`; used by one thread.

    Args:
        spool: where results wait.
        stop: when set, waiting for the database ends.
        limit_s: how long one wait for the database may take, in seconds.
    """

    def __init__(self, spool: Spool, stop: threading.Event, *, limit_s: float) -> None:
        self._spool = spool
        self._stop = stop
        self._limit_s = limit_s
        self._behind = False

    def find_each(self, job_keys: Sequence[str]) -> Mapping[str, Measurement]:
        """See :meth:`harness.results.Results.find_each`; waits for the database."""
        return self.settled(lambda: self._spool.results.find_each(job_keys))

    def begin_each(
        self, wanted: Sequence[tuple[Cell, RunnerRecord]], facts: DeviceFacts, *, fresh: bool = False
    ) -> list[Round]:
        """See :meth:`harness.results.Results.begin_each`; waits for the database."""
        return self.settled(lambda: self._spool.results.begin_each(wanted, facts, fresh=fresh))

    def append(self, round_: Round, number: int, repeat: Repeat) -> None:
        """Store one repeat, in the database or on this disk."""
        waiting = _Waiting(database=self._spool.results.url, round_id=round_.id, number=number, repeat=repeat)
        self._store(lambda: self._spool.results.append(round_, number, repeat), waiting)

    def finish(self, round_: Round, measurement: Measurement) -> None:
        """End a round, in the database or on this disk."""
        waiting = _Waiting(database=self._spool.results.url, round_id=round_.id, measurement=measurement)
        self._store(lambda: self._spool.results.finish(round_, measurement), waiting)

    def settled(self, work: Callable[[], Result]) -> Result:
        """Do something with the database once everything that waits on this disk is in it.

        Raises:
            Unreachable: it was away for longer than may be waited.
            KeyboardInterrupt: the host stops.
        """
        until = time.monotonic() + self._limit_s
        while True:
            try:
                if self._spool.waiting():
                    self._spool.deliver()
                self._behind = False
                return work()
            except Unreachable:
                if time.monotonic() >= until:
                    raise
                if self._stop.wait(RETRY_S):
                    raise KeyboardInterrupt from None

    def _store(self, work: Callable[[], None], waiting: _Waiting) -> None:
        # What follows something that waits must not overtake it: a round's end would shut out its last repeat.
        if not self._behind:
            try:
                work()
                return
            except Unreachable:
                self._behind = True
        self._spool.keep(waiting)
