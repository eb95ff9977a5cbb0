"""Can this cell's number be believed? Pure rules over what the repeats recorded; docs/method.md gives each a reason.

The name is the first rule that applies: failed, emulated, clamped, throttled, contended, unstable, else valid. Every
check's figure is kept as evidence, also those that passed and those that could not be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median, stdev
from typing import Literal

from devices.facts import ClusterFacts
from harness.cooling import hottest
from zoo.measurement import Evidence, Provenance, Repeat, Summary, Verdict, VerdictName
from zoo.stats import spread

FOREIGN_CPU_SHARE = 0.10
"""More than a tenth of the allowed CPUs' time taken by others moves medians by percents."""

FREQUENCY_DROP = 0.10
"""A clock that is a tenth lower after a repeat than before it was throttled while it was measured."""

SLOWDOWN_WHEN_HOT = 0.05
"""The last quarter of a repeat slower than its first by this much, on a device at its temperature limit."""

REPEAT_SPREAD = 0.02
"""Repeat medians that differ by more than 2%: AMC's own Pixel 1 logs spread 0.65 to 3.4%."""

RANGE_OF_THREE = 1.693
"""Expected range of three normal draws in standard deviations (d2 of control charts, Tippett 1925): the range grows
with the number of repeats, so beyond three their standard deviation times this takes its place."""

INTERVAL_HALF_WIDTH = 0.05
"""An interval wider than ±5% cannot carry a 5% gate."""


def judge(
    *,
    repeats: Sequence[Repeat],
    summary: Summary | None,
    threads_requested: int,
    provenance: Provenance,
    hot_above_c: float | None = None,
    cool_below_c: float | None = None,
    clusters: Sequence[ClusterFacts] = (),
    notes: Sequence[Evidence] = (),
    error: str | None = None,
) -> Verdict:
    """The verdict of one cell.

    Args:
        repeats: what the processes recorded; may be empty where it failed.
        summary: their figures; None where it failed.
        threads_requested: what the plan asked for.
        provenance: hardware, emulated or published.
        hot_above_c: the temperature above which this device is known to throttle; None where nobody said.
        cool_below_c: the temperature that was waited for before each repeat; None where nobody asked.
        clusters: the device's cores as probed, with their top frequencies.
        notes: evidence that decides nothing, kept with the rest.
        error: why it failed, where it did.
    """
    if error is not None or summary is None:
        return Verdict(name="failed", reason=error or "no repeat finished", evidence=tuple(notes))
    checks: list[tuple[VerdictName, Evidence]] = [
        ("clamped", _threads(repeats, threads_requested)),
        ("throttled", _frequency(repeats)),
        ("throttled", _cap(repeats, clusters)),
        ("throttled", _heat(repeats, hot_above_c)),
        ("contended", _foreign_load(repeats)),
        ("unstable", _repeat_spread(summary)),
        ("unstable", _interval(summary)),
    ]
    evidence = (*(item for _, item in checks), *_warm_start(repeats, cool_below_c), *notes)
    exceeded = [(name, item) for name, item in checks if item.outcome == "exceeded"]
    if provenance == "emulated":
        return Verdict(
            name="emulated", evidence=evidence, reason="run under emulation: outputs are real, times are not"
        )
    if exceeded:
        name, item = exceeded[0]
        return Verdict(name=name, evidence=evidence, reason=item.says)
    return Verdict(name="valid", evidence=evidence)


def _threads(repeats: Sequence[Repeat], requested: int) -> Evidence:
    actual = [r.threads_actual for r in repeats if r.threads_actual is not None]
    if len(actual) < len(repeats):
        return _unknown("threads", "the runner did not tell how many threads ran")
    fewest = min(actual)
    pool = min((r.pool_threads for r in repeats if r.pool_threads is not None), default=None)
    cpus = min((len(r.cpus_allowed) for r in repeats if r.cpus_allowed is not None), default=None)
    started = f"{pool} started" if pool is not None else "the runner does not say how many started"
    says = f"{requested} threads requested, {started}, {cpus} CPUs allowed: {fewest} can run at once"
    return Evidence(
        check="threads",
        outcome="exceeded" if fewest < requested else "ok",
        value=fewest,
        limit=requested,
        says=says,
    )


def _frequency(repeats: Sequence[Repeat]) -> Evidence:
    """The largest drop of a CPU's clock, or of its cap, over one repeat."""
    drops = []
    for repeat in repeats:
        if repeat.before is None or repeat.after is None:
            continue
        for before, after in (
            (repeat.before.max_frequencies_mhz, repeat.after.max_frequencies_mhz),
            (repeat.before.frequencies_mhz, repeat.after.frequencies_mhz),
        ):
            drops += [1 - after[cpu] / mhz for cpu, mhz in _allowed(repeat, before).items() if cpu in after and mhz > 0]
    if not drops:
        return _unknown("frequency drop", _why_unknown(repeats, "frequencies_mhz", "no CPU frequency can be read"))
    worst = max(drops)
    says = f"a CPU's clock fell by {worst:.0%} during a repeat" if worst > 0 else "no CPU's clock fell"
    return _held_against("frequency drop", worst, FREQUENCY_DROP, says)


def _cap(repeats: Sequence[Repeat], clusters: Sequence[ClusterFacts]) -> Evidence:
    """How far the governor's cap was below the top frequency of the cores, before or after a repeat.

    A device that was hot from the start shows no drop within a repeat: its clocks were down all the time.
    """
    top = {str(cpu): c.max_mhz for c in clusters if c.max_mhz for cpu in c.cpus}
    lowered = [
        1 - mhz / top[cpu]
        for repeat in repeats
        for conditions in (repeat.before, repeat.after)
        if conditions is not None
        for cpu, mhz in _allowed(repeat, conditions.max_frequencies_mhz).items()
        if cpu in top
    ]
    if not lowered:
        return _unknown("frequency cap", _why_unknown(repeats, "max_frequencies_mhz", "no cap can be read"))
    worst = max(0.0, *lowered)
    says = f"a CPU was held {worst:.0%} below its top frequency" if worst else "no CPU was held below its top frequency"
    return _held_against("frequency cap", worst, FREQUENCY_DROP, says)


def _allowed(repeat: Repeat, values: Mapping[str, float]) -> dict[str, float]:
    """Of figures by CPU number, those of the CPUs that the repeat was allowed to run on."""
    if not repeat.cpus_allowed:
        return dict(values)
    allowed = {str(cpu) for cpu in repeat.cpus_allowed}
    return {cpu: value for cpu, value in values.items() if cpu in allowed}


def _warm_start(repeats: Sequence[Repeat], cool_below_c: float | None) -> tuple[Evidence, ...]:
    """Repeats that began warmer than asked for, because waiting has a limit. Warm alone is no throttling."""
    if cool_below_c is None:
        return ()
    starts = [at for r in repeats if r.before is not None and (at := hottest(r.before)) is not None]
    if not starts:
        return (_unknown("warm start", _why_unknown(repeats, "temperatures_c", "no temperature can be read")),)
    late = sum(at >= cool_below_c for at in starts)
    says = f"{late} of {len(starts)} repeats began at {cool_below_c:g} °C or more, {max(starts):.1f} °C at most"
    outcome: Literal["ok", "exceeded"] = "exceeded" if late else "ok"
    return (Evidence(check="warm start", outcome=outcome, value=max(starts), limit=cool_below_c, unit="°C", says=says),)


def _heat(repeats: Sequence[Repeat], hot_above_c: float | None) -> Evidence:
    """Slower towards the end of a repeat while the device is at its limit."""
    temperatures = [max(r.after.temperatures_c.values()) for r in repeats if r.after and r.after.temperatures_c]
    if not temperatures:
        return _unknown("temperature", _why_unknown(repeats, "temperatures_c", "no temperature can be read"))
    hottest = max(temperatures)
    slowdowns = [_slowdown(r.samples_ns) for r in repeats if r.samples_ns]
    if hot_above_c is None:
        hot = False
        says = f"{hottest:.1f} °C at most; the inventory names no limit for this device"
    elif not slowdowns:
        if hottest > hot_above_c:
            why = f"{hottest:.1f} °C at most, above the limit; without samples nobody can tell whether it slowed down"
            return _unknown("temperature", why)
        hot = False
        says = f"{hottest:.1f} °C at most"
    else:
        slowdown = max(slowdowns)
        hot = hottest > hot_above_c and slowdown > SLOWDOWN_WHEN_HOT
        says = f"{hottest:.1f} °C at most, and {slowdown:+.1%} from a repeat's first quarter to its last"
    return Evidence(
        check="temperature",
        outcome="exceeded" if hot else "ok",
        value=hottest,
        limit=hot_above_c,
        unit="°C",
        says=says,
    )


def _slowdown(samples: Sequence[int]) -> float:
    import numpy as np

    quarter = max(1, len(samples) // 4)
    return float(np.median(samples[-quarter:])) / float(np.median(samples[:quarter])) - 1


def _foreign_load(repeats: Sequence[Repeat]) -> Evidence:
    shares = [r.foreign_cpu_share for r in repeats if r.foreign_cpu_share is not None]
    if not shares:
        return _unknown("foreign load", "too short a run to tell, or the device does not say how busy its CPUs are")
    worst = max(shares)
    says = f"others used {worst:.1%} of the CPUs while it was measured"
    return _held_against("foreign load", worst, FOREIGN_CPU_SHARE, says)


def _repeat_spread(summary: Summary) -> Evidence:
    medians = summary.repeat_medians_ms
    found = spread(medians)
    if found is None:
        return _unknown("repeat spread", "one repeat has no spread")
    if len(medians) > 3:
        found = RANGE_OF_THREE * stdev(medians) / median(medians)
        says = f"{summary.centre}s of {len(medians)} repeats scatter as three that differ by {found:.1%}"
        return _held_against("repeat spread", found, REPEAT_SPREAD, says)
    return _held_against(
        "repeat spread", found, REPEAT_SPREAD, f"{summary.centre}s of the repeats differ by {found:.1%}"
    )


def _interval(summary: Summary) -> Evidence:
    if summary.mad_ms is None and len(summary.repeat_medians_ms) < 2:
        return _unknown("interval", "the runner gave no samples, and one repeat alone has no interval")
    low, high = summary.ci95_ms
    half = (high - low) / 2 / summary.median_ms if summary.median_ms else 0.0
    return _held_against("interval", half, INTERVAL_HALF_WIDTH, f"95% interval of ±{half:.1%}")


def _why_unknown(repeats: Iterable[Repeat], field: str, otherwise: str) -> str:
    for repeat in repeats:
        if repeat.before is not None and field in repeat.before.unknown:
            return repeat.before.unknown[field]
    return otherwise


def _held_against(check: str, value: float, limit: float, says: str) -> Evidence:
    """A share (0.1 is 10%) that must not pass its limit."""
    outcome: Literal["ok", "exceeded"] = "exceeded" if value > limit else "ok"
    return Evidence(check=check, outcome=outcome, value=value, limit=limit, says=says)


def _unknown(check: str, says: str) -> Evidence:
    return Evidence(check=check, outcome="unknown", says=says)
