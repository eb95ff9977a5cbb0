"""The entries that nothing beats on every axis at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketzoo.errors import BadInput
from zoo.artifact import Accuracy
from zoo.candidate import Candidate
from zoo.constraints import Constraints, check_constraints
from zoo.resolve import Row, judge, merged

LESS_IS_BETTER = ("latency", "size")
"""Axes of which less is better; any other axis is a metric, of which more is better."""


@dataclass(frozen=True)
class Front:
    """The front, best on the first axis first.

    Args:
        axes: as asked for.
        rows: what nothing else beats.
        beaten: how many others have all figures.
        lacking: those that lack one, with what they lack.
    """

    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    beaten: int
    lacking: tuple[tuple[Candidate, str], ...]


def parse_axes(text: str) -> tuple[str, ...]:
    """``latency,top1`` as axes.

    Raises:
        BadInput: fewer than two, or one twice.
    """
    axes = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(axes) < 2 or len(set(axes)) < len(axes):
        raise BadInput(
            f"--pareto takes two or more different axes, not {text!r}", hint="--pareto latency,top1 --device D"
        )
    return axes


def pareto(
    candidates: Sequence[Candidate],
    axes: Sequence[str] = ("latency", "top1"),
    *,
    constraints: Constraints | None = None,
) -> Front:
    """The candidates that no other is as good as on every axis and better on one. Equal ones are all kept.

    Args:
        candidates: entries from anywhere; one that several places hold is one candidate.
        axes: ``latency`` (the upper end of the interval, as :mod:`zoo.resolve` counts it), ``size``, or a metric.
        constraints: the device that ``latency`` needs, and what a candidate must satisfy to be looked at.

    Raises:
        BadInput: ``latency`` without a device.
    """
    wanted = check_constraints(constraints or Constraints())
    if "latency" in axes and wanted.device is None:
        raise BadInput("--pareto latency needs --device: a latency is one of a device", hint="add --device local")
    metrics = tuple(axis for axis in axes if axis not in LESS_IS_BETTER)
    asked = tuple(dict.fromkeys((*metrics, *(m for m, _ in (*wanted.minimum, *wanted.maximum)))))
    points: list[tuple[tuple[float, ...], Row]] = []
    lacking = []
    for candidate in merged(candidates):
        row = judge(candidate, wanted, asked)
        figures = dict(zip(asked, row.accuracies, strict=True))
        if row.violations and not any(axis in figures and figures[axis] is None for axis in axes):
            lacking.append((candidate, row.violations[0].says))
            continue
        values = tuple(_value(axis, row, figures) for axis in axes)
        missing = [axis for axis, value in zip(axes, values, strict=True) if value is None]
        if missing or row.violations:
            lacking.append((candidate, row.violations[0].says if row.violations else f"no {missing[0]} that counts"))
            continue
        points.append((tuple(value for value in values if value is not None), row))
    points.sort(key=lambda point: (point[0], point[1].candidate.name, point[1].candidate.digest))
    front: list[tuple[tuple[float, ...], Row]] = []
    for point, row in points:
        # Sorted, so that only what came earlier can beat a point; what is on the front beats all that it beat.
        if not any(_beats(other, point) for other, _ in front):
            front.append((point, row))
    lacking.sort(key=lambda item: (item[0].name, item[0].digest))
    return Front(tuple(axes), tuple(row for _, row in front), len(points) - len(front), tuple(lacking))


def _value(axis: str, row: Row, figures: dict[str, Accuracy | None]) -> float | None:
    """The figure on an axis, turned so that less is better."""
    if axis == "size":
        return float(row.candidate.size_bytes)
    if axis == "latency":
        return row.latency.upper_ms if row.latency is not None else None
    accuracy = figures[axis]
    return -accuracy.value if accuracy is not None else None


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
