"""A measurement: one cell (model x device x ABI x threads) with every raw sample, its summary, verdict and evidence.

Records neither compute nor render: ``harness`` fills them in, ``reports`` draws them.

Schema history
    1  first
    2  repeats of tools that print figures and no samples: ``reported`` and ``delegate`` of a repeat, ``centre`` of a
       summary, whose p90, p99 and MAD may be unknown; the ``options`` of a cell. Records of schema 1 are read as ever.
       Instructions beside latency: ``Repeat.instructions``, ``Measurement.metric`` and ``.instructions``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from devices.facts import Conditions, DeviceFacts
from pocketzoo.decodable import decodable
from zoo.artifact import Name, Sha256

SCHEMA = 2

Provenance = Literal["hardware", "emulated", "published"]
Centre = Literal["median", "mean"]
Metric = Literal["latency", "instructions"]
VerdictName = Literal["valid", "throttled", "contended", "clamped", "unstable", "emulated", "failed"]


class Evidence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure behind a verdict: what was looked at, what was found, the limit it is held against, and the outcome.

    ``value`` is None where it could not be read; ``says`` then holds the reason.
    """

    check: str
    outcome: Literal["ok", "exceeded", "unknown"]
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    says: str = ""


class Verdict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a cell's number can be believed, with the figures that say why."""

    name: VerdictName
    evidence: tuple[Evidence, ...] = ()
    reason: str | None = None


class RunnerRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ran the model: the runner's name and version, the SHA-256 of its binary, the runtime inside it."""

    name: str
    version: str
    binary_sha256: Sha256
    runtime: str | None = None
    delegate: str | None = None


class Reported(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tool that keeps its samples to itself says of them: figures of ``count`` runs, in nanoseconds.

    ``std_ns`` is that of the population. What the tool did not print is None. ``memory_delta_bytes`` is what the tool
    says the model added to its memory.
    """

    count: Annotated[int, Meta(ge=1)]
    first_ns: int | None = None
    min_ns: Annotated[int, Meta(ge=0)]
    max_ns: Annotated[int, Meta(ge=0)]
    mean_ns: Annotated[int, Meta(ge=1)]
    std_ns: Annotated[int, Meta(ge=0)]
    median_ns: int | None = None
    p5_ns: int | None = None
    p95_ns: int | None = None
    memory_delta_bytes: int | None = None


class Repeat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process of a cell. Times in nanoseconds on the device's monotonic clock.

    Either ``samples_ns`` holds every run, or ``reported`` what the tool said of them. ``delegate`` is what the runner
    saw the model run on, where it can tell.
    ``instructions`` are counts of each inference, of a cell whose metric they are; such a repeat has no ``samples_ns``.
    """

    samples_ns: tuple[Annotated[int, Meta(ge=0, le=1 << 62)], ...]
    reported: Reported | None = None
    delegate: str | None = None
    init_ns: int | None = None
    first_ns: int | None = None
    started: str | None = None
    pool_threads: int | None = None
    cpus_allowed: tuple[int, ...] | None = None
    threads_actual: int | None = None
    peak_memory_bytes: int | None = None
    own_cpu_ns: int | None = None
    wall_ns: int | None = None
    foreign_cpu_share: float | None = None
    involuntary_switches: int | None = None
    abi_proof: str | None = None
    output_sha256: str | None = None
    before: Conditions | None = None
    after: Conditions | None = None
    instructions: tuple[int, ...] = ()


class Summary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Figures in milliseconds, computed from the raw samples; the interval is a hierarchical bootstrap.

    Where the runner gave no samples they come from what its tool reported: p90, p99 and MAD are then unknown, and
    ``centre`` tells whether ``median_ms`` and ``repeat_medians_ms`` hold medians, or means because the tool printed no
    median.
    """

    median_ms: float
    centre: Centre = "median"
    mean_ms: float
    p90_ms: float | None
    p99_ms: float | None
    min_ms: float
    max_ms: float
    std_ms: float
    mad_ms: float | None
    ci95_ms: tuple[float, float]
    repeat_medians_ms: tuple[float, ...]
    init_ms: float | None = None
    first_ms: float | None = None


class InstructionSummary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Guest instructions of one inference: a count, no time, and none follows from it.

    ``spread`` is (largest - smallest) / median of ``repeat_medians``; None for one repeat.
    """

    median: float
    min: int
    max: int
    repeat_medians: tuple[float, ...]
    spread: float | None = None


class OutputCheck(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the device computes what the host computes on the same seeded input."""

    outcome: Literal["agrees", "differs", "not checked"]
    says: str = ""
    worst_difference: float | None = None
    tolerance: float | None = None
    top1_agrees: bool | None = None


class Measurement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell's result. ``job_key`` ties number, file, runner binary, flags and device together.

    ``summary`` has figures where the metric is latency, ``instructions`` where it is instructions; never both.
    """

    schema: int = SCHEMA
    job_key: Sha256
    artifact_sha256: Sha256
    model: Name
    device: DeviceFacts
    runner: RunnerRecord
    abi: str
    threads_requested: Annotated[int, Meta(ge=1, le=1 << 20)]
    threads_actual: Annotated[int, Meta(ge=0, le=1 << 20)] | None
    affinity: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    warmup: Annotated[int, Meta(ge=0, le=1 << 40)]
    runs: Annotated[int, Meta(ge=1, le=1 << 40)]
    repeats: tuple[Repeat, ...]
    summary: Summary | None
    verdict: Verdict
    output_check: OutputCheck | None = None
    provenance: Provenance
    time: str
    versions: dict[str, str] = {}
    error: str | None = None
    metric: Metric = "latency"
    instructions: InstructionSummary | None = None


decodable(Evidence, Verdict, RunnerRecord, Reported, Repeat, Summary, InstructionSummary, OutputCheck, Measurement)
