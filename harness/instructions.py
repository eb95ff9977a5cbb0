"""The metric `instructions`: what can be counted, summary, verdict. Guest instructions of an emulated device, no time.

Pure, but for :func:`counting`, which asks a device what counts there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from devices.facts import DeviceFacts
from devices.lab.counter import ABOUT, TAG, About
from devices.lab.identity import ArmAbi, arm_design, identity
from devices.spec import DeviceSpec
from harness.job import Cell, Protocol
from harness.plan import Impossible, Plan
from harness.runner import RunnerFailed
from harness.runners.counted import CountedRunner
from harness.runners.python import PythonRunner
from pocketzoo.errors import WorkFailed
from zoo.comparison import REPEATABLE
from zoo.measurement import Evidence, InstructionSummary, Measurement, Metric, Repeat, Verdict
from zoo.stats import spread

if TYPE_CHECKING:
    from harness.execute import Bench

PROTOCOL = Protocol(warmup=1, runs=2, repeats=2)
"""A count hardly varies: the first inference apart, one run would do, and the rest shows that it repeats."""

REASON = "guest instructions under emulation: a count, not a time"


def repeat_deadline_s(protocol: Protocol) -> float:
    """Seconds after which a repeat is ended: two minutes to load, and a minute an inference (ResNet-50 takes half)."""
    return 120.0 + 60.0 * (1 + protocol.warmup + protocol.runs)


def why_not(tags: Sequence[str], threads: int) -> str | None:
    """Why instructions cannot be counted in such a cell; None where they can.

    Args:
        tags: of the device's inventory entry.
        threads: asked for.
    """
    if "lab" not in tags or "emulated" not in tags:
        return "instructions are counted on devices of `devices lab` alone, e.g. lab:snapdragon855"
    if TAG not in tags:
        return "this device runs without the counter: `devices lab up` says what the machine lacks"
    if threads != 1:
        return "instructions are counted with 1 thread: of several, those that wait spin, which is no work"
    return None


def as_counted(plan: Plan, spec: DeviceSpec) -> Plan:
    """A plan of latencies as one of instructions: the same cells, less those that cannot be counted."""
    cells: list[Cell] = []
    impossible = list(plan.impossible)
    for cell in plan.cells:
        reason = why_not(spec.tags, cell.threads)
        if reason is None:
            cells.append(msgspec.structs.replace(cell, metric="instructions"))
        else:
            impossible.append(Impossible(cell.model, cell.device, cell.abi, cell.threads, reason))
    return Plan(tuple(cells), tuple(impossible))


def counting(bench: Bench, metric: Metric) -> Bench:
    """The device as it is for latencies; where instructions are asked for and can be counted, with what counts them.

    Raises:
        WorkFailed: the device should have a counter and does not answer as one.
        DeviceError: it was lost.
    """
    spec, prepared = bench.session.spec, bench.prepared
    python = {abi: runner for abi, runner in prepared.runners.items() if isinstance(runner, PythonRunner)}
    if metric == "latency" or why_not(spec.tags, 1) is not None or not python:
        return bench
    done = bench.session.run(["cat", ABOUT], deadline_s=60)
    try:
        about = msgspec.json.decode(done.stdout, type=About)
    except msgspec.DecodeError as error:
        raise WorkFailed(
            f"{spec.name} does not say what counts its instructions: {error}",
            where=ABOUT,
            hint="devices lab down && devices lab up",
        ) from error
    counted = {abi: CountedRunner(measuring=runner, about=about) for abi, runner in python.items()}
    files = {digest: path for runner in counted.values() for digest, path in runner.files().items()}
    placed = {**prepared.placed, **bench.session.push(files)}
    return replace(bench, prepared=replace(prepared, runners=counted, placed=placed))


def summarise(repeats: Sequence[Repeat]) -> InstructionSummary:
    """The figures of one cell; every repeat has a count.

    Raises:
        RunnerFailed: one has none.
    """
    import numpy as np

    counts = [repeat.instructions for repeat in repeats]
    if not counts or not all(counts):
        raise RunnerFailed("a repeat without a count of instructions")
    pooled = [count for repeat in counts for count in repeat]
    medians = tuple(float(np.median(repeat)) for repeat in counts)
    return InstructionSummary(
        median=float(np.median(pooled)),
        min=min(pooled),
        max=max(pooled),
        repeat_medians=medians,
        spread=spread(medians),
    )


def as_measured(measurement: Measurement, bench: Bench) -> Measurement:
    """A measurement of repeats that hold counts: with its summary in instructions and its own evidence."""
    runner = bench.prepared.runners.get(measurement.abi)
    about = runner.about if isinstance(runner, CountedRunner) else None
    versions = {**measurement.versions, **({"qemu": about.qemu, "counter": about.key} if about else {})}
    counted = msgspec.structs.replace(measurement, metric="instructions", summary=None, versions=versions)
    if measurement.error is not None:
        return counted
    summary = summarise(measurement.repeats)
    evidence = (
        repeatability(summary),
        cpu_model(bench.session.spec, measurement.abi, about),
        kernels(measurement.device, measurement.runner.runtime),
    )
    doubt = next((item.says for item in evidence if item.outcome == "exceeded"), None)
    verdict = Verdict(name="emulated", evidence=evidence, reason=f"{REASON}; {doubt}" if doubt else REASON)
    return msgspec.structs.replace(counted, instructions=summary, verdict=verdict)


def repeatability(summary: InstructionSummary) -> Evidence:
    """Whether processes agree."""
    if summary.spread is None:
        return Evidence(check="repeatability", outcome="unknown", says="one repeat does not show whether it repeats")
    return Evidence(
        check="repeatability",
        outcome="exceeded" if summary.spread > REPEATABLE else "ok",
        value=summary.spread,
        limit=REPEATABLE,
        says=f"medians of the repeats differ by {summary.spread:.3%}",
    )


def cpu_model(spec: DeviceSpec, abi: str, about: About | None) -> Evidence:
    """Which processor QEMU is, and whether that is the device's own fastest core or one that stands for it."""
    if not spec.clusters or abi not in ("armv7", "armv8"):
        return Evidence(check="CPU model", outcome="unknown", says="the inventory names no cores for this device")
    arm: ArmAbi = "armv7" if abi == "armv7" else "armv8"
    shown = identity(spec.clusters, arm, soc=spec.soc or spec.name)
    fastest = arm_design(max(spec.clusters, key=lambda cluster: cluster.max_mhz).core)
    stands = f"models {fastest}" if shown.exact else f"stands for {fastest}, with the same instructions"
    qemu = f"QEMU {about.qemu}" if about else "QEMU"
    return Evidence(
        check="CPU model", outcome="ok", value=float(shown.exact), says=f"{qemu}: {shown.qemu_cpu} {stands}"
    )


def kernels(facts: DeviceFacts, runtime: str | None) -> Evidence:
    """What decides which kernels ran. A runtime that asks on which core it runs is told the first."""
    core = facts.clusters[0].core if facts.clusters else None
    if core is None:
        return Evidence(check="kernels", outcome="unknown", says="the core that the runtime sees is not known")
    dot = "with" if "asimddp" in facts.cpu_features else "without"
    return Evidence(check="kernels", outcome="ok", says=f"{runtime or 'the runtime'} on {core}, {dot} the dot product")
