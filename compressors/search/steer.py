"""A search steered by a device: table, proposals, networks measured whole, and what came of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from compressors.search.by_latency import ROUNDS, Closed, check_reachable, check_target, close_in
from compressors.search.lookup import Budget, Entry, Lookup
from compressors.search.proposals import Propose, Settings, amc, by_curves, least_of, uniform
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_bytes, sha256_json
from pocketzoo.home import home
from zoo.meter import Meter

if TYPE_CHECKING:
    from compressors.judging import HeldOut
    from compressors.search.subject import Subject

Protocol = Literal["uniform", "sensitivity", "amc"]


@dataclass(frozen=True)
class Asked:
    """What a search is for.

    Args:
        protocol: how networks are proposed.
        target: milliseconds, or instructions; None where ``share`` says it.
        share: of the unpruned network's own cost, above 0 and below 1.
        settings: of the proposals.
        most: measurements at most.
        rounds: networks measured at most, for the search and for the uniform network each.
    """

    protocol: Protocol
    target: float | None
    share: float | None
    settings: Settings
    most: int
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Candidate:
    """A network that came out: how the loop ended, and its top-1 on the held-out split before any training."""

    closed: Closed
    accuracy: tuple[float, float, float] | None


@dataclass(frozen=True)
class Steered:
    """What came of a search. ``uniform`` is the network of one width at the same target, for comparison."""

    target: float
    unit: str
    base: Entry
    sum: float
    base_accuracy: tuple[float, float, float] | None
    found: Candidate
    uniform: Candidate | None
    spent: int
    others: Mapping[str, int]
    doubtful: int
    table: Path


def steer(subject: Subject, meter: Meter, asked: Asked, say: Callable[[str], None]) -> Steered:
    """Search for a network of a measured cost.

    Raises:
        BadInput: a target that cannot be reached, a budget that is too small, a device that is not known.
        DeviceUnavailable: it was lost; the table is kept, the same command goes on.
        WorkFailed: a layer or a network cannot be measured there.
    """
    if asked.target is not None and not 0 < asked.target < float("inf"):
        raise BadInput(f"a target of {asked.target:g} cannot be reached: it must be above 0")
    if asked.share is not None and not 0 < asked.share < 1:
        raise BadInput(
            f"a target of {asked.share:.3g} of the network's own time: it must be above 0 % and below 100 %",
            hint="--target 50%",
        )
    identity = meter.identify()
    unit = "ms" if identity.metric == "latency" else "instructions"
    lookup = Lookup(meter, identity, Budget(asked.most), say)
    loops = 1 if asked.protocol == "uniform" else 2
    least = least_of(subject, asked.settings)
    base = lookup.network(_what(subject, subject.full), subject.name, lambda: subject.file)
    target = asked.target if asked.target is not None else base.value * (asked.share or 1)
    # Before hundreds of layers: what can be said of the target already.
    check_target(target, base, unit)
    predictor = lookup.cover(
        subject.parts.parts, least, subject.full, reserve=loops * (asked.rounds + 1), round_to=asked.settings.round_to
    )
    known = [(predictor.sum(), base.value)]
    say(
        f"{subject.name}: layers come to {known[0][0]:.4g} {unit}, the whole was measured at {base.value:.4g} "
        f"({base.low:.4g} to {base.high:.4g}, {base.verdict})"
    )
    check_reachable(target, predictor.bent(known), least, unit)
    evaluate = _evaluation(subject)

    with tempfile.TemporaryDirectory(prefix="pocketzoo-search-") as folder:

        def measure(counts: Mapping[str, int]) -> Entry:
            name = f"{subject.name}-{sha256_json(dict(counts))[:10]}"
            return lookup.network(_what(subject, counts), name, lambda: subject.export(counts, Path(folder)))

        def closed(propose: Propose) -> Candidate:
            ended = close_in(propose, measure, predictor, target, known, unit=unit, rounds=asked.rounds, say=say)
            return Candidate(ended, _top1(subject, ended.best.counts, evaluate))

        own = home() / "latency" / "searches" / subject.identity[:24]
        say(f"uniform network of {target:.4g} {unit}")
        even = closed(uniform(subject, asked.settings))
        found = even
        if asked.protocol != "uniform":
            if evaluate is None:
                raise BadInput(
                    f"protocol {asked.protocol} judges networks on held-out images, and {subject.name} has none",
                    hint="--set data.training.folder=FOLDER, or --protocol uniform",
                )
            make = {"sensitivity": by_curves, "amc": amc}[asked.protocol]
            said = json.dumps([asked.protocol, msgspec.to_builtins(asked.settings)])
            say(f"{asked.protocol}: searching for {target:.4g} {unit}")
            found = closed(make(subject, evaluate, own / sha256_bytes(said.encode())[:12], asked.settings))
    doubtful = sum(entry.doubtful for entry in lookup.kept.layers.values())
    return Steered(
        target=target,
        unit=unit,
        base=base,
        sum=known[0][0],
        base_accuracy=_top1(subject, subject.full, evaluate),
        found=found,
        uniform=None if found is even else even,
        spent=lookup.budget.spent,
        others=subject.parts.others,
        doubtful=doubtful,
        table=lookup.path,
    )


def _what(subject: Subject, counts: Mapping[str, int]) -> str:
    """All that decides a network that is measured whole."""
    return json.dumps([subject.identity, dict(sorted({**subject.full, **counts}.items()))])


def _evaluation(subject: Subject) -> HeldOut | None:
    from compressors.judging import HeldOut as Judge

    return Judge(subject.stages) if subject.stages.inputs.held_out is not None else None


def _top1(subject: Subject, counts: Mapping[str, int], evaluate: HeldOut | None) -> tuple[float, float, float] | None:
    """Top-1 in percent on the held-out split with its 95% interval, channels by L1, before any training."""
    from zoo.proportions import wilson

    held_out = subject.stages.inputs.held_out
    if evaluate is None or held_out is None:
        return None
    top1 = evaluate(subject.pruned(counts))
    number = len(held_out.labels)
    low, high = wilson(round(top1 * number / 100), number)
    return top1, 100 * low, 100 * high
