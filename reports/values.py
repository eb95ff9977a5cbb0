"""What stands in a table: typed values, columns, rows. They know nothing of Markdown or HTML; renderers draw them.

A large report makes millions of values, so they are records that cost little to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from pocketzoo.decodable import decodable

Align = Literal["left", "right"]


class Text(Struct, frozen=True, gc=False):
    """Words. ``code`` sets them as something to type; ``published`` as taken from a document."""

    text: str
    code: bool = False
    published: bool = False


class Missing(Struct, frozen=True, gc=False):
    """An empty cell and the reason why it is empty."""

    why: str


class Latency(Struct, frozen=True, gc=False):
    """A latency: median and half-width of its 95% interval in ms, marks, the cell it can be traced to.

    ``centre`` is ``mean`` where the runner's tool printed no median.
    """

    median_ms: float
    half_ms: float | None
    marks: tuple[str, ...]
    cell: str
    setup: str = ""
    centre: str = "median"


class Ratio(Struct, frozen=True, gc=False):
    """How many times faster, with its 95% interval; ``caveats`` name what is wrong with the cells behind it."""

    value: float
    low: float
    high: float
    caveats: tuple[str, ...] = ()


class Score(Struct, frozen=True, gc=False):
    """A metric with its 95% interval where one can be told, and on how many samples of what it was measured."""

    value: float
    unit: str
    low: float | None
    high: float | None
    samples: int
    dataset: str
    marks: tuple[str, ...] = ()


class Change(Struct, frozen=True, gc=False):
    """A difference to the parent; ``low`` and ``high`` where an interval can be told."""

    value: float
    unit: str
    decimals: int
    low: float | None = None
    high: float | None = None


class Size(Struct, frozen=True, gc=False):
    """A file size."""

    size: int


class Line(Struct, frozen=True, gc=False):
    """Several values in one cell, as ``Thread1/Thread2/Thread4`` of PaddleX; each keeps its own marks."""

    parts: tuple[Text | Missing | Latency, ...]


decodable(Text, Missing, Latency, Ratio, Score, Change, Size)


Value = Text | Missing | Latency | Ratio | Score | Change | Size | Line


@dataclass(frozen=True)
class Column:
    """A column's heading and how it is aligned."""

    heading: str
    align: Align = "left"
    numeric: bool = False  # sorted by number though it stands left; those that stand right are


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its columns and rows, and the notes below it."""

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Value, ...]]
    notes: tuple[str, ...] = ()
