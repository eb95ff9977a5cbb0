"""How a network of a given cost is proposed: one width for all, sensitivity curves, or AMC's agent.

All of them ask the same two questions, what a network costs by the table and how accurate it is before any training, so
a table that was corrected changes only what they are told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.search.budget import Budget, nearest
from compressors.search.candidates import Candidates, budget_of, course_of
from compressors.search.evaluations import Remembered
from compressors.search.table import Predictor
from pocketzoo.files import sha256_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from compressors.judging import HeldOut
    from compressors.search.subject import Subject

WIDTHS = 512
REACHED = 0.03
"""Of the target: multiples of 8 of a small network come no nearer, and the measurement decides in the end."""

Propose = Callable[[Predictor, float], dict[str, int]]


@dataclass(frozen=True)
class _Loose(Budget):
    """A budget in steps as coarse as multiples of 8 are."""

    def reached(self, counts: Mapping[str, int]) -> bool:
        """Within :data:`REACHED`."""
        return abs(self.cost(counts) - self.target) <= REACHED * self.target


@dataclass(frozen=True)
class Settings:
    """Of the proposals: smallest share kept, multiples, roll-outs, judging images, batches to rebuild from, seed."""

    lowest: float = 0.2
    round_to: int = 8
    episodes: int | None = None
    images: int | None = None
    batches: int | None = None
    seed: int = 0


def least_of(subject: Subject, settings: Settings) -> dict[str, int]:
    """The fewest channels of each group that any proposal has; groups that cannot be pruned are whole."""
    options = _options(subject, settings)
    return {**subject.full, **{name: counts[0] for name, counts in options.items()}}


def uniform(subject: Subject, settings: Settings) -> Propose:
    """The width, the same share of every group, whose network costs what is nearest to the target."""
    options = _options(subject, settings)

    def at(share: float) -> dict[str, int]:
        return {name: nearest(counts, share * counts[-1]) for name, counts in options.items()}

    def propose(cost: Predictor, target: float) -> dict[str, int]:
        tried = [at(n / WIDTHS) for n in range(1, WIDTHS + 1)]
        return min(tried, key=lambda counts: abs(cost(counts) - target))

    return propose


def by_curves(subject: Subject, evaluate: HeldOut, folder: Path, settings: Settings) -> Propose:
    """Sensitivity curves, measured once; the solver meets the target by the table as it is now."""
    from compressors.search import sensitivity

    def accuracy(counts: Mapping[str, int]) -> float:
        return evaluate(subject.pruned(counts), settings.images) / 100

    found = sensitivity.measure(
        subject.structure.full(),
        accuracy,
        folder,
        subject.stages.progress,
        identity=f"{subject.identity}, l1, {settings.images} images",
        multiples={group.name: group.multiple for group in subject.structure.prunable},
    )

    def propose(cost: Predictor, target: float) -> dict[str, int]:
        return sensitivity.solve(found, _budget(subject, settings, cost, target), "interpolated")

    return propose


def amc(subject: Subject, evaluate: HeldOut, folder: Path, settings: Settings) -> Propose:
    """AMC's search, its budget in the table's unit. A corrected table is searched anew; candidates judged before are
    known."""
    from compressors.search.amc import AmcEnvironment
    from compressors.search.ddpg import AMC
    from compressors.search.rollouts import search
    from compressors.steps.prune.reconstruct import BATCHES

    made: list[Candidates] = []

    def candidates() -> Candidates:
        if not made:
            made.append(Candidates(subject.model, subject.structure, "magnitude", _inputs(), settings.seed))
        return made[0]

    def _inputs() -> Iterator[Tensor]:
        from compressors.judging import training_batches

        count = settings.batches or BATCHES["magnitude"]
        return (images for images, _ in training_batches(subject.stages, 50, count))

    def judged(counts: Mapping[str, int]) -> float:
        return evaluate(candidates().of(counts), settings.images) / 100

    judged_by = f"{settings.images} images, {settings.batches} batches, seed {settings.seed}"
    identity = f"{subject.identity}, amc, {judged_by}"
    accuracy = Remembered(judged, folder / "candidates.jsonl", identity)

    def propose(cost: Predictor, target: float) -> dict[str, int]:
        budget = _budget(subject, settings, cost, target)
        # The agent is another one for another table; what candidates are worth is not.
        told = json.dumps([target, cost.bend.knots, cost.sum()])
        own = folder / sha256_bytes(told.encode())[:16]
        scale = cost() / max(cost.sum(), 1e-12)
        shares: dict[str, float] = {}
        for part, each in zip(cost.parts, cost.layers(), strict=True):
            if part.layer is not None:
                shares[part.layer] = shares.get(part.layer, 0.0) + each * scale
        course = course_of(subject.structure, budget, shares, lowest=settings.lowest, round_up=True, last_whole=False)
        found = search(
            AmcEnvironment(course, "accuracy"),
            AMC,
            accuracy,
            own,
            subject.stages.progress,
            seed=settings.seed,
            identity=identity,
            episodes=settings.episodes,
        )
        return _Loose(budget.cost, budget.target, budget.options).settle(found.best.counts)

    return propose


def _options(subject: Subject, settings: Settings) -> dict[str, tuple[int, ...]]:
    return dict(
        budget_of(
            subject.structure, lambda _counts: 1.0, 1.0, lowest=settings.lowest, round_to=settings.round_to
        ).options
    )


def _budget(subject: Subject, settings: Settings, cost: Predictor, target: float) -> _Loose:
    return _Loose(cost, target, _options(subject, settings))
