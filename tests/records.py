"""Measurement records for tests, with every field filled the way a real run fills it."""

from __future__ import annotations

from collections.abc import Sequence

from devices.facts import Conditions, DeviceFacts
from zoo.artifact import Artifact
from zoo.measurement import Measurement, Provenance, Repeat, RunnerRecord, Summary, Verdict, VerdictName

FACTS = DeviceFacts(
    name="local",
    fingerprint="f" * 64,
    soc="Test CPU",
    model="Bench",
    os_build="Linux 6.1",
    abis=("x86_64",),
    cores=2,
)
RUNNER = RunnerRecord(name="python", version="2.3.0", binary_sha256="a" * 64, runtime="ai-edge-litert 2.3.0")


def repeat_of(samples_ns: Sequence[int], **fields: object) -> Repeat:
    conditions = Conditions(time="2026-11-21T10:00:00+00:00", load1=0.1)
    known: dict[str, object] = {
        "samples_ns": tuple(samples_ns),
        "init_ns": 8_000_000,
        "first_ns": 4_000_000,
        "pool_threads": 1,
        "cpus_allowed": (0, 1),
        "threads_actual": 1,
        "foreign_cpu_share": 0.01,
        "before": conditions,
        "after": conditions,
    }
    return Repeat(**{**known, **fields})  # type: ignore[arg-type]


def summary_of(median_ms: float) -> Summary:
    return Summary(
        median_ms=median_ms,
        mean_ms=median_ms,
        p90_ms=median_ms,
        p99_ms=median_ms,
        min_ms=median_ms,
        max_ms=median_ms,
        std_ms=0.0,
        mad_ms=0.0,
        ci95_ms=(median_ms * 0.99, median_ms * 1.01),
        repeat_medians_ms=(median_ms,) * 3,
    )


def measurement_for(
    artifact: Artifact,
    *,
    threads: int = 1,
    median_ms: float = 3.0,
    verdict: VerdictName = "valid",
    provenance: Provenance = "hardware",
    key: str = "1" * 64,
) -> Measurement:
    return Measurement(
        job_key=key,
        artifact_sha256=artifact.digest,
        model=artifact.name,
        device=FACTS,
        runner=RUNNER,
        abi="x86_64",
        threads_requested=threads,
        threads_actual=threads,
        warmup=1,
        runs=3,
        repeats=tuple(repeat_of([round(median_ms * 1e6)] * 3) for _ in range(3)),
        summary=summary_of(median_ms),
        verdict=Verdict(name=verdict),
        provenance=provenance,
        time="2026-11-21T10:00:00+00:00",
    )
