"""Two measurements against each other: alike or not, the ratio with its interval, a test, a gate. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pocketzoo.errors import BadInput
from zoo.measurement import Measurement
from zoo.ranks import mann_whitney, smallest_p
from zoo.stats import ratio_interval
from zoo.timings import threads_text

ALPHA = 0.05
"""The test's level, that of the 95% interval."""

REPEATABLE = 0.005
"""Counts of processes that differ by more than 0.5% are not of the same work; they differ by 0.01 to 0.1%."""

FIELDS = ("device", "abi", "threads", "affinity", "options", "protocol", "runner", "provenance", "metric")
"""What must be alike, in the order in which it is told. The number of repeats need not be."""

Outcome = Literal["slower", "faster", "no difference", "cannot tell"]


@dataclass(frozen=True)
class Comparison:
    """The second measurement against the first.

    Args:
        first: what it is compared with.
        second: what is compared.
        ratio: how many times as long the second takes.
        low: lower end of its 95% interval.
        high: upper end.
        p: of the Mann-Whitney U test over the repeats' medians; None where there are too few to tell.
        outcome: what that says of the second.
        says: the same in words.
    """

    first: Measurement
    second: Measurement
    ratio: float
    low: float
    high: float
    p: float | None
    outcome: Outcome
    says: str


def unlike(a: Measurement, b: Measurement) -> dict[str, tuple[str, str]]:
    """The fields in which two measurements differ that must not, with both values."""
    found = {}
    for field in FIELDS:
        one, other = _value(a, field), _value(b, field)
        if one != other:
            found[field] = (one, other)
    return found


def _value(m: Measurement, field: str) -> str:
    if field == "device":
        return f"{m.device.name} ({m.device.fingerprint[:12]})" if m.device.fingerprint else m.device.name
    if field == "threads":
        return str(m.threads_requested)
    if field == "affinity":
        return m.affinity or "none"
    if field == "options":
        return ", ".join(f"{name}={value}" for name, value in m.options) or "none"
    if field == "protocol":
        return f"{m.warmup} warm-up + {m.runs} runs"
    if field == "runner":
        return (
            f"{m.runner.name} {m.runner.version} ({m.runner.binary_sha256[:12]}, {m.runner.delegate or 'no delegate'})"
        )
    if field == "metric":
        return m.metric
    return str(getattr(m, field))


def pairs(
    first: Iterable[Measurement], second: Iterable[Measurement], *, allow: Collection[str] = ()
) -> list[tuple[Measurement, Measurement]]:
    """Every pair that may be compared.

    Args:
        first: measurements of one model.
        second: of the other.
        allow: fields that may differ.

    Raises:
        BadInput: there is none; says in which fields the nearest pair differs.
    """
    ones, others = list(first), list(second)
    nearest: tuple[int, dict[str, tuple[str, str]]] | None = None
    found = []
    for a in ones:
        for b in others:
            wrong = {field: values for field, values in unlike(a, b).items() if field not in allow}
            if a.job_key == b.job_key and a.time == b.time:
                wrong["measurement"] = ("the same one", "the same one")
            if not wrong:
                found.append((a, b))
            elif nearest is None or len(wrong) < nearest[0]:
                nearest = (len(wrong), wrong)
    if found:
        return found
    if nearest is None:
        raise ValueError("nothing to pair")
    if "measurement" in nearest[1]:
        raise BadInput("both name the same measurement", hint="harness results lists what there is")
    raise BadInput(
        f"these were not measured alike: {', '.join(nearest[1])} differ",
        detail=tuple(f"{field}: {one} and {other}" for field, (one, other) in nearest[1].items()),
        hint=f"measure both alike with harness run, or --allow {next(iter(nearest[1]))}",
    )


def compared(first: Measurement, second: Measurement, *, seed: int = 0) -> Comparison:
    """The second against the first. Both have a summary.

    A difference is called one where the two-level bootstrap interval of the ratio excludes 1 and the test over the
    repeats' medians agrees. Where so few repeats cannot reach the test's level whatever they are, it is said.

    Raises:
        ValueError: one of them has no summary.
    """
    if first.summary is None or second.summary is None:
        raise ValueError("a failed cell cannot be compared")
    ratio, low, high = ratio_interval(_samples(second), _samples(first), seed=seed)
    ours, theirs = second.summary.repeat_medians_ms, first.summary.repeat_medians_ms
    least = smallest_p(len(ours), len(theirs))
    p = mann_whitney(ours, theirs) if least <= ALPHA else None
    apart = low > 1 or high < 1
    outcome: Outcome = "no difference"
    if p is None:
        outcome = "cannot tell"
    elif apart and p <= ALPHA:
        outcome = "slower" if ratio > 1 else "faster"
    times = f"{ratio:.3f} times as long (95% interval {low:.3f} to {high:.3f})"
    if p is None:
        test = (
            f"{len(theirs)} and {len(ours)} repeats cannot tell (Mann-Whitney U could reach p = {least:.2g} at best, "
            f"{ALPHA:g} is needed): use --repeats 5 or more"
        )
    else:
        test = f"Mann-Whitney U over {len(theirs)} and {len(ours)} repeats: p = {p:.2g}"
    return Comparison(first, second, ratio, low, high, p, outcome, f"{times}; {test}")


def compared_counts(first: Measurement, second: Measurement) -> Comparison:
    """The second's instructions against the first's. A count is no sample: its range over the repeats is the interval.

    Raises:
        ValueError: one of them has no count.
    """
    a, b = first.instructions, second.instructions
    if a is None or b is None:
        raise ValueError("a failed cell cannot be compared")
    ratio = b.median / a.median
    low = min(b.repeat_medians) / max(a.repeat_medians)
    high = max(b.repeat_medians) / min(a.repeat_medians)
    outcome: Outcome = "no difference"
    if abs(ratio - 1) > REPEATABLE and (low > 1 or high < 1):
        outcome = "slower" if ratio > 1 else "faster"
    says = (
        f"{ratio:.4f} times as many instructions ({low:.4f} to {high:.4f} over the repeats); "
        f"less than {REPEATABLE:.1%} is no difference"
    )
    return Comparison(first, second, ratio, low, high, None, outcome, says)


def gate_refusals(comparison: Comparison, *, allow: Collection[str] = ()) -> list[str]:
    """Why a comparison cannot carry a gate on time: emulated cells never can, doubtful ones only where allowed."""
    found = []
    for m in (comparison.first, comparison.second):
        where = f"{m.model} on {m.device.name}, {threads_text(m.threads_requested)}"
        if m.metric == "instructions":
            found += [f"{where}: {e.says}" for e in m.verdict.evidence if e.outcome == "exceeded"]
        elif m.provenance != "hardware":
            found.append(f"{where}: its time is {m.provenance}, which says nothing of hardware")
        elif m.verdict.name != "valid" and "verdict" not in allow:
            found.append(f"{where}: {m.verdict.name}, {m.verdict.reason}")
    return found


def breaks(comparison: Comparison, gate: float) -> bool:
    """Whether the second is slower than the first by more than the gate.

    With enough repeats: the ratio is beyond the gate, its interval excludes 1, and the test agrees. With fewer the
    whole interval must be beyond the gate.
    """
    if comparison.p is None:
        return comparison.low > 1 + gate
    return comparison.outcome == "slower" and comparison.ratio > 1 + gate


def _samples(m: Measurement) -> Sequence[Sequence[int]]:
    """Nanoseconds by repeat; the repeats' medians where a tool prints no samples."""
    if all(repeat.samples_ns for repeat in m.repeats):
        return [repeat.samples_ns for repeat in m.repeats]
    medians = m.summary.repeat_medians_ms if m.summary else ()
    return [(round(value * 1e6),) for value in medians]
