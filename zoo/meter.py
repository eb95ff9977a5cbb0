"""Files measured on a device for somebody who is not the harness. Who measures is found by an entry point.

A search has networks and layers of networks to measure, in files of its own making. It asks by these records and the
entry point group ``pocketzoo.measure``; the room that knows how a device is measured answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pocketzoo.errors import BadInput, PocketzooError
from zoo.artifact import Format
from zoo.measurement import Measurement, Metric, Provenance, VerdictName

GROUP = "pocketzoo.measure"

RETRIED: tuple[VerdictName, ...] = ("throttled", "contended", "unstable")
"""Verdicts that may be another the next time."""


@dataclass(frozen=True)
class Way:
    """Where and how to measure: a name of the inventory, threads, the ABI (None: the runner's own), settings."""

    device: str
    threads: int = 1
    abi: str | None = None
    metric: Metric = "latency"
    options: tuple[tuple[str, str], ...] = ()
    inventory: Path | None = None


@dataclass(frozen=True)
class Identity:
    """What stands behind a way of measuring: two that are equal give numbers that may be put into one table."""

    device: str
    fingerprint: str
    abi: str
    threads: int
    metric: Metric
    options: tuple[tuple[str, str], ...]
    runner: str
    runner_sha256: str
    provenance: Provenance
    formats: tuple[Format, ...]


@dataclass(frozen=True)
class Piece:
    """A file to measure, its name in what is told, and how often: warm-up runs, runs, processes.

    ``checked`` asks whether the device computes what this machine does.
    """

    file: Path
    sha256: str
    name: str
    warmup: int
    runs: int
    repeats: int
    checked: bool = False


@dataclass(frozen=True)
class Batch:
    """What came of measuring: by the SHA-256 of each file, measured now or known already.

    ``known`` are those that did not have to be measured. ``error`` ended it early; what is here is kept all the same.
    """

    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    impossible: tuple[str, ...] = ()
    error: PocketzooError | None = None


class Meter(Protocol):
    """What an entry point of the group makes of a :class:`Way`."""

    def identify(self) -> Identity:
        """Ask the device what it is.

        Raises:
            BadInput: an unknown device, or one that cannot be measured in this way.
            DeviceUnavailable: it cannot be used now.
        """
        ...

    def measure(self, pieces: Sequence[Piece], *, fresh: bool = False) -> Batch:
        """Measure files, in blocks: one process of each in random order, then the next.

        Args:
            pieces: what to measure, one number of times each.
            fresh: also what is known already.
        """
        ...


def figure(m: Measurement) -> tuple[float, float, float] | None:
    """A measurement's number with its interval: milliseconds, or instructions; None where there is none.

    For instructions the interval is the range over the processes.
    """
    if m.metric == "instructions":
        if m.instructions is None:
            return None
        return m.instructions.median, min(m.instructions.repeat_medians), max(m.instructions.repeat_medians)
    if m.summary is None:
        return None
    return m.summary.median_ms, *m.summary.ci95_ms


def find_meter(way: Way) -> Meter:
    """Who can measure here.

    Raises:
        BadInput: nobody is installed.
    """
    from importlib.metadata import entry_points

    for found in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        make: Callable[[Way], Meter] = found.load()
        return make(way)
    raise BadInput("nothing that can measure is installed", hint="pip install --force-reinstall pocketzoo")
