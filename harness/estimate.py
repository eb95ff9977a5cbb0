"""How long cells will take, from what was measured before. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from harness.job import Cell
from zoo.measurement import Measurement, Repeat


@dataclass(frozen=True)
class Estimate:
    """Seconds for the cells that can be told, and how many cannot. Waiting for a device to cool is not in it."""

    seconds: float
    unknown: int


def estimate(cells: Sequence[Cell], earlier: Sequence[Measurement]) -> Estimate:
    """The time of cells that are to be measured.

    A repeat takes what the process costs on that device (start, loading, the way there and back; the median of
    earlier repeats, so that emulation and a slow cable are in it) and its runs at the earlier median of the same
    model, on the same device and ABI, at the nearest number of threads.

    Args:
        cells: the cells.
        earlier: measurements of any cells.
    """
    by_place: dict[tuple[str, str, str], list[Measurement]] = {}
    overheads: dict[str, list[float]] = {}
    for m in earlier:
        overheads.setdefault(m.device.fingerprint, []).extend(
            cost for repeat in m.repeats if (cost := overhead_s(repeat)) is not None
        )
        if m.summary is not None:
            by_place.setdefault((m.device.fingerprint, m.artifact_sha256, m.abi), []).append(m)
    process = {device: median(costs) for device, costs in overheads.items() if costs}
    seconds, unknown = 0.0, 0
    for cell in cells:
        known = by_place.get((cell.device_fingerprint, cell.artifact_sha256, cell.abi))
        if not known or cell.device_fingerprint not in process:
            unknown += 1
            continue
        nearest = min(known, key=lambda m: abs(m.threads_requested - cell.threads))
        run_s = nearest.summary.median_ms / 1e3 if nearest.summary else 0.0
        runs = cell.protocol.warmup + cell.protocol.runs
        seconds += cell.protocol.repeats * (process[cell.device_fingerprint] + runs * run_s)
    return Estimate(seconds, unknown)


def overhead_s(repeat: Repeat) -> float | None:
    """Seconds of a repeat beyond its runs: from the look at the device before it to the look after it."""
    if repeat.before is None or repeat.after is None or repeat.wall_ns is None:
        return None
    try:
        whole = datetime.fromisoformat(repeat.after.time) - datetime.fromisoformat(repeat.before.time)
    except ValueError:
        return None
    return max(0.0, whole.total_seconds() - repeat.wall_ns / 1e9)


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
