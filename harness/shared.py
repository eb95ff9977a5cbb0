"""Results that several devices' threads write to, one at a time."""

from __future__ import annotations

import threading

from devices.facts import DeviceFacts
from harness.job import Cell
from harness.measuring import Rounds
from harness.results import Round
from zoo.measurement import Measurement, Repeat, RunnerRecord


class Shared:
    """Implements :class:`harness.measuring.Rounds` over another, under one lock.

    A database has one writer at a time anyway; waiting here is fair and never ends in "database is locked".

    Args:
        results: where it all goes.
    """

    def __init__(self, results: Rounds) -> None:
        self._results = results
        self._lock = threading.Lock()

    def find(self, job_key: str) -> Measurement | None:
        """See :meth:`harness.results.Results.find`."""
        with self._lock:
            return self._results.find(job_key)

    def begin(self, cell: Cell, facts: DeviceFacts, runner: RunnerRecord, *, fresh: bool = False) -> Round:
        """See :meth:`harness.results.Results.begin`."""
        with self._lock:
            return self._results.begin(cell, facts, runner, fresh=fresh)

    def append(self, round_: Round, number: int, repeat: Repeat) -> None:
        """See :meth:`harness.results.Results.append`."""
        with self._lock:
            self._results.append(round_, number, repeat)

    def finish(self, round_: Round, measurement: Measurement) -> None:
        """See :meth:`harness.results.Results.finish`."""
        with self._lock:
            self._results.finish(round_, measurement)
