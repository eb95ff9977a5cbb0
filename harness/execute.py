"""Run the cells of one device: each repeat a process of its own, stored as soon as it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from devices.errors import DeadlineExceeded, OutputTooLarge
from devices.facts import DeviceFacts
from devices.probe import check_expectations
from devices.session import Session
from harness import instructions
from harness.job import Cell, Protocol
from harness.plan import blocks
from harness.progress import Progress
from harness.results import Results, Round
from harness.runner import Runner, RunnerFailed
from harness.runners import python
from harness.stats import summarise
from harness.verdict import judge
from pocketzoo import __version__
from pocketzoo.errors import BadInput, Interrupted
from pocketzoo.files import sha256_file
from zoo.measurement import Measurement, Provenance, Repeat

DESCRIBE_DEADLINE_S = 120.0


def repeat_deadline_s(protocol: Protocol) -> float:
    """Seconds after which a repeat is ended: a minute to load, and 3 s an inference (a large model, emulated)."""
    return 60.0 + 3.0 * (protocol.warmup + protocol.runs)


@dataclass(frozen=True)
class Bench:
    """A device ready to measure: its session, what was probed, and the runner that will measure there."""

    session: Session
    facts: DeviceFacts
    runner: Runner
    runner_abi: str | None
    placed: Mapping[str, str]

    @property
    def provenance(self) -> Provenance:
        """Emulated where the inventory says so; such a device is made by ``devices lab``."""
        return "emulated" if "emulated" in self.session.spec.tags else "hardware"


@dataclass
class Outcome:
    """What a campaign gave: finished cells (measured now or before), and which were reused."""

    measurements: list[Measurement] = field(default_factory=list)
    reused: set[str] = field(default_factory=set)


def prepare(session: Session) -> Bench:
    """Probe the device, push the runner, and ask what it would measure with.

    Raises:
        BadInput: the inventory names a runner this version does not have.
        RunnerFailed: the device has no runtime.
        DeviceError: it is not reachable, or is not the device the inventory describes.
    """
    if session.spec.runner != python.NAME:
        raise BadInput(
            f"{session.spec.name}: the {session.spec.runner} runner is not part of this version",
            detail=("runners it has: python (ai-edge-litert or tflite-runtime on the device)",),
            hint="write `runner: python` for this device in an inventory file and pass it with --inventory",
        )
    facts = session.facts()
    check_expectations(session.spec, facts)
    agent = {sha256_file(python.AGENT): python.AGENT}
    placed = session.push(agent)
    argv = python.describe_argv(session.python, placed[next(iter(agent))])
    description = python.parse_description(session.run(argv, deadline_s=DESCRIBE_DEADLINE_S))
    runner = python.PythonRunner(interpreter=session.python, description=description)
    return Bench(session=session, facts=facts, runner=runner, runner_abi=description.abi, placed=placed)


def run_cells(
    bench: Bench,
    cells: Sequence[Cell],
    models: Mapping[str, Path],
    results: Results,
    *,
    fresh: bool = False,
    seed: int = 0,
    deadline_s: float | None = None,
    progress: Progress,
) -> Outcome:
    """Measure what is not measured yet.

    Args:
        bench: the device.
        cells: of this device.
        models: artifact SHA-256 -> file on this machine.
        results: where each repeat is stored when it ends.
        fresh: measure again what the job key says is measured.
        seed: of the order of repeats.
        deadline_s: for one repeat; :func:`repeat_deadline_s` where it is not given.
        progress: told of every repeat.

    Raises:
        Interrupted: Ctrl-C; what was measured is stored, and the same request goes on from there.
        DeviceError: the device was lost; what was measured is stored.
    """
    outcome = Outcome()
    open_rounds: dict[str, Round] = {}
    todo: list[Cell] = []
    for cell in {cell.key: cell for cell in cells}.values():
        known = None if fresh else results.find(cell.key)
        if known is not None:
            outcome.measurements.append(known)
            outcome.reused.add(cell.key)
        else:
            todo.append(cell)
            open_rounds[cell.key] = results.begin(cell, bench.facts, bench.runner.record, fresh=fresh)
    schedule = [(c, n) for c, n in blocks(todo, seed=seed) if n not in open_rounds[c.key].done]
    failed: set[str] = set()
    stored = 0
    progress.begin(len(schedule), bench.facts.name)
    try:
        for cell in todo:  # a round whose repeats are all there and that was never ended
            if len(open_rounds[cell.key].done) >= cell.protocol.repeats:
                outcome.measurements.append(_finish(bench, cell, open_rounds[cell.key], results))
        placed = bench.session.push({c.artifact_sha256: models[c.artifact_sha256] for c, _ in schedule})
        for cell, number in schedule:
            progress.step(f"{cell.label}: repeat {number + 1} of {cell.protocol.repeats}")
            if cell.key in failed:
                continue
            round_ = open_rounds[cell.key]
            try:
                default_s = repeat_deadline_s if cell.metric == "latency" else instructions.repeat_deadline_s
                limit = deadline_s or default_s(cell.protocol)
                repeat = _one_repeat(bench, cell, placed[cell.artifact_sha256], limit)
            except (RunnerFailed, DeadlineExceeded, OutputTooLarge) as error:
                # This cell cannot be measured; the others can.
                failed.add(cell.key)
                reason = " / ".join((error.what, *error.detail))
                outcome.measurements.append(_finish(bench, cell, round_, results, error=reason))
                continue
            results.append(round_, number, repeat)
            round_.done[number] = repeat
            stored += 1
            if len(round_.done) == cell.protocol.repeats:
                outcome.measurements.append(_finish(bench, cell, round_, results))
    except KeyboardInterrupt as stop:
        raise Interrupted(
            "interrupted",
            detail=(f"{stored} of {len(schedule)} repeats were measured and are stored",),
            where=results.url,
            hint="run the same command again (without --fresh): it measures what is missing",
        ) from stop
    finally:
        progress.end()
    return outcome


def _one_repeat(bench: Bench, cell: Cell, model: str, deadline_s: float) -> Repeat:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    argv = bench.runner.argv(cell, model, bench.placed)
    before = bench.session.conditions()
    done = bench.session.run(argv, deadline_s=deadline_s)
    after = bench.session.conditions()
    repeat = bench.runner.parse(cell, done)
    return msgspec.structs.replace(repeat, started=started, before=before, after=after)


def _finish(bench: Bench, cell: Cell, round_: Round, results: Results, *, error: str | None = None) -> Measurement:
    """Summary and verdict of a round, stored and returned."""
    repeats = tuple(round_.done[number] for number in sorted(round_.done))
    timed = repeats and error is None and cell.metric == "latency"
    summary = summarise(repeats) if timed else None
    actual = [r.threads_actual for r in repeats if r.threads_actual is not None]
    record = bench.runner.record
    measurement = Measurement(
        job_key=cell.key,
        artifact_sha256=cell.artifact_sha256,
        model=cell.model,
        device=bench.facts,
        runner=record,
        abi=cell.abi,
        threads_requested=cell.threads,
        threads_actual=min(actual, default=None),
        affinity=cell.affinity,
        warmup=cell.protocol.warmup,
        runs=cell.protocol.runs,
        repeats=repeats,
        summary=summary,
        verdict=judge(
            repeats=repeats,
            summary=summary,
            threads_requested=cell.threads,
            provenance=bench.provenance,
            hot_above_c=bench.session.spec.cool_below_c,
            error=error,
        ),
        provenance=bench.provenance,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"pocketzoo": __version__, "runtime": record.runtime or ""},
        error=error,
    )
    if cell.metric == "instructions":
        measurement = instructions.as_measured(measurement, bench)
    results.finish(round_, measurement)
    return measurement
