"""What the interactive plots show, as plain data. Pure; ``assets/pocketzoo.js`` gives it to Chart.js.

The intervals, marks and the front are those of the still pictures: both are drawn from :mod:`reports.drawings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.drawings import Dot, Line, Scaling, Sensitivity, Trade
from reports.numbers import ms_text
from reports.values import Missing, Ratio, Table, Text
from zoo.markdown import visible


@dataclass(frozen=True)
class Figure:
    """A plot of a page: its name there, title, what a reader who does not see it is told, and the data.

    ``still`` is the address of the same plot as SVG, for readers without JavaScript; empty where there is none.
    """

    name: str
    title: str
    says: str
    data: Mapping[str, Any]
    still: str = ""
    told: tuple[tuple[str, str], ...] = ()  # the figures in words, where no table of the page has them


def sensitivity(name: str, drawn: Sensitivity) -> Figure:
    """Curves of a search, their figures in words beside them."""
    percent = [Line(c.name, tuple(Dot(100 * dot.x, dot.y) for dot in c.points)) for c in drawn.curves]
    base = [Line("unpruned", tuple(Dot(x, drawn.base) for x in (0.0, 100.0)))]
    title = f"Sensitivity: {drawn.title}"
    made = lines(name, title, [*base, *percent], "Channels removed from one group (%)", "Top-1 (%)")
    told = tuple((curve.name, ", ".join(f"{dot.x:.3g}%: {dot.y:.2f}%" for dot in curve.points)) for curve in percent)
    return replace(made, told=(("unpruned", f"{drawn.base:.2f}%"), *told))


def trade(name: str, drawn: Trade, links: Mapping[str, str], still: str = "") -> Figure:
    """Accuracy against latency; ``links`` leads from a model's name to its page."""
    families = sorted({point.family for point in drawn.points})
    series = [
        {
            "name": visible(family),
            "points": [
                {
                    "x": point.latency_ms,
                    "y": point.accuracy,
                    "xEnds": point.latency_ends,
                    "yEnds": point.accuracy_ends,
                    "name": visible(point.label),
                    "says": f"{ms_text(point.latency_ms)} ms {point.mark}, {point.accuracy:.2f}",
                    "href": links.get(point.label, ""),
                    "hollow": not point.good,
                }
                for point in drawn.points
                if point.family == family
            ],
        }
        for family in families
    ]
    front = sorted((p.latency_ms, p.accuracy) for p in drawn.points if p.front)
    best = [point.label for point in drawn.points if point.front]
    says = f"{_models(len(drawn.points))}. " + (
        f"On the Pareto front: {', '.join(visible(label) for label in best[:12])}."
        if best
        else "None can be relied on."
    )
    if drawn.left_out:
        says += f" {drawn.left_out:,} more models, beaten by more others than these, are in the tables."
    data = {
        "kind": "trade",
        "x": "Latency (ms), left is better",
        "y": f"{visible(drawn.metric)}, up is better",
        "series": series,
        "front": front,
    }
    return Figure(name, f"Accuracy against latency: {visible(drawn.title)}", says, data, still)


def scaling(name: str, drawn: Scaling, still: str = "", most: int = 24) -> Figure:
    """Latency by threads, a group of bars per model; the first ``most`` models."""
    groups = drawn.groups[:most]
    counts = sorted({bar.threads for _, bars in groups for bar in bars})
    series = []
    for count in counts:
        bars = [next((bar for bar in of if bar.threads == count), None) for _, of in groups]
        series.append(
            {
                "name": "1 thread" if count == 1 else f"{count} threads",
                "values": [bar.median_ms if bar else None for bar in bars],
                "ends": [bar.ends_ms if bar else None for bar in bars],
                "hollow": [not bar.good if bar else False for bar in bars],
                "marks": [bar.mark if bar else "" for bar in bars],
            }
        )
    left = len(drawn.groups) - len(groups)
    says = _models(len(groups)) + (f"; {left} more are in the tables." if left else ".")
    data = {"kind": "bars", "x": "Latency (ms)", "labels": [visible(label) for label, _ in groups], "series": series}
    return Figure(name, f"Latency by threads: {visible(drawn.title)}", says, data, still)


def lines(name: str, title: str, drawn: Sequence[Line], x: str, y: str, *, times: bool = False) -> Figure:
    """Lines of points: a history (``times``: x is an instant in seconds) or curves of sensitivity."""
    series = [
        {
            "name": visible(line.name),
            "points": [
                {
                    "x": point.x * 1000 if times else point.x,
                    "y": point.y,
                    "yEnds": point.ends,
                    "says": point.says,
                    "hollow": not point.good,
                }
                for point in line.points
            ],
        }
        for line in drawn
    ]
    said = f"{len(series)} {'line' if len(series) == 1 else 'lines'}."
    return Figure(name, visible(title), said, {"kind": "lines", "x": x, "y": y, "times": times, "series": series})


def ratios(name: str, title: str, table: Table, column: int, label: Sequence[int]) -> Figure | None:
    """Speed-ups of a table as dots on one axis: measured ones filled and with their interval, published ones hollow.

    Args:
        name: on the page.
        title: of the plot.
        table: with typed values.
        column: where the speed-ups stand.
        label: the columns that name a row.
    """
    rows: list[tuple[str, float, tuple[float, float] | None, str, str]] = []
    for row in table.rows:
        value = row[column]
        words = [cell.text for cell in (row[i] for i in label) if isinstance(cell, Text) and cell.text]
        named = visible(" · ".join(f"T{word}" if word.isdigit() else word for word in words))
        if isinstance(value, Ratio):
            marks = " ".join(value.caveats) or "✓"
            kind = "emulated" if "†" in marks else "measured"
            rows.append((named, value.value, (value.low, value.high), kind, marks))
        elif isinstance(value, Text) and value.published:
            number = _times(value.text)
            if number is not None:
                rows.append((named, number, None, "published", "‡published"))
        elif not isinstance(value, Missing | Text):  # a table of another shape is a mistake of ours
            raise TypeError(f"no speed-up in column {column}: {value!r}")
    if not rows:
        return None
    data = {
        "kind": "dots",
        "x": "Times faster than the 32-bit parent",
        "labels": [row[0] for row in rows],
        "series": [
            {
                "name": group,
                "points": [
                    {
                        "x": x,
                        "y": place,
                        "xEnds": ends,
                        "name": named,
                        "says": f"{x:.2f}× {mark}",
                        "hollow": mark != "✓",
                    }
                    for place, (named, x, ends, of, mark) in enumerate(rows)
                    if of == group
                ],
            }
            for group in ("measured", "published", "emulated")
            if any(row[3] == group for row in rows)
        ],
    }
    return Figure(name, visible(title), f"{len(rows)} speed-ups.", data)


def _models(count: int) -> str:
    return f"{count} {'model' if count == 1 else 'models'}"


def _times(text: str) -> float | None:
    try:
        return float(text.rstrip("x×"))
    except ValueError:
        return None


def costs(name: str, drawn: Trade, links: Mapping[str, str], still: str = "") -> Figure:
    """MACs against latency, from :func:`reports.drawings.costs`."""
    made = trade(name, drawn, links, still)
    data = {**made.data, "x": "Latency (ms)", "y": "MACs (M)", "zero": True}
    says = f"{_models(len(drawn.points))}. Models above the others compute more per millisecond."
    return Figure(name, f"MACs against latency: {visible(drawn.title)}", says, data, still)
