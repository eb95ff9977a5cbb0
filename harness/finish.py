"""A round that has ended as a measurement: summary, output check, verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from harness import instructions
from harness.execute import Bench
from harness.outputs import Outputs, compare, not_checked
from harness.reference import Kept
from harness.schedule import ROUND, Task, half_width
from harness.verdict import judge
from pocketzoo import __version__
from zoo.measurement import Evidence, Measurement, OutputCheck, Repeat, Summary
from zoo.stats import summarise


@dataclass(frozen=True)
class Ended:
    """What there is to judge.

    Args:
        task: the cell and how it was to be measured.
        repeats: in order; may be empty where it failed.
        busy: how busy the device was before the first repeat, where that was looked at.
        waited_s: seconds spent cooling, as far as this process waited.
        rounds: rounds of this cell in this campaign before this one.
        why: why there is a further round.
        error: why it failed, where it did.
    """

    task: Task
    repeats: tuple[Repeat, ...]
    busy: Evidence | None = None
    waited_s: float = 0.0
    rounds: int = 0
    why: str = ""
    error: str | None = None


def finished(bench: Bench, ended: Ended, kept: Kept, host: Callable[[], Outputs | str]) -> Measurement:
    """The measurement of a round.

    Args:
        bench: the device.
        ended: the round.
        kept: what the device printed, by digest.
        host: what this machine computes from the same input; asked only where there is something to compare.
    """
    task, cell, repeats, error = ended.task, ended.task.cell, ended.repeats, ended.error
    check = None
    if error is None and repeats:
        check = check_outputs(repeats, kept, host, runner=cell.runner)
        if check.outcome == "differs":
            error = f"it computes something else than the host: {check.says}"
    timed = repeats and error is None and cell.metric == "latency"
    summary = summarise(repeats) if timed else None
    actual = [r.threads_actual for r in repeats if r.threads_actual is not None]
    record = bench.runner_of(cell).record
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
        options=cell.options,
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
            cool_below_c=task.cool_below_c,
            clusters=bench.facts.clusters,
            notes=_notes(ended, summary),
            error=error,
        ),
        output_check=check,
        provenance=bench.provenance,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        versions={"pocketzoo": __version__, "runtime": record.runtime or ""},
        error=error,
    )
    return instructions.as_measured(measurement, bench) if cell.metric == "instructions" else measurement


def check_outputs(
    repeats: Sequence[Repeat], kept: Kept, host: Callable[[], Outputs | str], *, runner: str
) -> OutputCheck:
    """Hold what every repeat computed against the host; the worst of them counts."""
    digests = {repeat.output_sha256 for repeat in repeats if repeat.output_sha256 is not None}
    if not digests:
        return not_checked(f"the {runner} runner's tool prints no outputs")
    devices = [kept.get(digest) for digest in sorted(digests)]
    found = [one for one in devices if one is not None]
    if len(found) < len(devices):
        return not_checked("what the device computed was not kept")
    reference = host()
    if isinstance(reference, str):
        return not_checked(reference)
    checks = [compare(one, reference) for one in found]
    order = ("agrees", "not checked", "differs")
    return max(checks, key=lambda check: (order.index(check.outcome), check.worst_difference or 0.0))


def _notes(ended: Ended, summary: Summary | None) -> list[Evidence]:
    """Evidence that decides nothing: waits, rounds, load before, and how near it came to --until."""
    task, notes = ended.task, [ended.busy] if ended.busy is not None else []
    if task.cool_below_c is not None:
        says = f"waited {ended.waited_s:.0f} s for the device to cool below {task.cool_below_c:g} °C"
        notes.append(Evidence(check="cooling", outcome="ok", value=ended.waited_s, unit="s", says=says))
    if ended.rounds:
        says = f"measured again, round {ended.rounds + 1}; before it was {ended.why}"
        notes.append(Evidence(check=ROUND, outcome="ok", value=ended.rounds, says=says))
    if task.until is not None and summary is not None:
        width = half_width(summary)
        reached = width <= task.until
        says = f"±{task.until:.1%} was asked for, ±{width:.1%} reached after {len(ended.repeats)} repeats"
        notes.append(
            Evidence(check="until", outcome="ok" if reached else "exceeded", value=width, limit=task.until, says=says)
        )
    return notes
