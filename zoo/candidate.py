"""What choosing a model looks at: entries and their cells without samples, wherever they are kept. Records, pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from pocketzoo.decodable import decodable
from zoo.artifact import Accuracy, Artifact
from zoo.measurement import Measurement, Provenance, VerdictName

LOCAL = "local"
"""``Candidate.source`` of the store on this machine; any other source is the name of a remote."""


class CellFacts(Struct, frozen=True, kw_only=True, gc=False):
    """One measurement without its samples. Latencies in milliseconds; ``centre_ms`` None where the cell failed."""

    job_key: str
    artifact_sha256: str
    device: str
    fingerprint: str
    abi: str
    threads: int
    threads_actual: int | None
    affinity: str | None
    options: tuple[tuple[str, str], ...]
    runner: str
    delegate: str | None
    metric: str
    centre_ms: float | None
    ci95_ms: tuple[float, float] | None
    verdict: VerdictName
    reason: str | None
    provenance: Provenance
    output_check: str | None
    time: str


class Candidate(Struct, frozen=True, kw_only=True):
    """One entry as a choice: what it is, where it is, and what was measured on exactly this file."""

    name: str
    digest: str
    source: str
    tags: tuple[str, ...]
    format: str
    task: str | None
    size_bytes: int
    accuracy: tuple[Accuracy, ...]
    parent: str | None
    parent_name: str | None
    cells: tuple[CellFacts, ...] = ()


decodable(CellFacts, Candidate)


def cell_facts(measurement: Measurement) -> CellFacts:
    """A measurement without its samples."""
    m, s = measurement, measurement.summary
    return CellFacts(
        job_key=m.job_key,
        artifact_sha256=m.artifact_sha256,
        device=m.device.name,
        fingerprint=m.device.fingerprint,
        abi=m.abi,
        threads=m.threads_requested,
        threads_actual=m.threads_actual,
        affinity=m.affinity,
        options=m.options,
        runner=m.runner.name,
        delegate=m.runner.delegate,
        metric=m.metric,
        centre_ms=s.median_ms if s else None,
        ci95_ms=s.ci95_ms if s else None,
        verdict=m.verdict.name,
        reason=m.verdict.reason,
        provenance=m.provenance,
        output_check=m.output_check.outcome if m.output_check else None,
        time=m.time,
    )


def candidate(artifact: Artifact, source: str, tags: Iterable[str], measurements: Iterable[Measurement]) -> Candidate:
    """An entry as a choice."""
    return Candidate(
        name=artifact.name,
        digest=artifact.digest,
        source=source,
        tags=tuple(tags),
        format=artifact.format,
        task=artifact.task,
        size_bytes=artifact.size_bytes,
        accuracy=artifact.accuracy,
        parent=artifact.parent.digest if artifact.parent else None,
        parent_name=artifact.parent.name if artifact.parent else None,
        cells=tuple(cell_facts(m) for m in measurements),
    )
