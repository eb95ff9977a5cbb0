"""The loop between prediction and device: propose a network, measure it whole, bend the table, propose again. Pure.

Everything that touches a network or a device is a function that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from compressors.search.lookup import Entry, Spent
from compressors.search.table import Predictor
from pocketzoo.errors import BadInput

TOLERANCE = 0.05
"""Of prediction against measurement, and of measurement against target: the gate of this field."""
ROUNDS = 5

Counts = Mapping[str, int]
Outcome = Literal["reached", "missed", "cannot tell"]


@dataclass(frozen=True)
class Round:
    """A network that was proposed and measured whole. ``sum`` are its layers alone, ``predicted`` was believed then."""

    counts: Counts
    sum: float
    predicted: float
    measured: Entry

    @property
    def off(self) -> float:
        """By how much it was measured above (or below) what was predicted, as a share."""
        return self.measured.value / self.predicted - 1


@dataclass(frozen=True)
class Closed:
    """How the loop ended: the network nearest the target, what was tried, and whether it holds."""

    best: Round
    rounds: tuple[Round, ...]
    outcome: Outcome
    says: str


def check_target(target: float, base: Entry, unit: str) -> None:
    """Refuse a target that needs no pruning or cannot exist, before the table is measured.

    Args:
        target: milliseconds or instructions.
        base: the unpruned network, measured.
        unit: for words.

    Raises:
        BadInput: it is no positive number, or the network is faster already.
    """
    if not 0 < target < float("inf"):
        raise BadInput(f"a target of {target:g} {unit} cannot be reached: it must be above 0")
    if target >= base.value:
        raise BadInput(
            f"the unpruned network takes {base.value:.4g} {unit} already ({base.low:.4g} to {base.high:.4g}); "
            f"the target is {target:.4g}",
            hint=f"a target below {base.value:.4g}, or no pruning",
        )


def check_reachable(target: float, predictor: Predictor, least: Counts, unit: str) -> None:
    """Refuse what no pruning reaches, before any search.

    Args:
        target: milliseconds or instructions.
        predictor: bent by the unpruned network.
        least: the fewest of each group.
        unit: for words.

    Raises:
        BadInput: says what can be reached.
    """
    smallest = predictor(least)
    if target < smallest:
        raise BadInput(
            f"{target:.4g} {unit} cannot be reached: with the fewest channels the search may leave, the network is "
            f"predicted to take {smallest:.4g} {unit} of {predictor():.4g} {unit}",
            hint=f"a target above {smallest:.4g}, or a smaller --lowest",
        )


def close_in(
    propose: Callable[[Predictor, float], Counts],
    measure: Callable[[Counts], Entry],
    predictor: Predictor,
    target: float,
    known: list[tuple[float, float]],
    *,
    unit: str = "ms",
    rounds: int = ROUNDS,
    tolerance: float = TOLERANCE,
    say: Callable[[str], None] = lambda _text: None,
) -> Closed:
    """Go on until a measured network is what was predicted and asked for.

    Args:
        propose: the channels of a network that costs the target by a predictor.
        measure: a network whole.
        predictor: the table.
        target: in the table's unit.
        known: (sum of layers, measured) of networks measured before; those measured here are added.
        unit: for words.
        rounds: networks to measure at most.
        tolerance: share by which a measurement may be off its prediction and the target.
        say: told of each round.

    Returns:
        Also where the target was missed; the outcome says so.

    Raises:
        Spent: the budget had no room for a single network.
    """
    tried: list[Round] = []
    for number in range(rounds):
        now = predictor.bent(known)
        counts = propose(now, target)
        if any(dict(one.counts) == dict(counts) for one in tried):
            say("the corrected table proposes a network that was measured already: there is nothing nearer to try")
            break
        try:
            entry = measure(counts)
        except Spent as spent:
            if not tried:
                raise
            say(f"{spent.what}: the nearest that was measured is what there is")
            break
        total = now.sum(counts)
        found = Round(counts, total, now(counts), entry)
        tried.append(found)
        known.append((total, entry.value))
        say(
            f"round {number + 1}: predicted {found.predicted:.4g} {unit}, measured {entry.value:.4g} "
            f"({entry.low:.4g} to {entry.high:.4g}, {entry.verdict}), {found.off:+.1%}"
        )
        if abs(found.off) <= tolerance and abs(entry.value / target - 1) <= tolerance:
            break
        if number + 1 < rounds:
            say(f"more than {tolerance:.0%} off: the table is corrected, and the search goes on")
    best = min(tried, key=lambda one: (one.measured.doubtful, abs(one.measured.value / target - 1)))
    return Closed(best, tuple(tried), *_judged(best, target, tolerance, unit))


def _judged(best: Round, target: float, tolerance: float, unit: str) -> tuple[Outcome, str]:
    entry = best.measured
    off = entry.value / target - 1
    what = f"{entry.value:.4g} {unit} ({entry.low:.4g} to {entry.high:.4g}), {off:+.1%} of the target"
    if abs(off) > tolerance:
        return "missed", f"{what}: more than {tolerance:.0%}"
    if entry.doubtful:
        return "cannot tell", f"{what}, but the measurement is {entry.verdict}: {entry.reason}"
    return "reached", f"{what}; {entry.verdict}"
