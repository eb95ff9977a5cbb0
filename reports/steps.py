"""A network pruned step by step and measured at each: what ``compress curve --out FILE`` writes, as a report tells it.

The files are ``docs/data/curve-*.json`` and those that ``reports build --curve FILE`` names. They come from outside and
are checked here: ``{"schema": 1, "recipe", "device", "abi", "runner", "threads", "batch", "unit", "steps": [...]}``,
each step ``{"step", "macs", "parameters", "value", "interval": [low, high], "verdict", "job_key", ...}``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from pocketzoo.command import say
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput
from reports.drawings import Dot, Line
from reports.trained import folder
from reports.values import Column, Latency, Missing, Table, Text, Value
from zoo.measurement import VerdictName

MOST_BYTES = 16 << 20
MOST_STEPS = 1_000
FROM = "compress curve RECIPE --device D --out FILE.json writes one"
Short = Annotated[str, msgspec.Meta(max_length=200)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]


class Step(msgspec.Struct, frozen=True):
    """A step. ``value`` with its 95% ``interval`` is in the curve's unit, of a whole batch."""

    step: Count
    macs: Count
    parameters: Count
    value: float
    interval: tuple[float, float]
    verdict: VerdictName
    job_key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

    @property
    def marks(self) -> tuple[str, ...]:
        """The mark of a cell with such a verdict; an emulator says so in its verdict."""
        return {"valid": ("✓",), "emulated": ("†emulated",)}.get(self.verdict, (f"!{self.verdict}",))


class Steps(msgspec.Struct, frozen=True):
    """A curve, its first step the network as it is; MACs and parameters are those of one sample's network."""

    schema: Literal[1]
    recipe: Short
    device: Short
    abi: Short
    runner: Short
    threads: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    batch: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    unit: Literal["ms", "instructions"]
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1, max_length=MOST_STEPS)]

    @property
    def title(self) -> str:
        """``resnet50 on v100: x86_64, torch, 1 thread, batch 64``."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        batch = "" if self.batch == 1 else f", batch {self.batch}"
        return f"{self.recipe} on {self.device}: {self.abi}, {self.runner}, {threads}{batch}"

    @property
    def measure(self) -> str:
        """What the values are."""
        return "Latency (ms)" if self.unit == "ms" else "Instructions"


decodable(Step, Steps)


@dataclass(frozen=True)
class Pruned:
    """A curve and the name of its file, which says it on a page."""

    file: str
    curve: Steps


def parse(data: bytes) -> Steps:
    """A curve.

    Raises:
        ValueError: not such a file, or a number that is none.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES >> 20} MiB")
    try:
        found = msgspec.json.decode(data, type=Steps)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    for each in found.steps:
        low, high = each.interval
        if not (math.isfinite(each.value) and 0 < low <= each.value <= high < math.inf):
            raise ValueError(f"step {each.step}: {each.value} with the interval {low} to {high}")
    return found


def load(more: Sequence[Path] = (), where: Path | None = None) -> tuple[Pruned, ...]:
    """The curves of docs/data, then those of the files named, each once.

    Args:
        more: files that somebody asked for.
        where: another folder than docs/data.

    Raises:
        BadInput: one of ``more`` holds no such curve; of the others a warning says so.
    """
    found: dict[Steps, Pruned] = {}
    place = where or folder()
    for path in sorted(place.glob("curve-*.json")) if place.is_dir() else ():
        try:
            curve = parse(_bounded(path))
        except (OSError, ValueError, RecursionError) as problem:
            say(f"warning: left out of the report: no curve in {path.name}: {str(problem)[:200]}")
            continue
        found.setdefault(curve, Pruned(path.name, curve))
    for path in more:
        try:
            curve = parse(_bounded(path))
        except (OSError, ValueError, RecursionError) as problem:
            detail = (str(problem)[:200],)
            raise BadInput("no curve of steps of pruning", where=str(path), hint=FROM, detail=detail) from problem
        found.setdefault(curve, Pruned(path.name, curve))
    return tuple(found.values())


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def table(drawn: Pruned) -> Table:
    """Step by step: MACs, parameters, what it takes, and both against the first step."""
    curve = drawn.curve
    columns = (
        Column("Step", "right"), Column("MACs (M)", "right"), Column("Parameters (M)", "right"),
        Column(curve.measure, "right"), Column("MACs ÷", "right"),
        Column("Latency ÷" if curve.unit == "ms" else "Instructions ÷", "right"),
    )  # fmt: skip
    first = curve.steps[0]
    rows = tuple(
        (
            Text(str(each.step)),
            Text(f"{each.macs / 1e6:.1f}"),
            Text(f"{each.parameters / 1e6:.3f}"),
            _value(curve, each),
            Text(f"{first.macs / each.macs:.2f}") if each.macs else Missing("no MACs left"),
            Text(f"{first.value / each.value:.2f}"),
        )
        for each in curve.steps
    )
    batch = "" if curve.batch == 1 else f" {curve.measure} is that of a batch of {curve.batch}; MACs are of one sample."
    note = f"All layers are pruned alike; nothing is trained. From {drawn.file}.{batch}"
    return Table(curve.title, columns, rows, (note,))


def _value(curve: Steps, each: Step) -> Value:
    if curve.unit == "ms":
        low, high = each.interval
        return Latency(each.value, (high - low) / 2, each.marks, each.job_key[:12])
    return Text(f"{each.value:,.0f} {' '.join(each.marks)}")


def lines(curves: Iterable[Pruned]) -> dict[str, list[Line]]:
    """What the curves measure (``Latency (ms)``) -> a line for each: x in millions of MACs."""
    found: dict[str, list[Line]] = {}
    for drawn in curves:
        dots = tuple(
            Dot(each.macs / 1e6, each.value, each.interval, each.verdict == "valid", f"step {each.step}")
            for each in sorted(drawn.curve.steps, key=lambda each: (each.macs, each.step))
        )
        found.setdefault(drawn.curve.measure, []).append(Line(drawn.curve.title, dots))
    return found
