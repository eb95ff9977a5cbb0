"""Which repeat runs next, when a cell has enough, and when it is measured again. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.job import Cell
from zoo.measurement import Measurement, Summary, VerdictName

MOST_REPEATS = 20
"""The cap of --until: pyperf's number of processes."""

RETRIED: tuple[VerdictName, ...] = ("throttled", "contended", "unstable")
"""Verdicts that may be another the next time. clamped and emulated come out the same."""


@dataclass(frozen=True)
class Task:
    """A cell and how it is to be measured beyond what its key says.

    Args:
        cell: the cell.
        until: go on until half the 95% interval is at most this share of the median; None: repeats decide.
        most: repeats at which ``until`` gives up.
        cool_below_c: begin no repeat above it; None asks for nothing.
        cool_limit_s: how long to wait for it before each repeat.
    """

    cell: Cell
    until: float | None = None
    most: int = MOST_REPEATS
    cool_below_c: float | None = None
    cool_limit_s: float = 300.0

    @property
    def cap(self) -> int:
        """The most repeats it can have; never fewer than its protocol asks for."""
        return max(self.most, self.cell.protocol.repeats) if self.until is not None else self.cell.protocol.repeats


def half_width(summary: Summary) -> float:
    """Half the 95% interval as a share of the median."""
    low, high = summary.ci95_ms
    return (high - low) / 2 / summary.median_ms if summary.median_ms else 0.0


def enough(task: Task, repeats: int, width: float | None) -> bool:
    """Whether a cell needs no further repeat.

    Args:
        task: the cell.
        repeats: how many it has.
        width: :func:`half_width` of what it has; None where there is nothing yet.
    """
    if repeats < task.cell.protocol.repeats:
        return False
    if task.until is None or repeats >= task.cap:
        return True
    return width is not None and width <= task.until


def block(tasks: Sequence[Task], *, seed: int, number: int) -> list[Task]:
    """The order of one block: every cell that still needs a repeat, once, shuffled by seed and block number.

    Drift (heat, a battery, a neighbour) then hits all cells alike instead of whichever came last.
    """
    order = sorted(tasks, key=lambda task: task.cell.key)
    random.Random(f"{seed}/{number}").shuffle(order)  # noqa: S311  not for secrets
    return order


def repeats_left(tasks: Sequence[Task], done: Mapping[str, int]) -> int:
    """Repeats that will run at least, by the number each job key has."""
    return sum(max(0, task.cell.protocol.repeats - done.get(task.cell.key, 0)) for task in tasks)


def earlier_rounds(measurement: Measurement) -> int:
    """Which further round of its campaign a measurement came from; 0 for the first."""
    found = [item.value for item in measurement.verdict.evidence if item.check == ROUND]
    return int(found[0]) if found and found[0] is not None else 0


ROUND = "earlier rounds"


@dataclass(frozen=True)
class Known:
    """What to do with a cell that has a measurement: reuse it, or measure again as further round ``rounds`` of it."""

    reuse: bool
    rounds: int = 0
    why: str = ""


def judge_known(known: Measurement, task: Task, *, retry: int, fresh: bool, since: str | None) -> Known:
    """Whether a measured cell is measured again.

    Args:
        known: its newest measurement.
        task: what is asked now.
        retry: further rounds for a cell whose verdict is one of RETRIED.
        fresh: measure again whatever it says, unless it was measured in this campaign.
        since: when the campaign began (UTC, ISO 8601 with milliseconds); what is newer is of this campaign.
    """
    ours = since is not None and known.time >= since
    if fresh and not ours:
        return Known(False, 0, "asked for afresh")
    rounds = earlier_rounds(known) if ours else 0
    if known.verdict.name in RETRIED and rounds < retry:
        return Known(False, rounds + 1, f"{known.verdict.name}: {known.verdict.reason}")
    short = known.summary is not None and not enough(task, len(known.repeats), half_width(known.summary))
    if short and not ours and known.provenance != "emulated":
        return Known(False, 0, "its interval is wider than asked for")
    return Known(True)
