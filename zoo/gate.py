"""May this entry take the place of that one? Latency and accuracy held against limits, cell by cell. Pure.

A latency breaks the gate where it is significantly longer by more than the limit (:func:`zoo.comparison.breaks`);
only valid cells from hardware that were measured alike can. A device that the base was measured on and this entry was
not is told, and refused where it is required. A gate that nothing could be held against does not hold: a model that
nobody measured is no proof of speed. An accuracy breaks the gate where its value is lower by more than the limit,
significant or not, or where it was not measured on the same data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pocketzoo.errors import BadInput
from zoo.artifact import AGREEMENT
from zoo.comparison import breaks, gate_refusals
from zoo.diff import LatencyChange, accuracy_change, latencies
from zoo.measurement import Measurement
from zoo.store import Entry
from zoo.timings import threads_text

_PERCENT = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,6})?)\s*%")


@dataclass(frozen=True)
class Gate:
    """What an entry must not do against the one it replaces.

    Args:
        max_regression: share by which a latency may be longer; 0.05 is 5%. None: not asked.
        max_accuracy_drop: points by which an accuracy may be lower. None: not asked.
        devices: that must have been compared.
    """

    max_regression: float | None = None
    max_accuracy_drop: float | None = None
    devices: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether there is anything to hold."""
        return self.max_regression is not None or self.max_accuracy_drop is not None or bool(self.devices)


@dataclass(frozen=True)
class Held:
    """What came of it, in words: what broke the gate, what holds, and what was left out and why."""

    broken: tuple[str, ...]
    holds: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the entry may be published."""
        return not self.broken


def parse_percent(text: str, option: str) -> float:
    """``5%`` as 0.05; 0% is no slack at all.

    Raises:
        BadInput: not a percentage.
    """
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{option} takes a percentage, not {text!r}", hint=f"for example {option} 5%")
    return float(match[1]) / 100


def hold(gate: Gate, new: Entry, base: Entry) -> Held:
    """Hold an entry against the one it replaces, or was made from."""
    broken: list[str] = []
    holds: list[str] = []
    left_out: list[str] = []
    if gate.max_regression is not None or gate.devices:
        _latency(gate, new, base, broken, holds, left_out)
    if gate.max_accuracy_drop is not None:
        _accuracy(gate.max_accuracy_drop, new, base, broken, holds, left_out)
    return Held(tuple(broken), tuple(holds), tuple(left_out))


def _latency(gate: Gate, new: Entry, base: Entry, broken: list[str], holds: list[str], left_out: list[str]) -> None:
    changes, _ = latencies(base.measurements, new.measurements)
    limit = gate.max_regression if gate.max_regression is not None else 0.0
    compared: set[str] = set()
    for change in changes:
        comparison = change.comparison
        doubts = gate_refusals(comparison)
        if doubts:
            left_out += doubts
            continue
        compared.add(comparison.second.device.name)
        if gate.max_regression is None:
            continue
        if breaks(comparison, limit):
            broken.append(f"{_cell(change)}: {comparison.ratio - 1:+.1%}, more than {limit:.1%}; {comparison.says}")
        else:
            holds.append(f"{_cell(change)}: {comparison.ratio - 1:+.1%}, {comparison.outcome}")
    for device in gate.devices:
        if device not in compared:
            broken.append(f"{device}: nothing was measured alike and valid on both, and it is required")
    before = _valid_devices(base.measurements)
    for device in sorted(before - compared - set(gate.devices)):
        left_out.append(f"{device}: the base was measured there, this entry was not in the same way")
    if gate.max_regression is not None and not compared and before:
        broken.append("no latency of both was measured alike and valid, so nothing says that it is not slower")


def _cell(change: LatencyChange) -> str:
    m = change.comparison.second
    pinned = f", CPUs {m.affinity}" if m.affinity else ""
    what = "" if m.metric == "latency" else f", {m.metric}"
    return f"{m.device.name}, {m.abi}, {threads_text(m.threads_requested)}{pinned}{what}"


def _valid_devices(measurements: Sequence[Measurement]) -> set[str]:
    return {
        m.device.name
        for m in measurements
        if m.metric == "latency" and m.provenance == "hardware" and m.verdict.name == "valid"
    }


def _accuracy(limit: float, new: Entry, base: Entry, broken: list[str], holds: list[str], left_out: list[str]) -> None:
    for a in base.artifact.accuracy:
        name = f"{a.metric} on {a.dataset}/{a.split}"
        if a.metric == AGREEMENT:
            continue
        if a.provenance != "measured" or a.measured_on != base.artifact.digest:
            left_out.append(f"{name}: the base's was not measured on its own file")
            continue
        same = [
            b
            for b in new.artifact.accuracy
            if (b.metric, b.dataset, b.split) == (a.metric, a.dataset, a.split)
            and b.provenance == "measured"
            and b.measured_on == new.artifact.digest
        ]
        if not same:
            broken.append(f"{name}: {a.value:.2f} before, and not measured on this file")
            continue
        b = max(same, key=lambda one: one.samples)
        change = accuracy_change(a.metric, f"{a.dataset}/{a.split}", a, b)
        text = f"{name}: {a.value:.2f} to {b.value:.2f} ({b.value - a.value:+.2f} points; {change.says})"
        # A hundredth of a millionth of a point is rounding, not accuracy.
        (broken if a.value - b.value > limit + 1e-8 else holds).append(text)
