"""Measurements as rows: what ``--json`` gives for each cell, and the table a person reads. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.job import threads_text
from harness.plan import Plan
from zoo.measurement import Measurement
from zoo.text import measurement_table


def cell_record(measurement: Measurement, *, reused: bool | None = None) -> dict[str, object]:
    """One cell of ``harness run --json`` and ``harness results --json``; times in ms unless the name says otherwise."""
    s = measurement.summary
    record: dict[str, object] = {
        "model": measurement.model,
        "artifact_sha256": measurement.artifact_sha256,
        "device": measurement.device.name,
        "abi": measurement.abi,
        "threads_requested": measurement.threads_requested,
        "threads_actual": measurement.threads_actual,
        "affinity": measurement.affinity,
        "warmup": measurement.warmup,
        "runs": measurement.runs,
        "repeats": len(measurement.repeats),
        "samples_ns": [repeat.samples_ns for repeat in measurement.repeats],
        "median_ms": s.median_ms if s else None,
        "mean_ms": s.mean_ms if s else None,
        "p90_ms": s.p90_ms if s else None,
        "p99_ms": s.p99_ms if s else None,
        "min_ms": s.min_ms if s else None,
        "max_ms": s.max_ms if s else None,
        "std_ms": s.std_ms if s else None,
        "mad_ms": s.mad_ms if s else None,
        "ci95_ms": s.ci95_ms if s else None,
        "repeat_medians_ms": s.repeat_medians_ms if s else None,
        "init_ms": s.init_ms if s else None,
        "first_ms": s.first_ms if s else None,
        "verdict": measurement.verdict.name,
        "reason": measurement.verdict.reason,
        "evidence": measurement.verdict.evidence,
        "provenance": measurement.provenance,
        "runner": measurement.runner,
        "device_facts": measurement.device,
        "job_key": measurement.job_key,
        "time": measurement.time,
        "error": measurement.error,
        "metric": measurement.metric,
        "instructions": measurement.instructions,
        "instruction_counts": [repeat.instructions for repeat in measurement.repeats if repeat.instructions],
    }
    if reused is not None:
        record["reused"] = reused
    return record


def results_text(measurements: Sequence[Measurement], *, reused: Collection[str] = ()) -> str:
    """A table for each model, then a line for every cell that is not valid, with the figure that says why."""
    parts = []
    for model in dict.fromkeys(m.model for m in measurements):
        cells = [m for m in measurements if m.model == model]
        parts += [f"{model}  sha256:{cells[0].artifact_sha256[:12]}", measurement_table(cells), ""]
    doubts = [m for m in measurements if m.verdict.name != "valid"]
    for m in doubts:
        parts.append(f"{m.verdict.name}: {m.model}, {m.abi}, {threads_text(m.threads_requested)}: {m.verdict.reason}")
    if reused:
        parts.append(f"{len(reused)} of {len(measurements)} cells were measured before; --fresh measures them again")
    return "\n".join(parts).rstrip()


def plan_record(plan: Plan, known: Collection[str], seconds: float | None) -> dict[str, object]:
    """One device of ``harness plan --json``."""
    return {
        "cells": [
            {
                "model": c.model,
                "artifact_sha256": c.artifact_sha256,
                "device": c.device,
                "abi": c.abi,
                "threads": c.threads,
                "affinity": c.affinity,
                "warmup": c.protocol.warmup,
                "runs": c.protocol.runs,
                "repeats": c.protocol.repeats,
                "metric": c.metric,
                "job_key": c.key,
                "measured": c.key in known,
            }
            for c in plan.cells
        ],
        "impossible": [
            {"model": i.model, "device": i.device, "abi": i.abi, "threads": i.threads, "reason": i.reason}
            for i in plan.impossible
        ],
        "estimate_s": seconds,
    }
