"""What instruction counts say of a speed-up, next to the ratios of times that others published. Pure.

A ratio of instructions is no ratio of times: it leaves out caches, issue width and clocks. So every forecast stands
beside a published ratio where there is one, with its error, and docs/method.md has how far off such forecasts were.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.published import PublishedRow, PublishedTable
from zoo.measurement import Measurement

_WIDTH = re.compile(r"(?P<base>.+)-\d+(?:\.\d+)?x")  # mobilenetv1-0.75x
_AMC = re.compile(r"amc-(?P<base>[a-z0-9]+)-.+")  # amc-mobilenetv1-0.5flops


@dataclass(frozen=True)
class Published:
    """A published ratio of times on a phone: ``base`` takes ``ratio`` times as long as ``name``.

    ``abi`` is None where the document does not tell it; threads are 1, or not told.
    """

    device: str
    abi: str | None
    base: str
    name: str
    ratio: float
    table: str
    source: str
    conditions: str


@dataclass(frozen=True)
class Counted:
    """What was counted of one model on one device."""

    name: str
    digest: str
    abi: str
    instructions: float
    runner_sha256: str
    device: str


@dataclass(frozen=True)
class Beside:
    """A published ratio next to ours. ``error`` is ours over theirs, less 1."""

    ratio: float
    error: float
    abi: str | None
    table: str
    source: str


@dataclass(frozen=True)
class Forecast:
    """``base`` executes ``ratio`` times the instructions of ``name``."""

    name: str
    base: str
    abi: str
    base_instructions: float
    instructions: float
    ratio: float
    published: tuple[Beside, ...]


def published_ratios(tables: Sequence[PublishedTable]) -> tuple[Published, ...]:
    """Every ratio of times at one thread that the tables give for a phone; ratios against the model as trained."""
    return tuple(found for table in tables for found in _ratios(table))


def counted(measurements: Sequence[Measurement], lab_names: Collection[str]) -> tuple[Counted, ...]:
    """The newest count of each file and ABI under the identity of a device.

    Args:
        measurements: of any device and metric.
        lab_names: the lab phones of that device.
    """
    newest: dict[tuple[str, str], Measurement] = {}
    for m in sorted(measurements, key=lambda one: one.time):
        if m.metric == "instructions" and m.instructions is not None and m.device.name in lab_names:
            newest[m.artifact_sha256, m.abi] = m
    return tuple(
        Counted(m.model, digest, abi, m.instructions.median, m.runner.binary_sha256, m.device.name)
        for (digest, abi), m in sorted(newest.items(), key=lambda item: (item[1].model, item[0]))
        if m.instructions is not None
    )


def forecasts(
    counts: Sequence[Counted], parents: Mapping[str, str], published: Sequence[Published]
) -> tuple[Forecast, ...]:
    """The ratios that can be told.

    Args:
        counts: of one device.
        parents: file -> the file it was made from, by digest, as the zoo has it.
        published: of that device. Where the zoo knows no parent (a file that was added), these tell what a model is
            compared with.

    Returns:
        By ABI and name. Only of two files that were counted with the same runtime and counter.
    """
    found = []
    for one in counts:
        base = _base(one, counts, parents, published)
        if base is None:
            continue
        ratio = base.instructions / one.instructions
        beside = tuple(
            Beside(other.ratio, ratio / other.ratio - 1, other.abi, other.table, other.source)
            for other in published
            if (other.base, other.name) == (base.name, one.name) and other.abi in (None, one.abi)
        )
        found.append(Forecast(one.name, base.name, one.abi, base.instructions, one.instructions, ratio, beside))
    return tuple(sorted(found, key=lambda row: (row.abi != "armv8", row.name)))


def missing(
    counts: Sequence[Counted], named: Mapping[str, str], parents: Mapping[str, str], published: Sequence[Published]
) -> tuple[str, ...]:
    """Names of the zoo that take part in a ratio and are not counted.

    Args:
        counts: what is.
        named: the zoo's models, name -> digest.
        parents: see :func:`forecasts`.
        published: of that device.
    """
    wanted = {digest for pair in parents.items() if pair[0] in named.values() for digest in pair}
    names = {name for name, digest in named.items() if digest in wanted}
    names |= {name for one in published if {one.base, one.name} <= named.keys() for name in (one.base, one.name)}
    have = {(one.name, one.digest) for one in counts}
    return tuple(sorted(name for name in names if (name, named[name]) not in have))


def _base(
    one: Counted, counts: Sequence[Counted], parents: Mapping[str, str], published: Sequence[Published]
) -> Counted | None:
    """The model as it was trained that a file descends from."""
    alike = [other for other in counts if other.abi == one.abi and other.runner_sha256 == one.runner_sha256]
    root, steps = one.digest, 0
    while root in parents and steps < len(parents):  # a record can claim any parent, so a circle is possible
        root, steps = parents[root], steps + 1
    for other in alike:
        if other.digest == root and root != one.digest:
            return other
    bases = {other.base for other in published if other.name == one.name}
    return next((other for other in alike if other.name in bases and other.digest != one.digest), None)


def _ratios(table: PublishedTable) -> Iterator[Published]:
    for row in table.rows:
        yield from _within(table, row)
        base = _base_row(table, row)
        if base is None or row.name is None or base.name is None:
            continue
        for position, column in enumerate(table.columns):
            device = row.device or column.device
            if device in (None, "v100") or column.strategy is not None:
                continue
            if (column.holds == "latency" and column.threads == 1) or column.holds == "latency-by-threads":
                of, over = _first(base.cells[position]), _first(row.cells[position])
                if of and over:
                    yield _published(table, str(device), column.abi, base.name, row.name, of / over)


def _within(table: PublishedTable, row: PublishedRow) -> Iterator[Published]:
    """Both times in one row."""
    times = {
        column.strategy: _first(row.cells[position])
        for position, column in enumerate(table.columns)
        if column.holds == "latency" and column.strategy is not None
    }
    of, over = times.get("none"), times.get(row.strategy)
    if row.device and row.name and row.strategy != "none" and of and over:
        yield _published(table, row.device, None, row.model, row.name, of / over)


def _base_row(table: PublishedTable, row: PublishedRow) -> PublishedRow | None:
    """The row of the model as it was trained."""
    narrower = _WIDTH.fullmatch(row.model) or _AMC.fullmatch(row.model)
    if row.strategy == "none" and narrower is None:
        return None
    model = narrower["base"] if narrower else row.model
    for other in table.rows:
        same = (other.model, other.device, other.dataset) == (model, row.device, row.dataset)
        if same and other.strategy == "none":
            return other
    return None


def _published(table: PublishedTable, device: str, abi: str | None, base: str, name: str, ratio: float) -> Published:
    source = f"{table.source.document}, {table.source.heading}, table {table.source.number}"
    return Published(device, abi, base, name, ratio, table.table, source, table.conditions or "")


def _first(cell: str) -> float | None:
    """The first number of a cell: of ``66.052/35.8014/19.5762``, which is by threads, the one of one thread."""
    match = re.match(r"\d+(?:\.\d+)?", cell)
    return float(match[0]) if match else None
