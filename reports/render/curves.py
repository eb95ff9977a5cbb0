"""Plots of lines and of costs: history, sensitivity, MACs against latency. The same bytes for the same figures.

Lines differ in colour, in marker and in stroke, so they are told apart without colour as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from reports.drawings import Line, Sensitivity, Trade
from reports.render.plots import (
    COLOURS,
    LABEL,
    LINES,
    MARKERS,
    Picture,
    arms,
    drawing,
    figure,
    label_points,
    mark_families,
    picture,
)
from reports.render.plots import words as shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DAY = 86_400  # seconds; dates on an axis are days since 1970
MOST_LINES = 12  # of one picture; the tables have them all


@lru_cache(maxsize=64)
def cost(drawn: Trade) -> Picture:
    """MACs against latency: a marker per model family, hollow where the latency carries a mark."""
    with drawing():
        canvas = figure(8, 5)
        axes = canvas.add_subplot()
        mark_families(axes, drawn.points)
        axes.set_xlim(0, 1.25 * max(point.latency_ends[1] for point in drawn.points))
        axes.set_ylim(0, 1.15 * max(point.accuracy for point in drawn.points) or 1)
        axes.set_xlabel("Latency (ms), median and 95% interval")
        axes.set_ylabel(shorten(drawn.metric))
        title = shorten(f"MACs against latency: {drawn.title}")
        axes.set_title(title, loc="left")
        label_points(canvas, axes, drawn)
        return picture(canvas, title)


def history(drawn: Sequence[Line], title: str) -> Picture:
    """Medians with their intervals over time, a line per cell; hollow where a round was not valid.

    Args:
        drawn: x in seconds since 1970, y in ms; the first :data:`MOST_LINES` are drawn.
        title: of the picture.
    """
    from datetime import UTC

    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    with drawing():
        canvas = figure(8, 4.5)
        axes = canvas.add_subplot()
        for number, line in enumerate(drawn[:MOST_LINES]):
            xs = [point.x / DAY for point in line.points]
            _line(axes, line, xs, number)
        locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
        axes.set_ylim(bottom=0)
        axes.set_xlabel("Time (UTC)")
        axes.set_ylabel("Latency (ms), median and 95% interval")
        axes.set_title(shorten(title), loc="left")
        canvas.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        return picture(canvas, shorten(title))


def steps(drawn: Sequence[Line], measure: str, title: str) -> Picture:
    """What a network takes against its MACs, a line per network that was pruned step by step.

    Args:
        drawn: x in millions of MACs; the first :data:`MOST_LINES` are drawn.
        measure: what y is.
        title: of the picture.
    """
    with drawing():
        canvas = figure(8, 5)
        axes = canvas.add_subplot()
        for number, line in enumerate(drawn[:MOST_LINES]):
            _line(axes, line, [point.x for point in line.points], number)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("MACs (M) of one sample")
        axes.set_ylabel(f"{measure}, 95% interval")
        axes.set_title(shorten(title), loc="left")
        canvas.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=8)
        return picture(canvas, shorten(title))


def sensitivity(drawn: Sensitivity) -> Picture:
    """Accuracy against the share of channels removed, a line per group; the dashed line is the network unpruned."""
    with drawing():
        rows = -(-min(len(drawn.curves), MOST_LINES) // 3)
        canvas = figure(8, 4.2 + 0.22 * rows)
        axes = canvas.add_subplot()
        for number, curve in enumerate(drawn.curves[:MOST_LINES]):
            _line(axes, curve, [100 * point.x for point in curve.points], number)
        axes.axhline(drawn.base, color="#000000", linestyle=(0, (6, 3)), linewidth=1, label="unpruned")
        axes.set_xlabel("Channels removed from one group (%)")
        axes.set_ylabel("Top-1 (%)")
        title = shorten(f"Sensitivity: {drawn.title}")
        axes.set_title(title, loc="left")
        canvas.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        return picture(canvas, title)


def _line(axes: Axes, line: Line, xs: Sequence[float], number: int) -> None:
    colour = COLOURS[number % (len(COLOURS) - 2)]
    marker = MARKERS[number % len(MARKERS)]
    ys = [point.y for point in line.points]
    axes.plot(
        xs,
        ys,
        color=colour,
        linestyle=LINES[number % len(LINES)],
        linewidth=1.5,
        marker=marker,
        markersize=6,
        label=shorten(line.name, LABEL),
    )
    for x, point in zip(xs, line.points, strict=True):
        if point.ends is not None:
            axes.errorbar(
                x, point.y, yerr=arms(point.y, point.ends), fmt="none", ecolor=colour, elinewidth=1, capsize=3
            )
        if not point.good:
            axes.plot([x], [point.y], marker=marker, markersize=6, markerfacecolor="white", markeredgecolor=colour)
