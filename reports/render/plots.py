"""Plots as SVG and PNG, the same bytes for the same figures.

Read without colour: models differ in marker, threads in hatch, repeats in line style. The colours are Okabe and Ito's
(2008), which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from reports.drawings import Point, Scaling, Spread, Trade
from reports.numbers import ms_text
from zoo.markdown import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")
LINES = ("-", "--", ":", "-.")
GRID_COLUMNS = 3
MOST_NAMES = 8  # names written beside their points; more are numbered
MOST_NUMBERED = 48  # points that are numbered; of more only those on the front are
LABEL = 36  # characters of a name; the tables have it in full
MOST_PANELS = 12  # panels of one picture; more go to the next

Picture = dict[str, bytes]  # "svg" and "png"


def available() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def words(text: str, most: int = 90) -> str:
    """Text that fits a picture: both ends of what is too long, since a variant stands at the end of a name."""
    shown = visible(text)
    return shown if len(shown) <= most else f"{shown[: most // 2 - 1]}…{shown[-most // 2 :]}"


@contextmanager
def drawing() -> Iterator[None]:
    import matplotlib as mpl

    # Bytes must not depend on the machine: bundled font as outlines, fixed ids, no user's matplotlibrc.
    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 10.0,
        "axes.titlesize": 11.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "hatch.linewidth": 0.8,
        "svg.hashsalt": "pocketzoo",
        "svg.fonttype": "path",
        "text.parse_math": False,  # a "$" in a name is a "$"
        "savefig.dpi": 130,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script the bundled font lacks is drawn as boxes; the tables have it in full.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def picture(canvas: Figure, title: str) -> Picture:
    found = {}
    canvas.draw_without_rendering()
    canvas.set_layout_engine("none")  # laid out once; each format would do it again, for most of the time it takes
    for kind, metadata in (("svg", {"Date": None, "Creator": None, "Title": title}), ("png", {"Software": None})):
        out = io.BytesIO()
        canvas.savefig(out, format=kind, metadata=metadata, facecolor="white")
        found[kind] = out.getvalue()
    return found


def figure(width: float, height: float) -> Figure:
    # Figure alone, without pyplot: nothing is registered globally and no display is looked for.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@lru_cache(maxsize=64)
def trade(drawn: Trade) -> Picture:
    """Accuracy against latency: a marker per model family, filled where the latency can be believed, and the front."""
    with drawing():
        canvas = figure(8, 5)
        axes = canvas.add_subplot()
        mark_families(axes, drawn.points)
        front = sorted((p.latency_ms, p.accuracy) for p in drawn.points if p.front)
        if front:
            axes.step(
                *zip(*front, strict=True),
                where="post",
                color="#000000",
                linestyle="--",
                linewidth=1.2,
                label="Pareto front (valid cells only)",
                zorder=2,
            )
            axes.legend(loc="lower right", frameon=True, framealpha=0.9)
        axes.set_xlim(left=0, right=1.25 * max(p.latency_ends[1] for p in drawn.points))
        axes.margins(y=0.15)
        if drawn.metric.endswith("(%)"):
            axes.set_ylim(top=min(axes.get_ylim()[1], 101.0), bottom=max(axes.get_ylim()[0], -1.0))
        axes.set_xlabel("Latency (ms), median and 95% interval; left is better")
        axes.set_ylabel(words(f"{drawn.metric}, 95% interval; up is better"))
        axes.set_title(words(f"Accuracy against latency: {drawn.title}"), loc="left")
        label_points(canvas, axes, drawn)
        return picture(canvas, words(f"Accuracy against latency: {drawn.title}"))


def mark_families(axes: Axes, points: Sequence[Point]) -> None:
    """Points with their intervals, a colour and marker for each family; those that look alike are drawn at once."""
    families = {name: number for number, name in enumerate(sorted({point.family for point in points}))}
    alike: dict[tuple[int, bool], list[Point]] = {}
    for point in points:
        alike.setdefault((families[point.family] % len(COLOURS), point.good), []).append(point)
    for (number, _), group in sorted(alike.items(), key=lambda item: (item[0][0], not item[0][1])):
        mark_points(axes, group, number)


def mark_points(axes: Axes, points: Sequence[Point], family: int) -> None:
    """Points with their intervals: colour and marker of their family's number, hollow where latencies carry a mark.

    Args:
        axes: to draw on.
        points: all believable, or all with a mark; drawn at once, which for hundreds is a hundred times as fast.
        family: the number.
    """
    if not points:
        return
    colour = COLOURS[family % len(COLOURS)]
    across = [arms(p.latency_ms, p.latency_ends) for p in points]
    along = [arms(p.accuracy, p.accuracy_ends) if p.accuracy_ends else [[0.0], [0.0]] for p in points]
    axes.errorbar(
        [p.latency_ms for p in points],
        [p.accuracy for p in points],
        xerr=[[low for (low,), _ in across], [high for _, (high,) in across]],
        yerr=[[low for (low,), _ in along], [high for _, (high,) in along]]
        if any(p.accuracy_ends for p in points)
        else None,
        fmt=MARKERS[family % len(MARKERS)],
        color=colour,
        ecolor="#888888",
        elinewidth=1,
        capsize=3,
        markersize=9,
        markerfacecolor=colour if points[0].good else "white",
        markeredgecolor=colour,
        markeredgewidth=1.6,
        zorder=3,
    )


def label_points(figure: Figure, axes: Axes, drawn: Trade) -> None:
    """Write each name beside its point; where there are many, a number, and the names in a key beside the axes."""
    crowd = drawn.points
    if len(crowd) > MOST_NUMBERED:
        named = [point for point in crowd if point.front][:MOST_NUMBERED]
        left = f"; {drawn.left_out:,} models beaten by more are not drawn" if drawn.left_out else ""
        axes.set_xlabel(f"{axes.get_xlabel()}\nNamed: the front; the others are in the tables{left}")
        drawn = replace(drawn, points=tuple(named))
    names = [words(point.label, LABEL) + ("" if point.good else f" {point.mark}") for point in drawn.points]
    if len(names) > MOST_NAMES:
        _key(figure, drawn, names)
        names = [str(number) for number in range(1, len(names) + 1)]
    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    taken = []
    for point in drawn.points:
        x, y = axes.transData.transform((point.latency_ms, point.accuracy))
        taken.append((x - 9, y - 9, x + 9, y + 9))
    places: list[tuple[int, int, Literal["left", "right"]]] = [
        (9, 7, "left"),
        (9, -13, "left"),
        (-9, 7, "right"),
        (-9, -13, "right"),
    ]
    places += [(9, 19, "left"), (9, -25, "left"), (-9, 19, "right"), (-9, -25, "right")]
    for point, name in zip(drawn.points, names, strict=True):
        text = axes.annotate(
            name, (point.latency_ms, point.accuracy), (9, 7), textcoords="offset points", fontsize=9, zorder=4
        )
        text.set_in_layout(False)  # a label must not push the axes about after they were measured
        text.set_bbox({"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8})
        for dx, dy, side in [*places, places[0]]:
            # The first place that lies inside and covers nothing; the first of all where there is none.
            text.xyann = (dx, dy)
            text.set_horizontalalignment(side)
            box = text.get_window_extent()
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if fits and not any(
                box.x0 < right and left < box.x1 and box.y0 < top and bottom < box.y1
                for left, bottom, right, top in taken
            ):
                break
        taken.append((box.x0, box.y0, box.x1, box.y1))


def _key(figure: Figure, drawn: Trade, names: Sequence[str]) -> None:
    """The names by number, with their markers, right of the axes."""
    from matplotlib.lines import Line2D

    families = sorted({point.family for point in drawn.points})
    handles = []
    for number, (point, name) in enumerate(zip(drawn.points, names, strict=True), 1):
        place = families.index(point.family)
        colour = COLOURS[place % len(COLOURS)]
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker=MARKERS[place % len(MARKERS)],
                color=colour,
                markerfacecolor=colour if point.good else "white",
                label=f"{number} {name}",
            )
        )
    figure.set_size_inches(10.5, max(5.0, 0.6 + 0.2 * len(names)))
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8, handletextpad=0.2)


@lru_cache(maxsize=64)
def scaling(drawn: Scaling) -> Picture:
    """Latency by threads: horizontal bars, a group per model, a colour and hatch per number of threads."""
    with drawing():
        counts = sorted({bar.threads for _, bars in drawn.groups for bar in bars})
        height = 0.8 / len(counts)
        canvas = figure(8, 1.6 + len(drawn.groups) * (0.3 * len(counts) + 0.25))
        axes = canvas.add_subplot()
        farthest = max(bar.ends_ms[1] for _, bars in drawn.groups for bar in bars)
        for place, (_, bars) in enumerate(drawn.groups):
            for bar in bars:
                number = counts.index(bar.threads)
                y = place - 0.4 + height * (number + 0.5)
                axes.barh(
                    y,
                    bar.median_ms,
                    height=height * 0.9,
                    color=COLOURS[number % len(COLOURS)] if bar.good else "white",
                    hatch=HATCHES[number % len(HATCHES)],
                    edgecolor="black",
                    linewidth=0.8,
                    linestyle="-" if bar.good else "--",
                    xerr=arms(bar.median_ms, bar.ends_ms),
                    error_kw={"elinewidth": 1.2, "capsize": 3},
                )
                mark = "" if bar.good else f"  {bar.mark}"
                axes.annotate(
                    f"{ms_text(bar.median_ms)}{mark}",
                    (bar.ends_ms[1], y),
                    (6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                )
        axes.set_yticks(range(len(drawn.groups)), [words(name, LABEL) for name, _ in drawn.groups])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, farthest * 1.3)
        axes.set_xlabel("Latency (ms), median and 95% interval; dashed outline: not valid")
        axes.set_title(words(f"Latency by threads: {drawn.title}"), loc="left")
        _thread_legend(canvas, counts)
        return picture(canvas, words(f"Latency by threads: {drawn.title}"))


def _thread_legend(figure: Figure, counts: Sequence[int]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor=COLOURS[i % len(COLOURS)],
            hatch=HATCHES[i % len(HATCHES)],
            edgecolor="black",
            label="1 thread" if count == 1 else f"{count} threads",
        )
        for i, count in enumerate(counts)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handlelength=2.4)


def spread(drawn: Sequence[Spread], title: str) -> Picture:
    """The share of samples up to each latency, a panel per cell, a line per repeat, up to the 99th percentile.

    The slowest hundredth is left out of the axis, not of the data: one outlier would flatten every line.
    """
    import numpy as np

    with drawing():
        columns = min(GRID_COLUMNS, len(drawn))
        rows = -(-len(drawn) // columns)
        canvas = figure(max(4.0, 3.6 * columns), 0.8 + 2.5 * rows)
        grid = canvas.subplots(rows, columns, squeeze=False)
        for position, axes in enumerate(grid.flat):
            if position >= len(drawn):
                axes.set_axis_off()
                continue
            panel = drawn[position]
            pooled = np.concatenate([np.asarray(repeat) for repeat in panel.repeats_ms if repeat])
            low, high = float(pooled.min()), float(np.percentile(pooled, 99))
            margin = 0.05 * (high - low) or 0.01 * high
            for number, repeat in enumerate(panel.repeats_ms):
                ordered = np.sort(np.asarray(repeat))
                axes.step(
                    ordered,
                    100 * (np.arange(len(ordered)) + 1) / max(1, len(ordered)),
                    where="post",
                    color=COLOURS[number % (len(COLOURS) - 2)],
                    linestyle=LINES[number % len(LINES)],
                    linewidth=1.5,
                )
            axes.axvline(panel.median_ms, color="#000000", linewidth=0.8)
            axes.set_xlim(low - margin, high + margin)
            axes.set_ylim(0, 100)
            axes.tick_params(labelsize=8)
            axes.locator_params(axis="x", nbins=5)
            axes.ticklabel_format(axis="x", useOffset=False)
            axes.set_title(f"{words(panel.title, LABEL + 14)}\n{panel.cell} {panel.mark}", fontsize=8.5)
        canvas.suptitle(words(title), fontsize=11)
        canvas.supxlabel("Latency of one inference (ms), up to the 99th percentile; upright line: median", fontsize=9)
        canvas.supylabel("Share of samples (%), a line per repeat", fontsize=9)
        return picture(canvas, words(title))


def arms(value: float, ends: tuple[float, float]) -> list[list[float]]:
    # An interval of resampled medians can end a hair on the wrong side of the median itself.
    return [[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]]
