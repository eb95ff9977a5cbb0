"""Measurements as rows: what ``--json`` gives for each cell, and the table a person reads. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from harness.estimate import Estimate, duration
from harness.plan import Impossible, Plan
from pocketzoo.errors import DeviceUnavailable
from zoo.comparison import Comparison
from zoo.measurement import Measurement
from zoo.text import measurement_table
from zoo.timings import images_per_s, threads_text

SHOWN = 0.01
"""Outputs that differ by less than this share of what is allowed are not worth a line."""


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
        "reported": [repeat.reported for repeat in measurement.repeats if repeat.reported is not None],
        "options": dict(measurement.options),
        "centre": s.centre if s else None,
        "centre_ms": s.median_ms if s else None,
        "median_ms": s.median_ms if s and s.centre == "median" else None,
        "images_per_s": images_per_s(measurement),
        "mean_ms": s.mean_ms if s else None,
        "p90_ms": s.p90_ms if s else None,
        "p99_ms": s.p99_ms if s else None,
        "min_ms": s.min_ms if s else None,
        "max_ms": s.max_ms if s else None,
        "std_ms": s.std_ms if s else None,
        "mad_ms": s.mad_ms if s else None,
        "ci95_ms": s.ci95_ms if s else None,
        "repeat_medians_ms": s.repeat_medians_ms if s and s.centre == "median" else None,
        "repeat_centres_ms": s.repeat_medians_ms if s else None,
        "init_ms": s.init_ms if s else None,
        "first_ms": s.first_ms if s else None,
        "verdict": measurement.verdict.name,
        "reason": measurement.verdict.reason,
        "evidence": measurement.verdict.evidence,
        "output_check": measurement.output_check,
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
    parts += _remarks(measurements)
    if reused:
        parts.append(f"{len(reused)} of {len(measurements)} cells were measured before; --fresh measures them again")
    return "\n".join(parts).rstrip()


def _remarks(measurements: Sequence[Measurement]) -> list[str]:
    """Verdicts that are not valid, and outputs that are not checked or only agree; cells of one remark in one line."""
    several = len({m.device.name for m in measurements}) > 1
    found: dict[tuple[str, str], list[str]] = {}
    for m in measurements:
        where = f" on {m.device.name}" if several else ""
        cell = f"{m.model}{where}, {m.abi}, {threads_text(m.threads_requested)}"
        if m.verdict.name != "valid":
            found.setdefault((m.verdict.name, m.verdict.reason or ""), []).append(cell)
        check = m.output_check
        if check is not None and check.outcome == "not checked":
            found.setdefault(("outputs not checked", check.says), []).append(cell)
        elif (
            check is not None
            and check.outcome == "agrees"
            and (check.worst_difference or 0) > SHOWN * (check.tolerance or 0)
        ):
            found.setdefault(("outputs agree", check.says), []).append(cell)
    return [
        f"{what}: {cells[0] if len(cells) == 1 else f'{cells[0]} and {len(cells) - 1} more'}: {why}"
        for (what, why), cells in found.items()
    ]


def plan_record(plan: Plan, known: Mapping[str, Measurement], time: Estimate) -> dict[str, object]:
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
                "options": dict(c.options),
                "warmup": c.protocol.warmup,
                "runs": c.protocol.runs,
                "repeats": c.protocol.repeats,
                "metric": c.metric,
                "job_key": c.key,
                "measured": c.key in known,
                "verdict": known[c.key].verdict.name if c.key in known else None,
            }
            for c in plan.cells
        ],
        "impossible": [_impossible(one) for one in plan.impossible],
        "estimate_s": None if time.unknown else time.seconds,
        "estimate_known_s": time.seconds,
        "estimate_unknown_cells": time.unknown,
    }


def plan_text(device: str, plan: Plan, known: Mapping[str, Measurement], time: Estimate) -> str:
    """One device of ``harness plan``: a line for each cell, and what there is to do."""
    lines = []
    missing = 0
    for cell in plan.cells:
        key = cell.key
        pinned = f", CPUs {cell.affinity}" if cell.affinity else ""
        if key in known:
            state, verdict = "measured", f"  {known[key].verdict.name}"
        else:
            state, verdict = "to run", ""
            missing += 1
        lines.append(f"{state:<9} {cell.label}{pinned}  cell {key[:12]}{verdict}")
    for case in plan.impossible:
        threads = threads_text(case.threads)
        lines.append(f"cannot    {case.model} on {case.device}, {case.abi}, {threads}: {case.reason}")
    lines.append(f"{device}: {missing} of {len(plan.cells)} cells to run, {_time(missing, time)}")
    return "\n".join(lines)


def _time(missing: int, time: Estimate) -> str:
    if not missing:
        return "nothing to do"
    if time.unknown == missing:
        return "time not known before a first run of each model"
    text = f"about {duration(time.seconds)}"
    return f"{text}, and {time.unknown} cells never measured there" if time.unknown else text


def _impossible(one: Impossible) -> dict[str, object]:
    return {"model": one.model, "device": one.device, "abi": one.abi, "threads": one.threads, "reason": one.reason}


def offline_record(device: str, error: DeviceUnavailable, cells: Sequence[Impossible]) -> dict[str, object]:
    """A device of ``harness plan --json`` that cannot be asked: its cells as far as the inventory tells them."""
    return {
        "device": device,
        "cells": [],
        "impossible": [_impossible(one) for one in cells],
        "estimate_s": None,
        "unavailable": error.what,
    }


def offline_text(device: str, cells: Sequence[Impossible]) -> str:
    """A device of ``harness plan`` that cannot be asked."""
    lines = [f"cannot    {i.model} on {i.device}, {i.abi}, {threads_text(i.threads)}: {i.reason}" for i in cells]
    return "\n".join([*lines, f"{device}: {len(cells)} cells by its inventory entry, none can run now"])


def comparison_record(comparison: Comparison, *, gate: float | None, broken: bool) -> dict[str, object]:
    """One pair of ``harness compare --json``; the ratio is the second's time over the first's."""
    return {
        "first": _side(comparison.first),
        "second": _side(comparison.second),
        "ratio": comparison.ratio,
        "ratio_ci95": (comparison.low, comparison.high),
        "metric": comparison.second.metric,
        "test": "Mann-Whitney U over repeat medians" if comparison.second.metric == "latency" else None,
        "p": comparison.p,
        "outcome": comparison.outcome,
        "gate": gate,
        "gate_holds": None if gate is None else not broken,
    }


def _side(m: Measurement) -> dict[str, object]:
    record = cell_record(m)
    del record["samples_ns"], record["device_facts"]
    return record


def comparison_text(comparison: Comparison, *, gate: float | None, broken: bool) -> str:
    """One pair as a person reads it: both cells with protocol, provenance and verdict, then the ratio and the test."""
    a, b = comparison.first, comparison.second
    parts = [f"A: {a.model}  sha256:{a.artifact_sha256[:12]}", measurement_table([a]), ""]
    parts += [f"B: {b.model}  sha256:{b.artifact_sha256[:12]}", measurement_table([b]), ""]
    marks = dict.fromkeys(m.verdict.name for m in (a, b) if m.verdict.name != "valid")
    doubt = f" [{', '.join(marks)}]" if marks else ""
    parts.append(f"B takes {comparison.says}{doubt}")
    if comparison.outcome != "cannot tell":
        words = {"slower": "B is slower than A", "faster": "B is faster than A"}
        if a.metric == "instructions":
            words = {"slower": "B costs more than A", "faster": "B costs less than A"}
        parts.append(words.get(comparison.outcome, "no difference is seen"))
    if gate is not None:
        parts.append(f"gate {gate:.1%}: {'BROKEN, B is beyond it' if broken else 'holds'}")
    return "\n".join(parts)
