"""What a network costs on a device, from a table of its layers: points, interpolation, and what the whole adds. Pure.

A layer's cost is measured at a few channel counts and interpolated between them, linearly in the channels it reads and
in those it makes: multiply-accumulates are a product of both, which bilinear interpolation has exactly. A network is
more than the sum of its layers (caches, operators that are not in the table, threads that wait), so networks that were
measured whole bend the sum: their (sum, measured) pairs, made monotone, are joined by straight lines from the origin.

One bend for all kinds of layers, not a factor for each: a whole gives one number, and telling k factors apart would
take k networks. Near the target, which the search measures again and again, the bend is what was measured.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from compressors.search.parts import ELEMENTWISE, KEEPING, Geometry, Part

Point = tuple[int, int]
"""Channels read and made."""

OVERHEAD = Geometry(operator="RELU", size=(1, 1), made=(1, 1))
"""Almost nothing: what it takes is what starting any file takes, which every layer of the table has in its time."""
OVERHEAD_AT: Point = (8, 8)


@dataclass(frozen=True)
class Grid:
    """Where one geometry is measured. Its cost depends on one axis where it makes as many channels as it reads."""

    geometry: Geometry
    read: tuple[int, ...]
    made: tuple[int, ...]

    @property
    def tied(self) -> bool:
        """Whether channels made follow from channels read."""
        return _tied(self.geometry)

    @property
    def points(self) -> tuple[Point, ...]:
        """All of it."""
        if self.tied:
            return tuple(zip(self.read, self.made, strict=True))
        return tuple((read, made) for read in self.read for made in self.made)


def _tied(geometry: Geometry) -> bool:
    return geometry.operator in (*ELEMENTWISE, *KEEPING, "DEPTHWISE_CONV_2D")


def grids(
    parts: Iterable[Part], least: Mapping[str, int], full: Mapping[str, int], *, points: int, round_to: int = 8
) -> tuple[Grid, ...]:
    """The grids that cover every network between ``least`` and ``full``.

    Args:
        parts: of the network.
        least: group -> the fewest channels that will be asked for.
        full: group -> all of its channels.
        points: of each axis, 2 or more; an axis whose ends lie close has fewer.
        round_to: counts between the ends are multiples of it.
    """
    ends: dict[Geometry, list[Point]] = defaultdict(list)
    for part in parts:
        ends[part.geometry] += [part.at(least), part.at(full)]
    found = []
    for geometry, at in ends.items():
        read = axis([one for one, _ in at], points, _step(geometry, round_to))
        if _tied(geometry):
            factor = max(1, at[0][1] // at[0][0])
            found.append(Grid(geometry, read, tuple(each * factor for each in read)))
        else:
            found.append(Grid(geometry, read, axis([one for _, one in at], points, _step(geometry, round_to))))
    return tuple(found)


def _step(geometry: Geometry, round_to: int) -> int:
    return math.lcm(geometry.groups, round_to) if geometry.groups > 1 else round_to


def axis(counts: Sequence[int], points: int, round_to: int) -> tuple[int, ...]:
    """Counts from the smallest to the largest, each about as many times the one before, growing."""
    low, high = min(counts), max(counts)
    if low == high:
        return (low,)
    between = [low * (high / low) ** (n / (points - 1)) for n in range(1, points - 1)]
    rounded = {round(each / round_to) * round_to for each in between}
    return (low, *sorted(each for each in rounded if low < each < high), high)


def interpolate(grid: Grid, values: Mapping[Point, float], read: int, made: int) -> float:
    """The cost at a point; beyond the grid the nearest edge goes on straight, never below 0.

    Raises:
        KeyError: a point of the grid has no value.
    """
    if grid.tied:
        by_made = {point[1]: values[point] for point in grid.points}
        return max(0.0, _along(grid.made, [by_made[each] for each in grid.made], made))
    rows = [_along(grid.made, [values[each, y] for y in grid.made], made) for each in grid.read]
    return max(0.0, _along(grid.read, rows, read))


def _along(at: Sequence[int], values: Sequence[float], x: float) -> float:
    if len(at) == 1:
        # One count was ever asked for; another would cost in proportion.
        return values[0] * x / at[0] if at[0] else values[0]
    right = min(max(bisect_left(at, x), 1), len(at) - 1)
    x0, x1, y0, y1 = at[right - 1], at[right], values[right - 1], values[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@dataclass(frozen=True)
class Bend:
    """Sums of layers against networks measured whole, as a line from the origin through monotone knots."""

    knots: tuple[tuple[float, float], ...] = ()

    @classmethod
    def through(cls, measured: Iterable[tuple[float, float]]) -> Bend:
        """From (sum, measured) pairs. Where a larger sum was measured faster, both are taken at their means."""
        blocks: list[tuple[float, float, int]] = []
        for x, y in sorted(measured):
            block = (x, y, 1)
            while blocks and (
                blocks[-1][1] / blocks[-1][2] >= block[1] / block[2] or blocks[-1][0] / blocks[-1][2] >= x
            ):
                before = blocks.pop()
                block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
            blocks.append(block)
        return cls(tuple((x / n, y / n) for x, y, n in blocks))

    def __call__(self, total: float) -> float:
        """The network's cost, of a sum of layers; the sum itself while nothing was measured whole."""
        if not self.knots:
            return total
        sums = [x for x, _ in self.knots]
        place = bisect_right(sums, total)
        if place == 0 or place == len(sums):
            x, y = self.knots[0 if place == 0 else -1]
            return total * y / x if x > 0 else total
        (x0, y0), (x1, y1) = self.knots[place - 1], self.knots[place]
        return y0 + (y1 - y0) * (total - x0) / (x1 - x0)


@dataclass(frozen=True)
class Predictor:
    """A network's cost at any channel counts.

    Args:
        parts: of the network.
        full: group -> all of its channels; what a question leaves out is whole.
        grids: that cover the parts.
        values: geometry -> point -> its cost.
        overhead: what starting a file takes; it is in every value once, and in a network once.
        bend: by networks that were measured whole.
    """

    parts: tuple[Part, ...]
    full: Mapping[str, int]
    grids: Mapping[Geometry, Grid]
    values: Mapping[Geometry, Mapping[Point, float]]
    overhead: float = 0.0
    bend: Bend = Bend()
    _known: dict[tuple[int, int, int], float] = field(default_factory=dict, repr=False, compare=False)

    def layers(self, kept: Mapping[str, int] | None = None) -> list[float]:
        """Each part in order, without what starting a file takes."""
        counts = {**self.full, **(kept or {})}
        return [self._cost(number, *part.at(counts)) for number, part in enumerate(self.parts)]

    def sum(self, kept: Mapping[str, int] | None = None) -> float:
        """All operators one by one."""
        return self.overhead + sum(self.layers(kept))

    def __call__(self, kept: Mapping[str, int] | None = None) -> float:
        """The network, bent by what was measured whole."""
        return self.bend(self.sum(kept))

    def bent(self, measured: Iterable[tuple[float, float]]) -> Predictor:
        """The same table under another bend."""
        return replace(self, bend=Bend.through(measured))

    def _cost(self, number: int, read: int, made: int) -> float:
        key = number, read, made
        if key not in self._known:
            geometry = self.parts[number].geometry
            found = interpolate(self.grids[geometry], self.values[geometry], read, made)
            self._known[key] = max(0.0, found - self.overhead)
        return self._known[key]
