"""Measurements as a report remembers them: what tables need, what many share written once, each with its digest. Pure.

Fifty thousand measurements are read at each build. Half of each is the facts of its device; written once for all of
its cells they are read in a third of the time, and every cell of a device has the same facts in memory. Half of the
rest is evidence that everything was fine; like the samples it is read for the pages that tell it. The digest is that of
the whole record without its samples.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from devices.facts import DeviceFacts
from pocketzoo.decodable import decodable
from zoo.measurement import InstructionSummary, Measurement, OutputCheck, RunnerRecord, Summary, Verdict

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def sign(cell: Measurement) -> str:
    """A digest of a measurement as it is in memory."""
    return digest_of(_ENCODER.encode(cell))


def digest_of(data: bytes) -> str:
    """A digest that tells records apart, half as long as SHA-256."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Cell(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A measurement without repeats and without evidence that exceeded no limit.

    ``device``, ``runner`` and ``versions`` are numbers in :class:`Shared`.
    """

    sign: str
    device: int
    runner: int
    versions: int
    schema: int
    job_key: str
    artifact_sha256: str
    model: str
    abi: str
    threads_requested: int
    threads_actual: int | None
    affinity: str | None
    options: tuple[tuple[str, str], ...]
    warmup: int
    runs: int
    summary: Summary | None
    verdict: Verdict
    output_check: OutputCheck | None
    provenance: str
    time: str
    error: str | None
    metric: str
    instructions: InstructionSummary | None


def _told(verdict: Verdict) -> Verdict:
    """A verdict with the figures that tables tell; those that were fine are half of what is left of a measurement."""
    exceeded = tuple(one for one in verdict.evidence if one.outcome == "exceeded")
    return verdict if exceeded == verdict.evidence else msgspec.structs.replace(verdict, evidence=exceeded)


class Shared(msgspec.Struct, array_like=True):
    """What cells share, each once, in the order in which it was met."""

    devices: list[DeviceFacts] = []
    runners: list[RunnerRecord] = []
    versions: list[dict[str, str]] = []


decodable(Cell, Shared)


class Keeper:
    """Turns measurements into what is remembered, and back.

    Args:
        shared: what was remembered before; it is added to.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._numbers: dict[tuple[str, bytes], int] = {}
        for kind, known in (("d", shared.devices), ("r", shared.runners), ("v", shared.versions)):
            for number, one in enumerate(known):
                self._numbers[kind, _ENCODER.encode(one)] = number

    def short(self, cell: Measurement) -> Cell:
        """A measurement as it is remembered, and its digest."""
        shared = self.shared
        return Cell(
            sign(msgspec.structs.replace(cell, repeats=())),
            self._number("d", shared.devices, cell.device),
            self._number("r", shared.runners, cell.runner),
            self._number("v", shared.versions, cell.versions),
            cell.schema, cell.job_key, cell.artifact_sha256, cell.model, cell.abi, cell.threads_requested,
            cell.threads_actual, cell.affinity, cell.options, cell.warmup, cell.runs, cell.summary,
            _told(cell.verdict), cell.output_check, cell.provenance, cell.time, cell.error, cell.metric,
            cell.instructions,
        )  # fmt: skip

    def whole(self, cell: Cell) -> Measurement:
        """The measurement again.

        Raises:
            IndexError: it refers to what is not there: the memory is damaged.
        """
        shared = self.shared
        return Measurement(
            schema=cell.schema, job_key=cell.job_key, artifact_sha256=cell.artifact_sha256, model=cell.model,
            device=shared.devices[cell.device], runner=shared.runners[cell.runner], abi=cell.abi,
            threads_requested=cell.threads_requested, threads_actual=cell.threads_actual, affinity=cell.affinity,
            options=cell.options, warmup=cell.warmup, runs=cell.runs, repeats=(), summary=cell.summary,
            verdict=cell.verdict, output_check=cell.output_check, provenance=cell.provenance,  # type: ignore[arg-type]
            time=cell.time, versions=shared.versions[cell.versions], error=cell.error,
            metric=cell.metric, instructions=cell.instructions,  # type: ignore[arg-type]
        )  # fmt: skip

    def _number(self, kind: str, known: list[Any], one: object) -> int:
        key = (kind, _ENCODER.encode(one))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(known)
            known.append(one)
        return number
