"""Files that somebody else made, measured: the entry point ``pocketzoo.measure``.

They and their numbers are kept in a store and results of their own under the state folder, ``latency/``: a table of a
hundred layers is nothing to look at among models. A repeat is on disk when it ends, so whoever was killed in the middle
asks again and gets what there is.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.campaign import bench_on, carry_out, check_devices, state_of
from harness.commands.carrying import new_campaign
from harness.instructions import why_not
from harness.job import Protocol
from harness.outputs import Outputs
from harness.progress import Board, Progress
from harness.reference import Kept
from harness.request import Group, Request
from harness.results import Results
from pocketzoo.errors import BadInput, Interrupted, PocketzooError, WorkFailed
from pocketzoo.home import home
from zoo.artifact import Artifact, FileRecord, Format
from zoo.measurement import Measurement
from zoo.meter import Batch, Identity, Piece, Way
from zoo.programs import format_of
from zoo.store import Store
from zoo.tflite import inspect

TOLD = 10
"""Lines that a log gets of one batch."""


class _Unchecked(Kept):
    """Asks nothing of this machine: a lone layer has no answer that anybody uses."""

    def host(self, model: Path, artifact_sha256: str, seed: int) -> Outputs | str:  # noqa: ARG002
        return "a part of a network, measured for its cost alone"


class _Tenths:
    """Progress for logs: a line for every tenth of the work, not one for each of hundreds of short repeats."""

    def __init__(self) -> None:
        self._steps, self._at, self._told = 0, 0, -1

    def begin(self, steps: int, text: str) -> None:  # noqa: ARG002
        """The number of repeats there are now."""
        self._steps = steps

    def step(self, text: str) -> None:
        """Tell it where another tenth is done."""
        tenth = TOLD * self._at // max(1, self._steps)
        if tenth != self._told:
            print(f"[{self._at + 1}/{self._steps}] {text}", file=sys.stderr, flush=True)
        self._told = tenth
        self._at += 1

    def cooling(self, now: float, target: float) -> None:
        """A phone that was warmed by the layers before."""
        print(f"cooling: {now:.1f} °C, until below {target:g} °C", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Nothing to clear away."""


class _Board(Board):
    """A bar in a terminal, a few lines elsewhere."""

    def device(self, name: str) -> Progress:
        shown = super().device(name)
        return shown if self.draws else _Tenths()


class HarnessMeter:
    """Implements :class:`zoo.meter.Meter` over campaigns.

    Args:
        way: where and how.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._root = home() / "latency"

    def identify(self) -> Identity:
        """See :meth:`zoo.meter.Meter.identify`."""
        way = self._way
        request = self._request((), fresh=False)
        check_devices(request)
        with bench_on(request, way.device) as bench:
            prepared, tags = bench.prepared, bench.session.spec.tags
            usual = (*prepared.default_abis, *prepared.runners)
            abi = way.abi or usual[0]
            if abi not in prepared.runners:
                why = prepared.missing.get(abi) or f"it measures as {', '.join(prepared.runners)}"
                raise BadInput(f"{way.device} cannot be measured as {abi}: {why}", hint=f"devices show {way.device}")
            if way.metric == "instructions":
                reason = why_not(tags, way.threads)
                if reason is not None:
                    raise BadInput(reason, where=way.device, hint="devices lab up, then --device lab-phone-armv8")
            elif bench.provenance == "emulated":
                raise BadInput(
                    f"{way.device} is emulated: its times say nothing of hardware",
                    hint=f"--device {way.device} --metric instructions",
                )
            record = prepared.runners[abi].record
            return Identity(
                device=way.device,
                fingerprint=bench.facts.fingerprint,
                abi=abi,
                threads=way.threads,
                metric=way.metric,
                options=way.options,
                runner=record.name,
                runner_sha256=record.binary_sha256,
                provenance=bench.provenance,
                formats=tuple(f for f in ("tflite", "onnx", "torchscript", "pt2") if f in prepared.formats),
            )

    def measure(self, pieces: Sequence[Piece], *, fresh: bool = False) -> Batch:
        """See :meth:`zoo.meter.Meter.measure`.

        Raises:
            BadInput: a file of a kind that is not measured, or an unknown device.
            Interrupted: Ctrl-C; what was measured is stored.
        """
        measurements: dict[str, Measurement] = {}
        known: set[str] = set()
        impossible: list[str] = []
        error: PocketzooError | None = None
        for checked in (False, True):
            some = [piece for piece in pieces if piece.checked is checked]
            if not some or error is not None:
                continue
            batch = self._carried_out(some, fresh=fresh, checked=checked)
            measurements.update(batch.measurements)
            known |= batch.known
            impossible += batch.impossible
            error = batch.error
        return Batch(measurements, frozenset(known), tuple(dict.fromkeys(impossible)), error)

    def _carried_out(self, pieces: Sequence[Piece], *, fresh: bool, checked: bool) -> Batch:
        store = Store(self._root / "zoo")
        for piece in pieces:
            self._enter(store, piece)
        request = self._request(pieces, fresh=fresh)
        results = Results(f"sqlite:///{self._root / 'results.sqlite'}")
        campaign = new_campaign(results, request)
        with _Board(1) as board:
            (report,) = carry_out(
                request,
                campaign,
                store=store,
                results=results,
                board=board,
                kept=Kept(self._root / "outputs") if checked else _Unchecked(self._root / "outputs"),
            )
        results.end_campaign(campaign.id, state_of([report]))
        ended = {m.artifact_sha256: m for m in report.outcome.measurements}
        stopped: PocketzooError | None = report.error
        if report.stopped:
            stopped = Interrupted(
                "interrupted", detail=(f"{report.outcome.stored} repeats were measured and are kept",)
            )
        reused = {m.artifact_sha256 for m in report.outcome.measurements if m.job_key in report.outcome.reused}
        if stopped is None and len(ended) < len({piece.sha256 for piece in pieces}) and not report.impossible:
            stopped = WorkFailed(f"{self._way.device} measured {len(ended)} of {len(pieces)} files")
        return Batch(ended, frozenset(reused), tuple(i.reason for i in report.impossible), stopped)

    def _request(self, pieces: Sequence[Piece], *, fresh: bool) -> Request:
        way = self._way
        alike: dict[Protocol, list[Piece]] = defaultdict(list)
        for piece in pieces:
            alike[Protocol(warmup=piece.warmup, runs=piece.runs, repeats=piece.repeats)].append(piece)
        groups = tuple(
            Group(
                devices=(way.device,),
                models=tuple(f"{piece.name}@sha256:{piece.sha256}" for piece in some),
                abis=(way.abi,) if way.abi else (),
                threads=(way.threads,),
                options=way.options,
                protocol=protocol,
            )
            for protocol, some in alike.items()
        )
        return Request(
            groups=groups or (Group(devices=(way.device,)),),
            retry=0,  # whoever asks has a budget and decides what is measured again
            fresh=fresh,
            inventory=str(way.inventory.absolute()) if way.inventory is not None else None,
            metric=way.metric,
        )

    def _enter(self, store: Store, piece: Piece) -> None:
        if store.manifest(piece.name, piece.sha256).exists() and store.blob(piece.sha256).exists():
            return
        form: Format = "tflite" if piece.file.suffix == ".tflite" else format_of(piece.file)
        facts = inspect(piece.file) if form == "tflite" else None
        record = FileRecord(
            name=f"{piece.name}{piece.file.suffix}", sha256=piece.sha256, size=piece.file.stat().st_size
        )
        artifact = Artifact(
            name=piece.name,
            format=form,
            files=(record,),
            inputs=facts.inputs if facts else (),
            outputs=facts.outputs if facts else (),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        store.add(artifact, {record.name: piece.file}, tags=())


def meter(way: Way) -> HarnessMeter:
    """See :func:`zoo.meter.find_meter`."""
    return HarnessMeter(way)
