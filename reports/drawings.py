"""What the plots show, as plain figures. Pure: records in, points out; the renderer adds ink, never numbers."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.cells import DeviceKey, believable, cell_id, marks, split_name
from reports.compare import headline, metric_name, score
from reports.view import View
from zoo.instants import instant
from zoo.measurement import Measurement
from zoo.past import Past

MOST_POINTS = 200  # of one picture; more would hide each other


@dataclass(frozen=True)
class Point:
    """A model at one place: latency and accuracy with their intervals. ``good``: no mark against the latency."""

    label: str
    family: str
    latency_ms: float
    latency_ends: tuple[float, float]
    accuracy: float
    accuracy_ends: tuple[float, float] | None
    good: bool
    mark: str
    front: bool


@dataclass(frozen=True)
class Trade:
    """Accuracy against latency on one device and ABI, with one thread."""

    title: str
    metric: str
    points: tuple[Point, ...]
    left_out: int = 0  # models that are not drawn; more of the others beat them than those that are


@dataclass(frozen=True)
class Bar:
    """A latency with the ends of its interval."""

    threads: int
    median_ms: float
    ends_ms: tuple[float, float]
    good: bool
    mark: str


@dataclass(frozen=True)
class Scaling:
    """Latency by threads: a group of bars per model, on one device and ABI."""

    title: str
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]


@dataclass(frozen=True)
class Spread:
    """Every sample of one cell in ms, by repeat."""

    title: str
    cell: str
    repeats_ms: tuple[tuple[float, ...], ...]
    median_ms: float
    mark: str


def pareto(points: Sequence[tuple[float, float]]) -> set[int]:
    """The positions of (latency, accuracy) points that no other point beats: none is as fast and as accurate, and
    better in one of the two."""
    return next(layers(points), set())


def layers(points: Sequence[tuple[float, float]]) -> Iterator[set[int]]:
    """The front, then the front of the points without it, and so on until none is left."""
    fronts: list[set[int]] = []
    last: list[float] = []  # of each front the accuracy that was reached so far, negative: they grow
    before: tuple[float, float] | None = None
    place = 0
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        # By growing latency: a point stands where it is more accurate than all before it, or is the last of them again.
        if points[i] != before:
            before = points[i]
            place = bisect_right(last, -before[1])
            if place == len(fronts):
                fronts.append(set())
                last.append(0.0)
            last[place] = -before[1]
        fronts[place].add(i)
    yield from fronts


def worth_drawing(points: Sequence[tuple[float, float]], firm: Sequence[bool], most: int) -> list[int]:
    """The positions of at most so many points, in their order: front by front, those that can be believed first."""
    if len(points) <= most:
        return list(range(len(points)))
    kept: list[int] = []
    for wanted in (True, False):
        pool = [i for i, good in enumerate(firm) if good is wanted]
        for front in layers([points[i] for i in pool]):
            kept += sorted((pool[i] for i in front), key=lambda i: points[i])
            if len(kept) >= most:
                return sorted(kept[:most])
    return sorted(kept)


def trades(view: View, device: DeviceKey) -> list[tuple[str, Trade]]:
    """(ABI, picture): the tagged models with an accuracy and a latency at one thread."""
    return view.remember(("trades", device), lambda: _trades(view, device))


def _trades(view: View, device: DeviceKey) -> list[tuple[str, Trade]]:
    found = []
    for abi in sorted({cell.abi for cell in view.cells_of(device)}):
        found_here = []
        for item in view.tagged:
            cell = view.at(item.artifact.digest, device, abi, 1)
            if cell is None or cell.summary is None:
                continue
            accuracy = headline(item.artifact)
            if accuracy is not None:
                found_here.append((item.artifact, cell, cell.summary, accuracy))
        # One axis holds one metric; the one most models have.
        metrics = Counter(metric_name(entry[3].metric) for entry in found_here)
        if not metrics:
            continue
        metric = max(sorted(metrics), key=metrics.__getitem__)
        found_here = [entry for entry in found_here if metric_name(entry[3].metric) == metric]
        told = len(found_here)
        kept = worth_drawing(
            [(summary.median_ms, accuracy.value) for _, _, summary, accuracy in found_here],
            [believable(cell) for _, cell, _, _ in found_here],
            MOST_POINTS,
        )
        rows = []
        for artifact, cell, summary, accuracy in (found_here[i] for i in kept):
            drawn = score(accuracy, artifact.digest)
            ends = None if drawn.low is None or drawn.high is None else (drawn.low, drawn.high)
            rows.append((artifact.name, cell, summary, drawn, ends))
        # Only numbers that can be believed make the front.
        firm = [i for i, row in enumerate(rows) if believable(row[1])]
        front = pareto([(rows[i][2].median_ms, rows[i][3].value) for i in firm])
        best = {firm[i] for i in front}
        points = tuple(
            Point(
                label=name,
                family=split_name(name)[0],
                latency_ms=summary.median_ms,
                latency_ends=summary.ci95_ms,
                accuracy=drawn.value,
                accuracy_ends=ends,
                good=believable(cell),
                mark=_mark(cell),
                front=i in best,
            )
            for i, (name, cell, summary, drawn, ends) in enumerate(rows)
        )
        what = "Top-1 (%)" if metric == "top1" else metric
        found.append((abi, Trade(f"{view.title(device)}, {abi}, 1 thread", what, points, told - len(points))))
    return found


def scalings(view: View, device: DeviceKey) -> list[tuple[str, Scaling]]:
    """(ABI, picture): each model's latency at each number of threads."""
    return view.remember(("scalings", device), lambda: _scalings(view, device))


def _scalings(view: View, device: DeviceKey) -> list[tuple[str, Scaling]]:
    found = []
    for abi in sorted({cell.abi for cell in view.cells_of(device)}):
        groups: dict[tuple[str, str], list[Bar]] = {}
        for cell in sorted(view.cells_of(device), key=lambda c: (c.model, c.artifact_sha256, c.threads_requested)):
            if cell.abi == abi and cell.summary is not None:
                groups.setdefault((cell.model, cell.artifact_sha256), []).append(
                    Bar(
                        cell.threads_requested,
                        cell.summary.median_ms,
                        cell.summary.ci95_ms,
                        believable(cell),
                        _mark(cell),
                    )
                )
        names = Counter(name for name, _ in groups)
        if groups:
            labelled = tuple(
                (f"{name}@{digest[:8]}" if names[name] > 1 else name, tuple(bars))
                for (name, digest), bars in groups.items()
            )
            found.append((abi, Scaling(f"{view.title(device)}, {abi}", labelled)))
    return found


def spreads(view: View, device: DeviceKey) -> list[Spread]:
    """Every cell shown for a device that has samples, with all of them."""
    chosen = sorted(
        view.cells_of(device), key=lambda c: (c.abi, split_name(c.model), c.artifact_sha256, c.threads_requested)
    )
    return [
        Spread(
            title=f"{cell.model}, {cell.abi}, T{cell.threads_requested}",
            cell=cell_id(cell),
            repeats_ms=tuple(tuple(ns / 1e6 for ns in repeat.samples_ns) for repeat in cell.repeats),
            median_ms=cell.summary.median_ms,
            mark=_mark(cell),
        )
        for cell in view.material.whole(chosen)
        if cell.summary is not None and any(repeat.samples_ns for repeat in cell.repeats)
    ]


def _mark(cell: Measurement) -> str:
    """The marks of a cell, and that its number is a mean where it is one."""
    mean = cell.summary is not None and cell.summary.centre == "mean"
    return " ".join((*marks(cell), *(["mean"] if mean else [])))


@dataclass(frozen=True)
class Dot:
    """A point of a line; ``ends`` is its 95% interval on the y axis where it has one."""

    x: float
    y: float
    ends: tuple[float, float] | None = None
    good: bool = True
    says: str = ""


@dataclass(frozen=True)
class Line:
    """A line of points, by growing x."""

    name: str
    points: tuple[Dot, ...]


@dataclass(frozen=True)
class Sensitivity:
    """Accuracy of a network while one group of its channels after the other is pruned; ``base`` is it unpruned."""

    title: str
    base: float
    curves: tuple[Line, ...]


def sensitivity(title: str, record: object) -> Sensitivity:
    """The curves of a ``sensitivity.json``, as a search writes it.

    ``{"baseline": top1, "curves": [{"group": name, "ratios": [...], "accuracies": [...]}, ...]}``, every number in
    0..1; or ``{"base": top1, "groups": {name: [[ratio, top1], ...]}}`` with top1 in percent. Ratios are shares of
    channels removed. Anything beside these keys is left alone.

    Args:
        title: what the file is of.
        record: the decoded JSON; it comes from outside and is checked here.

    Raises:
        ValueError: it has another shape.
    """
    if not isinstance(record, dict):
        raise ValueError("not an object with curves")
    groups: object
    if "curves" in record:
        base, percent = _number(record.get("baseline"), "baseline"), 100.0
        groups = _pairs(record["curves"])
    else:
        base, percent = _number(record.get("base"), "base"), 1.0
        groups = record.get("groups")
    if not isinstance(groups, dict):
        raise ValueError("no 'curves' and no 'groups'")
    base *= percent
    curves = []
    for name, points in sorted(groups.items()):
        if not isinstance(points, list) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in points):
            raise ValueError(f"group {name!r}: not a list of [ratio, top1]")
        dots = sorted((_number(x, f"group {name!r}"), percent * _number(y, f"group {name!r}")) for x, y in points)
        curves.append(Line(str(name), tuple(Dot(x, y) for x, y in dots)))
    if not any(curve.points for curve in curves):
        raise ValueError("no group has a point")
    return Sensitivity(title, base, tuple(curves))


def most_sensitive(drawn: Sensitivity, most: int) -> Sensitivity:
    """The curves of the groups that lose most, in the order of their names, where there are more than so many."""
    if len(drawn.curves) <= most:
        return drawn
    lost = sorted(
        drawn.curves, key=lambda curve: (min((dot.y for dot in curve.points), default=drawn.base), curve.name)
    )
    kept = {curve.name for curve in lost[:most]}
    title = f"{drawn.title}, the {most} of {len(drawn.curves)} groups that lose most"
    return Sensitivity(title, drawn.base, tuple(curve for curve in drawn.curves if curve.name in kept))


def _pairs(curves: object) -> dict[str, object]:
    """Curves as a mapping from group to [ratio, top1] pairs."""
    if not isinstance(curves, list):
        raise ValueError("'curves' is no list")
    found: dict[str, object] = {}
    for curve in curves:
        parts = [curve.get(key) for key in ("group", "ratios", "accuracies")] if isinstance(curve, dict) else []
        match parts:
            case [str(name), list(ratios), list(accuracies)] if len(ratios) == len(accuracies) and name not in found:
                found[name] = [list(pair) for pair in zip(ratios, accuracies, strict=True)]
            case _:
                raise ValueError("a curve without a group of its own, ratios and as many accuracies")
    return found


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}: not a number: {value!r}")
    return float(value)


def costs(view: View, device: DeviceKey) -> list[tuple[str, Trade]]:
    """(ABI, picture): MACs against latency at one thread, of the tagged models whose MACs are recorded.

    A :class:`Trade` whose ``accuracy`` holds millions of MACs, and which has no front.
    """
    return view.remember(("costs", device), lambda: _costs(view, device))


def _costs(view: View, device: DeviceKey) -> list[tuple[str, Trade]]:
    found = []
    for abi in sorted({cell.abi for cell in view.cells_of(device)}):
        points = []
        for item in view.tagged:
            cell = view.at(item.artifact.digest, device, abi, 1)
            if cell is None or cell.summary is None or item.artifact.macs is None:
                continue
            points.append(
                Point(
                    label=item.artifact.name,
                    family=split_name(item.artifact.name)[0],
                    latency_ms=cell.summary.median_ms,
                    latency_ends=cell.summary.ci95_ms,
                    accuracy=item.artifact.macs / 1e6,
                    accuracy_ends=None,
                    good=believable(cell),
                    mark=_mark(cell),
                    front=False,
                )
            )
        # The models with the most MACs for their latency, and so on, where there are more than a picture can show.
        kept = worth_drawing([(p.latency_ms, p.accuracy) for p in points], [p.good for p in points], MOST_POINTS)
        left, points = len(points) - len(kept), [points[i] for i in kept]
        # One point shows nothing that its row does not.
        if len(points) > 1:
            found.append((abi, Trade(f"{view.title(device)}, {abi}, 1 thread", "MACs (M)", tuple(points), left)))
    return found


def histories(told: Mapping[str, Sequence[Past]], cells: Sequence[Measurement]) -> list[Line]:
    """The median of each of these cells over time, a line per cell that was measured more than once.

    Args:
        told: every known round by job key, oldest first: ``Material.history``.
        cells: whose lines.
    """
    names = Counter(cell.model for cell in cells)
    drawn = []
    for cell in sorted(cells, key=lambda c: (c.model, c.abi, c.threads_requested, c.job_key)):
        dots = [
            Dot(at, past.summary.median_ms, past.summary.ci95_ms, past.verdict.name == "valid", past.time)
            for past in told.get(cell.job_key, ())
            if past.summary is not None and (at := instant(past.time)) is not None
        ]
        if len(dots) > 1:
            place = f"{cell.abi} T{cell.threads_requested}"
            alike = f" {cell_id(cell)[:4]}" if names[cell.model] > 6 else ""
            drawn.append(Line(f"{cell.model} {place}{alike}", tuple(dots)))
    return drawn


def most_moved(lines: Sequence[Line], most: int) -> list[Line]:
    """The lines whose largest value is most times their smallest, that one first: those worth a look."""

    def moved(line: Line) -> float:
        values = [point.y for point in line.points]
        return max(values) / min(values) if min(values) > 0 else 0.0

    return sorted(lines, key=lambda line: (-moved(line), line.name))[:most]
