"""Kept channels that meet a budget: what may be kept of each group, what is reachable, and how a rest is given back.

Counts map the name of a group of channels to how many of them are kept. A cost is any function of counts that grows
with each of them: MACs, parameters, or milliseconds out of a look-up table.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pocketzoo.errors import BadInput

Counts = dict[str, int]
Cost = Callable[[Mapping[str, int]], float]

TOLERANCE = 0.01  # of the whole cost: what counts as reached, as in compressors.search.problem


def choices(channels: int, lowest: float, round_to: int) -> tuple[int, ...]:
    """The counts a group may keep, in order: multiples of ``round_to`` from ``lowest`` on, and all channels.

    Args:
        channels: of the whole group.
        lowest: the smallest share that may be kept, in 0..1.
        round_to: 1 keeps any number; 8 is what AMC rounds to. A group with fewer channels than that stays whole.
    """
    least = max(round_to, math.ceil(max(1.0, lowest * channels) / round_to) * round_to)
    return (*range(least, channels, round_to), channels)


@dataclass(frozen=True)
class Budget:
    """What a search must keep to.

    Attributes:
        cost: of counts, in the unit of ``target``.
        target: the cost that is asked for.
        options: of each group that may be pruned, from :func:`choices`.
    """

    cost: Cost
    target: float
    options: Mapping[str, tuple[int, ...]]

    @property
    def full(self) -> Counts:
        """Everything kept."""
        return {group: counts[-1] for group, counts in self.options.items()}

    @property
    def least(self) -> Counts:
        """As little kept as may be."""
        return {group: counts[0] for group, counts in self.options.items()}

    def check(self) -> None:
        """Refuse a target that cannot be met, before anything slow begins.

        Raises:
            BadInput: nothing may be pruned, or the target is below what is reachable or not below the whole cost.
        """
        if not any(len(counts) > 1 for counts in self.options.values()):
            raise BadInput("nothing may be pruned: every group of channels is kept whole", hint="fewer layers in keep")
        whole, least = self.cost(self.full), self.cost(self.least)
        if not 0 < self.target < whole:
            share = self.target / whole
            raise BadInput(
                f"the target leaves {share:.1%} of the whole cost; more than 0 and less than 100 % can be asked for"
            )
        if least > self.target + TOLERANCE * whole:
            raise BadInput(
                f"the target leaves {self.target / whole:.1%} of the whole cost; at least {least / whole:.1%} stay "
                "when every group keeps as little as it may",
                hint=f"a target of at most {100 * (1 - least / whole):.1f} % removed, a smaller lowest share, "
                "or a smaller round_to",
            )

    def reached(self, counts: Mapping[str, int]) -> bool:
        """Whether counts cost what was asked for, within :data:`TOLERANCE` of the whole cost."""
        return abs(self.cost(counts) - self.target) <= TOLERANCE * self.cost(self.full)

    def most(self, group: str, others: Mapping[str, int]) -> int:
        """The largest count of a group that fits the target, all others being as given; its least where none fits."""
        options = self.options[group]

        def over(count: int) -> bool:
            return self.cost({**others, group: count}) > self.target

        fitting = bisect_right(options, False, key=over)
        # A measured table need not grow with every step; what is given must fit, not only seem to.
        while fitting > 1 and over(options[fitting - 1]):
            fitting -= 1
        return options[max(0, fitting - 1)]

    def settle(self, counts: Mapping[str, int]) -> Counts:
        """Counts as near the given ones as they can be that use the budget up and do not exceed it.

        First all groups move together, each by the same share of its way to all (or to least) channels; what is left
        is then given to single groups, the largest that fits first, and where that is not enough by moving a few
        channels from one group to another.

        Raises:
            BadInput: the nearest that was found misses the target by more than :data:`TOLERANCE`.
        """
        start = {group: nearest(options, counts[group]) for group, options in self.options.items()}
        if self.reached(start) and self.cost(start) <= self.target:
            return start
        end = self.least if self.cost(start) > self.target else self.full
        found = self._refined(self._moved(start, end))
        if not self.reached(found):
            found = self._exchanged(found)
        if not self.reached(found):
            raise BadInput(
                f"a target of {self.target:.6g} cannot be met within {TOLERANCE:.0%} of the whole cost: the nearest "
                f"below it costs {self.cost(found):.6g}",
                hint="a smaller round_to, or this target",
            )
        return found

    def _exchanged(self, counts: Counts) -> Counts:
        """The costliest that fits of all where one group moves by up to four steps and another takes what is left."""
        best = (self.cost(counts), counts)
        for group, options in self.options.items():
            place = options.index(counts[group])
            for count in options[max(0, place - 4) : place + 5]:
                for other in self.options:
                    if other != group:
                        made = {**counts, group: count}
                        made[other] = self.most(other, made)
                        cost = self.cost(made)
                        if best[0] < cost <= self.target:
                            best = (cost, made)
        return best[1]

    def _moved(self, start: Counts, end: Counts) -> Counts:
        """The point between start and end, nearest the target, that does not exceed it; least where none."""

        def at(share: float) -> Counts:
            return {
                group: nearest(options, start[group] + share * (end[group] - start[group]))
                for group, options in self.options.items()
            }

        shrinking = self.cost(start) > self.target
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            if (self.cost(at(middle)) > self.target) == shrinking:
                low = middle
            else:
                high = middle
        return at(high if shrinking else low)

    def _refined(self, counts: Counts) -> Counts:
        """Single steps up, the most expensive that fits first, until none fits."""
        counts = dict(counts)
        while True:
            cost = self.cost(counts)
            steps = []
            for group, options in self.options.items():
                place = options.index(counts[group]) + 1
                if place < len(options):
                    more = self.cost({**counts, group: options[place]})
                    if cost < more <= self.target:
                        steps.append((more, group, options[place]))
            if not steps:
                return counts
            _, group, count = max(steps)
            counts[group] = count


def nearest(options: tuple[int, ...], wanted: float) -> int:
    """The option nearest a number; of two as near, the larger."""
    return min(options, key=lambda option: (abs(option - wanted), -option))
