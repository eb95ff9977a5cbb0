"""The page of a measurement: the number, why it can or cannot be believed, and every raw sample. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.cells import cell_id, device_of, marks
from reports.numbers import ms_text
from reports.site import words
from reports.site.page import Context
from reports.site.places import Places
from zoo.measurement import Measurement, Repeat

SAMPLES = 60_000  # of one measurement that its page lists; a longer one would pass the size a page may have
COLUMNS = (
    "Threads",
    "Init (ms)",
    "First (ms)",
    "Memory (MB)",
    "Others' CPU",
    "Switches",
    "Before",
    "After",
)


def context(cell: Measurement, title: str, places: Places) -> Context:
    """What the page of a measurement shows.

    Args:
        cell: with its repeats.
        title: of its device.
        places: the address of every page.
    """
    trail = [("devices.html", "Devices"), (places.devices[device_of(cell)], title)]
    model = places.models.get(cell.artifact_sha256)
    if model:
        trail.append((model, cell.model))
    shown = places.shown.get(cell_id(cell), "")
    samples = _samples(cell)
    listed = sum(len(repeat.samples_ns) for repeat in cell.repeats)
    return {
        "title": f"{cell.model} on {title}, {cell.abi}, {_threads(cell)}",
        "heading": f"{cell.abi}, {_threads(cell)}",
        "section": "Devices",
        "trail": trail,
        # Charts are drawn from the samples on the page: they are not written twice.
        "figures": ("samples",) if samples else (),
        "model": cell.model,
        "device": title,
        "latency": words.latency(cell),
        "unit": cell.summary is not None,
        "marks": marks(cell),
        "abi": cell.abi,
        "threads": _threads(cell),
        "time": cell.time,
        "moment": words.moment(cell.time),
        "cell": cell_id(cell),
        "superseded": "" if places.cell(cell) == shown else shown,
        "error": cell.error or "",
        "summary": _summary(cell),
        "median": f"{cell.summary.median_ms:.9g}" if cell.summary else "",
        "samples": samples,
        "left_out": "" if listed <= SAMPLES else f"The first {SAMPLES:,} of {listed:,}; cells.json has them all.",
        "reported": [_reported(repeat) for repeat in cell.repeats if repeat.reported is not None],
        "verdict": cell.verdict.name,
        "reason": cell.verdict.reason or "",
        "evidence": [words.evidence(one) for one in cell.verdict.evidence],
        "how": _how(cell, model is not None),
        "again": words.again(cell),
        "repeat_columns": COLUMNS,
        "repeats": [_repeat(repeat) for repeat in cell.repeats],
    }


def _threads(cell: Measurement) -> str:
    asked = words.plural(cell.threads_requested, "thread")
    used = cell.threads_actual
    return asked if used in (None, cell.threads_requested) else f"{asked} asked for, {used} used"


def _samples(cell: Measurement) -> list[tuple[str, str]]:
    found, left = [], SAMPLES
    for repeat in cell.repeats:
        mine = repeat.samples_ns[:left]
        left -= len(mine)
        if mine:
            found.append((" ".join(map(str, mine)), words.plural(len(repeat.samples_ns), "sample")))
    return found


def _summary(cell: Measurement) -> list[tuple[str, str]]:
    s = cell.summary
    if s is None:
        return []
    low, high = s.ci95_ms
    found: list[tuple[str, float | None]] = [
        ("Mean", s.mean_ms),
        ("Smallest", s.min_ms),
        ("90th percentile", s.p90_ms),
        ("99th percentile", s.p99_ms),
        ("Largest", s.max_ms),
        ("Standard deviation", s.std_ms),
        ("MAD", s.mad_ms),
    ]
    ends = [("95% interval", f"{ms_text(low)} to {ms_text(high)}")]
    return [*ends, *((name, ms_text(value)) for name, value in found if value is not None)]


def _how(cell: Measurement, held: bool) -> list[tuple[str, str]]:
    runner = cell.runner
    found = [
        ("Runner", " ".join(filter(None, [runner.name, runner.version]))),
        ("Binary SHA-256", runner.binary_sha256),
        ("Runtime", runner.runtime or "not told"),
        ("Delegate", runner.delegate or "none"),
        ("Protocol", f"{cell.warmup:,} warm-up and {cell.runs:,} measured runs, {len(cell.repeats)} repeats"),
        ("Affinity", cell.affinity or "any CPU"),
    ]
    found += [(f"Option {name}", value) for name, value in cell.options]
    if cell.output_check is not None:
        check = cell.output_check
        found.append(("Output against the host", f"{check.outcome}{f': {check.says}' if check.says else ''}"))
    found += [
        ("Provenance", cell.provenance),
        ("File SHA-256", cell.artifact_sha256 + ("" if held else " (not in the zoo)")),
        ("Job key", cell.job_key),
    ]
    if cell.versions:
        found.append(("Versions", words.versions(cell.versions)))
    return found


def _repeat(repeat: Repeat) -> tuple[str, ...]:
    share = repeat.foreign_cpu_share
    return (
        _or_dash(repeat.threads_actual),
        ms_text(repeat.init_ns / 1e6) if repeat.init_ns is not None else "–",
        ms_text(repeat.first_ns / 1e6) if repeat.first_ns is not None else "–",
        f"{repeat.peak_memory_bytes / 1e6:.1f}" if repeat.peak_memory_bytes is not None else "–",
        f"{100 * share:.1f}%" if share is not None else "–",
        f"{repeat.involuntary_switches:,}" if repeat.involuntary_switches is not None else "–",
        words.conditions(repeat.before),
        words.conditions(repeat.after),
    )


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _reported(repeat: Repeat) -> list[tuple[str, str]]:
    figures: Mapping[str, Any] = {
        name: getattr(repeat.reported, name) for name in getattr(repeat.reported, "__struct_fields__", ())
    }
    return [(name.replace("_", " "), f"{value:,}") for name, value in figures.items() if value is not None]
