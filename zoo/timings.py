"""What a cell's figures are made from, also where its runner kept the samples to itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.measurement import Centre, Measurement, Repeat


def centre_of(repeats: Sequence[Repeat]) -> Centre:
    """``mean`` where a repeat has neither samples nor a printed median, else ``median``."""
    for repeat in repeats:
        if not repeat.samples_ns and repeat.reported is not None and repeat.reported.median_ns is None:
            return "mean"
    return "median"


def timings_ns(repeats: Sequence[Repeat]) -> tuple[tuple[int, ...], ...]:
    """Nanoseconds, one sequence per repeat: its samples where every repeat has them, else its one centre.

    Repeats that measured nothing are left out. Means and medians, or centres and samples, are never mixed.
    """
    held = [repeat for repeat in repeats if repeat.samples_ns or repeat.reported is not None]
    if all(repeat.samples_ns for repeat in held):
        return tuple(repeat.samples_ns for repeat in held)
    centre = centre_of(held)
    return tuple((_centre_ns(repeat, use_mean=centre == "mean"),) for repeat in held)


def images_per_s(measurement: Measurement) -> float | None:
    """Images a second of a cell whose runner counts in batches (torch, trtexec): batch size over the centre."""
    if measurement.summary is None or measurement.runner.name not in ("torch", "trtexec"):
        return None
    batch = int(dict(measurement.options).get("batch", "1"))
    return batch * 1e3 / measurement.summary.median_ms


def threads_text(count: int) -> str:
    """``1 thread``, ``2 threads``."""
    return "1 thread" if count == 1 else f"{count} threads"


def _centre_ns(repeat: Repeat, *, use_mean: bool) -> int:
    if repeat.samples_ns:
        ordered = sorted(repeat.samples_ns)
        half = len(ordered) // 2
        middle = (ordered[half] + ordered[-half - 1]) / 2
        return round(sum(ordered) / len(ordered) if use_mean else middle)
    assert repeat.reported is not None  # noqa: S101  the caller keeps only repeats that hold something
    median = repeat.reported.median_ns
    return repeat.reported.mean_ns if use_mean or median is None else median
