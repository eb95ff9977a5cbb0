"""Results that several devices' threads write to, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

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

    def find_each(self, job_keys: Sequence[str]) -> Mapping[str, Measurement]:
        """See :meth:`harness.results.Results.find_each`."""
        with self._lock:
            return self._results.find_each(job_keys)

    def begin_each(
        self, wanted: Sequence[tuple[Cell, RunnerRecord]], facts: DeviceFacts, *, fresh: bool = False
    ) -> list[Round]:
        """See :meth:`harness.results.Results.begin_each`."""
        with self._lock:
            return self._results.begin_each(wanted, facts, fresh=fresh)

    def append(self, round_: Round, number: int, repeat: Repeat) -> None:
        """See :meth:`harness.results.Results.append`."""
        with self._lock:
            self._results.append(round_, number, repeat)

    def finish(self, round_: Round, measurement: Measurement) -> None:
        """See :meth:`harness.results.Results.finish`."""
        with self._lock:
            self._results.finish(round_, measurement)
