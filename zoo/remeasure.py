"""Does a published latency come out again? What is measured again, and what the two numbers say. Deciding is pure.

Who measures is found by the entry point group ``pocketzoo.remeasure``: the zoo knows numbers, and another room knows
how they are made.

A figure is reproduced where the 95% intervals of both medians overlap, or where the 95% interval of their ratio lies
within the tolerance. It is slower or faster where the interval of the ratio excludes 1 and the ratio is beyond the
tolerance. Anything else cannot be told, and neither can a measurement that is not valid: then it did not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pocketzoo.errors import BadInput
from zoo.comparison import compared, compared_counts
from zoo.diff import way_of
from zoo.measurement import Measurement
from zoo.store import Entry, Store

GROUP = "pocketzoo.remeasure"
TOLERANCE = 0.05

Outcome = Literal["reproduced", "slower", "faster", "cannot tell", "failed"]


@dataclass(frozen=True)
class Again:
    """A published measurement and the one made now in the same way; None where it could not be made, and why."""

    published: Measurement
    measured: Measurement | None
    why: str = ""


class Remeasure(Protocol):
    """What an entry point of the group is."""

    def __call__(
        self, published: Sequence[Measurement], *, store: Store, device: str, inventory: Path | None
    ) -> list[Again]:
        """Measure again, each with its own protocol, threads, ABI, affinity and settings, whatever is known already.

        Args:
            published: of one entry of the store, all on one device.
            store: holds the entry.
            device: where to measure; a name of the inventory.
            inventory: a file with further devices.

        Returns:
            One for each of ``published``, in order.

        Raises:
            DeviceUnavailable: the device cannot be used now.
            Interrupted: Ctrl-C.
        """
        ...


@dataclass(frozen=True)
class Reproduction:
    """The answer for one cell. ``ratio`` is now over published, with its 95% interval; None where there is none."""

    again: Again
    outcome: Outcome
    says: str
    ratio: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the published figure came out again."""
        return self.outcome == "reproduced"


def figures_to_check(
    entry: Entry, device: str, *, threads: Iterable[int] = (), abis: Iterable[str] = ()
) -> list[Measurement]:
    """The published figures of an entry that can be held: of each way of measuring, the newest that is valid.

    Latencies from hardware, and counts of instructions. The machine under a name may have changed since: of several
    systems the newest counts.

    Raises:
        BadInput: there is none; says what there is.
    """
    counts, names = set(threads), set(abis)
    named = [m for m in entry.measurements if m.device.name == device]
    fitting = [m for m in named if _can_be_held(m)]
    wanted = [m for m in fitting if (not counts or m.threads_requested in counts) and (not names or m.abi in names)]
    newest = {way_of(m)[:-1]: m for m in sorted(wanted, key=lambda m: m.time)}
    if newest:
        return [newest[way] for way in sorted(newest)]
    if fitting:
        had = sorted({f"{m.abi} with {m.threads_requested}" for m in fitting})
        what = f"{entry.artifact.name} was not measured like that on {device}; it was as {', '.join(had)} threads"
    elif named:
        had = sorted({f"{m.provenance}, {m.verdict.name}" for m in named})
        what = f"nothing measured of {entry.artifact.name} on {device} can be held to ({'; '.join(had)})"
    else:
        devices = sorted({m.device.name for m in entry.measurements})
        what = f"{entry.artifact.name} has no measurement on {device}; it has on: {', '.join(devices) or 'none'}"
    raise BadInput(what, hint=f"harness run --device {device} --model {entry.artifact.name} --publish")


def reproduce(
    entry: Entry,
    device: str,
    *,
    store: Store,
    threads: Iterable[int] = (),
    abis: Iterable[str] = (),
    tolerance: float = TOLERANCE,
    inventory: Path | None = None,
) -> list[Reproduction]:
    """Measure an entry's published figures on a device again, and say which came out.

    Raises:
        BadInput: nothing that can be held was published there, or nobody here can measure.
        DeviceUnavailable: the device cannot be used now.
    """
    published = figures_to_check(entry, device, threads=threads, abis=abis)
    made = find_remeasure()(published, store=store, device=device, inventory=inventory)
    return [judge(each, tolerance=tolerance) for each in made]


def _can_be_held(m: Measurement) -> bool:
    if m.metric == "instructions":
        return m.instructions is not None
    return m.provenance == "hardware" and m.verdict.name == "valid" and m.summary is not None


def judge(again: Again, *, tolerance: float = TOLERANCE) -> Reproduction:
    """What the two numbers say."""
    old, new = again.published, again.measured
    if new is None:
        return Reproduction(again, "failed", f"it could not be measured: {again.why}")
    notes = tuple(_notes(old, new))
    if new.verdict.name == "failed":
        return Reproduction(again, "failed", f"measuring failed: {new.error or new.verdict.reason}", notes=notes)
    if old.metric == "instructions":
        return _counts(again, new, notes)
    if new.summary is None or old.summary is None:
        return Reproduction(again, "failed", "it has no figures", notes=notes)
    if new.verdict.name != "valid":
        says = f"the new measurement is {new.verdict.name}, not valid: {new.verdict.reason or 'no reason is given'}"
        return Reproduction(again, "cannot tell", says, notes=notes)
    c = compared(old, new)
    ratio = (c.ratio, c.low, c.high)
    times = f"{c.ratio:.3f} times as long (95% interval {c.low:.3f} to {c.high:.3f})"
    (old_low, old_high), (new_low, new_high) = old.summary.ci95_ms, new.summary.ci95_ms
    if old_low <= new_high and new_low <= old_high:
        return Reproduction(again, "reproduced", f"{times}; the intervals overlap", ratio, notes)
    if 1 - tolerance <= c.low and c.high <= 1 + tolerance:
        return Reproduction(again, "reproduced", f"{times}, within {tolerance:.0%}", ratio, notes)
    if c.low > 1 and c.ratio > 1 + tolerance:
        return Reproduction(again, "slower", f"{times}, beyond {tolerance:.0%}", ratio, notes)
    if c.high < 1 and c.ratio < 1 - tolerance:
        return Reproduction(again, "faster", f"{times}, beyond {tolerance:.0%}", ratio, notes)
    says = f"{times}: neither within {tolerance:.0%} nor clearly beyond; measure with more repeats"
    return Reproduction(again, "cannot tell", says, ratio, notes)


def _counts(again: Again, new: Measurement, notes: tuple[str, ...]) -> Reproduction:
    if new.instructions is None:
        return Reproduction(again, "failed", "it has no count", notes=notes)
    c = compared_counts(again.published, new)
    outcome: Outcome = "reproduced" if c.outcome == "no difference" else "slower" if c.ratio > 1 else "faster"
    return Reproduction(again, outcome, c.says, (c.ratio, c.low, c.high), notes)


def _notes(old: Measurement, new: Measurement) -> Iterable[str]:
    """What is not the same as then; it may be why."""
    if old.device.fingerprint != new.device.fingerprint:
        changed = [
            f"{field} {getattr(old.device, field)} then, {getattr(new.device, field)} now"
            for field in ("soc", "model", "os_build", "kernel", "cores")
            if getattr(old.device, field) != getattr(new.device, field)
        ]
        yield f"another system bears the name now: {'; '.join(changed) or 'its fingerprint differs'}"
    if old.runner.binary_sha256 != new.runner.binary_sha256:
        yield (
            f"another build of the runner: {old.runner.name} {old.runner.version} then, "
            f"{new.runner.name} {new.runner.version} now"
        )


def find_remeasure() -> Callable[..., list[Again]]:
    """Who can measure here.

    Raises:
        BadInput: nobody is installed.
    """
    from importlib.metadata import entry_points

    for found in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        loaded: Callable[..., list[Again]] = found.load()
        return loaded
    raise BadInput("nothing that can measure is installed", hint="pip install --force-reinstall pocketzoo")
