"""What is different between two entries: file, network, accuracy and latency, and whether it can be told. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zoo.artifact import Accuracy, Artifact, TensorSpec
from zoo.comparison import Comparison, compared, compared_counts
from zoo.measurement import Measurement
from zoo.proportions import difference
from zoo.store import Entry

# Metrics that are shares of right answers; of others (mAP, mIoU) no interval follows from value and n.
SHARE = re.compile(r"top[0-9]+|agreement(-.*)?|accuracy", re.IGNORECASE)
MOST_TENSORS = 6  # that are written out


@dataclass(frozen=True)
class Fact:
    """One thing that both have, as text; ``says`` puts the change in words where there is more to say."""

    name: str
    a: str
    b: str
    says: str = ""

    @property
    def changed(self) -> bool:
        """Whether they differ."""
        return self.a != self.b


@dataclass(frozen=True)
class AccuracyChange:
    """One metric on one data set. ``points`` is B minus A in the metric's unit, the interval 95%.

    ``significant`` is None where nothing can be said; ``says`` tells why, or what the numbers can show.
    """

    metric: str
    data: str
    a: Accuracy | None
    b: Accuracy | None
    points: float | None
    low: float | None
    high: float | None
    significant: bool | None
    says: str


@dataclass(frozen=True)
class LatencyChange:
    """One way of measuring that both went through: B against A, and marks where one of the two is doubtful."""

    comparison: Comparison
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Diff:
    """A against B; what is equal is among ``facts`` too."""

    a: Artifact
    b: Artifact
    facts: tuple[Fact, ...]
    operators: tuple[tuple[str, int, int], ...]
    accuracy: tuple[AccuracyChange, ...]
    latency: tuple[LatencyChange, ...]
    unpaired: tuple[str, ...]
    lineage: str


@dataclass(frozen=True)
class Inside:
    """What the file itself says, where it could be read: how it is quantized, its operators."""

    quantization: str | None = None
    operators: tuple[tuple[str, int], ...] = ()


def diff(
    a: Entry, b: Entry, *, inside_a: Inside | None = None, inside_b: Inside | None = None, devices: Sequence[str] = ()
) -> Diff:
    """Compare two entries.

    Args:
        a: what it is compared with.
        b: what is compared.
        inside_a: of A's file.
        inside_b: of B's file.
        devices: latencies of these alone; empty: of all.
    """
    one, other = a.artifact, b.artifact
    latency, unpaired = latencies(a.measurements, b.measurements, devices)
    return Diff(
        a=one,
        b=other,
        facts=(*_facts(one, other), *_quantization(inside_a, inside_b)),
        operators=_operators(one, other, inside_a, inside_b),
        accuracy=tuple(_accuracies(one, other)),
        latency=tuple(latency),
        unpaired=tuple(unpaired),
        lineage=lineage(one, other),
    )


def _facts(a: Artifact, b: Artifact) -> Iterable[Fact]:
    yield Fact("digest", f"sha256:{a.digest[:12]}", f"sha256:{b.digest[:12]}")
    yield Fact("size", _bytes(a.size_bytes), _bytes(b.size_bytes), relative(a.size_bytes, b.size_bytes))
    yield Fact("files", _files(a), _files(b))
    yield Fact("format", a.format, b.format)
    yield Fact("inputs", _tensors(a.inputs), _tensors(b.inputs))
    yield Fact("outputs", _tensors(a.outputs), _tensors(b.outputs))
    counts: tuple[tuple[str, Callable[[Artifact], int | None]], ...] = (
        ("MACs", lambda artifact: artifact.macs),
        ("parameters", lambda artifact: artifact.parameters),
        ("non-zeros", lambda artifact: artifact.nonzeros),
    )
    for name, of in counts:
        yield Fact(name, _count(of(a)), _count(of(b)), relative(of(a), of(b)))
    texts: tuple[tuple[str, Callable[[Artifact], str | None]], ...] = (
        ("task", lambda artifact: artifact.task),
        ("data set", lambda artifact: artifact.dataset),
        ("licence", lambda artifact: artifact.licence),
        (
            "recipe",
            lambda artifact: f"{artifact.recipe.name} {artifact.recipe.digest[:12]}" if artifact.recipe else None,
        ),
    )
    for name, text in texts:
        yield Fact(name, text(a) or "-", text(b) or "-")


def _quantization(a: Inside | None, b: Inside | None) -> Iterable[Fact]:
    if a is not None or b is not None:
        yield Fact(
            "quantization",
            (a.quantization or "none found") if a is not None else "file not here",
            (b.quantization or "none found") if b is not None else "file not here",
        )


def relative(a: float | None, b: float | None) -> str:
    """``-74.1%``; empty where one of them is unknown or A is 0."""
    return f"{b / a - 1:+.1%}" if a and b is not None else ""


def _bytes(size: int) -> str:
    return f"{size:,} bytes"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _files(artifact: Artifact) -> str:
    return ", ".join(f"{file.name} ({file.size:,})" for file in artifact.files)


def _tensors(tensors: Iterable[TensorSpec]) -> str:
    """``1x224x224x3 uint8 (scale 0.0078, zero point 128)``."""
    found = []
    for tensor in tensors:
        text = f"{'x'.join('?' if n < 0 else str(n) for n in tensor.shape)} {tensor.dtype}"
        if tensor.quantization is not None:
            scales, zeros = tensor.quantization.scales, tensor.quantization.zero_points
            one = len(scales) == 1 and len(zeros) == 1
            text += f" (scale {scales[0]:.4g}, zero point {zeros[0]})" if one else f" ({len(scales)} scales)"
        found.append(text)
    return ", ".join([*found[:MOST_TENSORS], *([f"{len(found)} in all"] if len(found) > MOST_TENSORS else [])]) or "-"


def _operators(
    a: Artifact, b: Artifact, inside_a: Inside | None, inside_b: Inside | None
) -> tuple[tuple[str, int, int], ...]:
    """Operators whose number changed: name, in A, in B. The file is believed before the manifest."""
    ones = dict(inside_a.operators) if inside_a is not None and inside_a.operators else a.operators
    others = dict(inside_b.operators) if inside_b is not None and inside_b.operators else b.operators
    names = sorted({*ones, *others})
    return tuple((n, ones.get(n, 0), others.get(n, 0)) for n in names if ones.get(n, 0) != others.get(n, 0))


def _accuracies(a: Artifact, b: Artifact) -> Iterable[AccuracyChange]:
    def by_key(artifact: Artifact) -> dict[tuple[str, str], Accuracy]:
        ordered = sorted(artifact.accuracy, key=lambda x: (x.provenance == "measured", x.samples))
        return {(x.metric, f"{x.dataset}/{x.split}"): x for x in ordered}

    ones, others = by_key(a), by_key(b)
    for key in sorted({*ones, *others}):
        yield accuracy_change(key[0], key[1], ones.get(key), others.get(key))


def accuracy_change(metric: str, data: str, a: Accuracy | None, b: Accuracy | None) -> AccuracyChange:
    """One metric on one data set; shares of right answers with the interval of their difference."""
    if a is None or b is None:
        missing = "A" if a is None else "B"
        return AccuracyChange(metric, data, a, b, None, None, None, None, f"{missing} has none on these data")
    points = b.value - a.value
    published = [name for name, x in (("A", a), ("B", b)) if x.provenance == "published"]
    if published:
        says = f"{' and '.join(published)} published, not measured here: not tested"
        return AccuracyChange(metric, data, a, b, points, None, None, None, says)
    if not SHARE.fullmatch(metric) or not (0 <= a.value <= 100 and 0 <= b.value <= 100):
        says = "no share of right answers: no interval follows from value and n"
        return AccuracyChange(metric, data, a, b, points, None, None, None, says)
    change, low, high = difference(
        round(a.value * a.samples / 100), a.samples, round(b.value * b.samples / 100), b.samples
    )
    significant = low > 0 or high < 0
    says = f"95% interval {low * 100:+.2f} to {high * 100:+.2f} points"
    if not significant:
        least = max(high - change, change - low) * 100
        says += f": not significant; n = {min(a.samples, b.samples)} shows differences of about {least:.1f} points"
    return AccuracyChange(metric, data, a, b, points, low * 100, high * 100, significant, says)


def latencies(
    a: Iterable[Measurement], b: Iterable[Measurement], devices: Sequence[str] = ()
) -> tuple[list[LatencyChange], list[str]]:
    """The newest of each way of measuring on both sides, paired; and what has no partner, in words."""
    ones, others = _newest(a, devices), _newest(b, devices)
    changes = []
    for key in sorted({*ones} & {*others}):
        first, second = ones[key], others[key]
        if first.artifact_sha256 == second.artifact_sha256 and first.time == second.time:
            continue
        found = compared(first, second) if first.metric == "latency" else compared_counts(first, second)
        changes.append(LatencyChange(found, tuple(_marks(first, second))))
    unpaired = [f"only A was measured {_way(ones[key])}" for key in sorted({*ones} - {*others})]
    unpaired += [f"only B was measured {_way(others[key])}" for key in sorted({*others} - {*ones})]
    return changes, unpaired


def way_of(m: Measurement) -> tuple[str, ...]:
    """What must be alike for two measurements to be compared."""
    return (
        m.device.name,
        m.abi,
        f"{m.threads_requested:05d}",
        m.metric,
        m.affinity or "",
        repr(m.options),
        f"{m.runner.name} {m.runner.binary_sha256} {m.runner.delegate or ''}",
        f"{m.warmup}+{m.runs}",
        m.provenance,
        m.device.fingerprint,
    )


def _newest(measurements: Iterable[Measurement], devices: Sequence[str]) -> dict[tuple[str, ...], Measurement]:
    """By way of measuring; a valid one before one that is not, then the newest. Failed ones say nothing."""
    found: dict[tuple[str, ...], Measurement] = {}
    for m in sorted(measurements, key=lambda m: (m.verdict.name == "valid", m.time)):
        if (not devices or m.device.name in devices) and (m.summary is not None or m.instructions is not None):
            found[way_of(m)] = m
    return found


def _marks(*both: Measurement) -> Iterable[str]:
    for name, m in zip("AB", both, strict=True):
        if m.verdict.name != "valid":
            yield f"{name} {m.verdict.name}"
        if m.provenance not in ("hardware", m.verdict.name):
            yield f"{name} {m.provenance}"


def _way(m: Measurement) -> str:
    pinned = f", CPUs {m.affinity}" if m.affinity else ""
    threads = "1 thread" if m.threads_requested == 1 else f"{m.threads_requested} threads"
    build = f"{m.runner.name} sha256:{m.runner.binary_sha256[:12]}"
    system = f"{m.device.name} ({m.device.fingerprint[:12]})"
    return f"on {system}, {m.abi}, {threads}{pinned}, {m.warmup}+{m.runs} runs, {build}"


def lineage(a: Artifact, b: Artifact) -> str:
    """How the two are related, as far as their manifests say."""
    if a.digest == b.digest:
        return "the same file"
    for child, parent, names in ((b, a, ("B", "A")), (a, b, ("A", "B"))):
        if child.parent is not None and child.parent.digest == parent.digest:
            return f"{names[0]} was made from {names[1]}: {child.parent.relation}"
    if a.parent is not None and b.parent is not None and a.parent.digest == b.parent.digest:
        return f"both were made from {a.parent.name}@sha256:{a.parent.digest[:12]}"
    return "neither names the other as parent"
