"""A network as a search walks through it: layer by layer, deciding how much of each layer's input is kept.

A layer reads a group of channels; what keeps of the group is decided at the first layer that reads it, and holds for
all the others (residual additions share one group). Depthwise layers and batch norm follow the group whose channels
they have. Nothing here runs a network: costs come from a function of counts, so MACs and measured milliseconds do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compressors.search.budget import Budget, Counts, nearest


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer that is no depthwise one.

    Attributes:
        name: of the module.
        kind: what it is.
        group: whose channels it reads; None where nothing of its input may be pruned (the image, a kept layer).
        inputs, outputs: channels.
        height, width: of its input.
        stride, kernel: along one side; 0 and 1 for a linear layer, as AMC has it.
        weights: elements of its weight.
        cost: its share of the whole network's cost, depthwise layers in front of it included, in the cost's unit.
    """

    name: str
    kind: Literal["conv", "linear"]
    group: str | None
    inputs: int
    outputs: int
    height: int
    width: int
    stride: int
    kernel: int
    weights: int
    cost: float


@dataclass(frozen=True)
class Course:
    """The layers in the order of execution, and the budget.

    Attributes:
        layers: those that read something.
        budget: cost, target and what may be kept of each group.
        round_up: an action is rounded up to the next count that may be kept (AMC), or to the nearest (PocketFlow).
        lowest: the smallest action: the share of its input that a layer keeps at least.
        whole: groups that stay whole whatever the budget allows.
    """

    layers: tuple[Layer, ...]
    budget: Budget
    round_up: bool
    lowest: float = 0.0
    whole: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        known = {layer.group for layer in self.layers}
        unread = [group for group, options in self.budget.options.items() if len(options) > 1 and group not in known]
        if unread or not self.layers:
            raise ValueError(f"groups that no layer reads: {', '.join(unread)}" if unread else "no layers")

    @cached_property
    def bounded(self) -> Budget:
        """The budget with the groups that stay whole as they are."""
        options = {
            group: counts[-1:] if group in self.whole else counts for group, counts in self.budget.options.items()
        }
        return Budget(self.budget.cost, self.budget.target, options)

    @cached_property
    def full_cost(self) -> float:
        """Of the unpruned network."""
        return self.budget.cost(self.budget.full)

    @cached_property
    def least(self) -> Counts:
        """As little of each group as may be kept."""
        return self.bounded.least

    def carried_out(self, number: int, decided: Mapping[str, int], action: float) -> tuple[Counts, float]:
        """What an action comes to: the counts decided after it, and the share of the layer's input that is kept.

        The budget clips it: counted with what was decided before and the least of all that is undecided, the largest
        count that still meets the target.

        Args:
            number: of the layer.
            decided: counts of the groups that earlier layers read.
            action: share of the input to keep.
        """
        layer = self.layers[number]
        if layer.group is None:
            return dict(decided), 1.0
        if layer.group in decided:
            return dict(decided), decided[layer.group] / self.budget.options[layer.group][-1]
        options = self.bounded.options[layer.group]
        exact = max(1, round(min(max(action, 0.0), 1.0) * options[-1])) if self.round_up else action * options[-1]
        wanted = next(count for count in options if count >= exact) if self.round_up else nearest(options, exact)
        count = min(wanted, self.bounded.most(layer.group, {**self.least, **decided}))
        return {**decided, layer.group: count}, count / options[-1]

    def cost(self, decided: Mapping[str, int]) -> float:
        """The cost with what is decided, and everything else whole."""
        return self.budget.cost({**self.budget.full, **decided})


Features = NDArray[np.float32]


def scaled_min_max(columns: Sequence[Sequence[float]]) -> Features:
    """(rows, columns), each column moved to 0..1; a column of one value stays as it is."""
    table = np.asarray(columns, np.float64)
    low, high = table.min(0), table.max(0)
    span = np.where(high > low, high - low, 1.0)
    return np.where(high > low, (table - low) / span, table).astype(np.float32)


def scaled_max(columns: Sequence[Sequence[float]]) -> Features:
    """(rows, columns), each column divided by its largest value; a column of zeros stays."""
    table = np.asarray(columns, np.float64)
    high = table.max(0)
    return (table / np.where(high > 0, high, 1.0)).astype(np.float32)


def penalty(error: float, cost: float) -> float:
    """-error * log(cost): the rewards that ask for accuracy and cost at once.

    Raises:
        ValueError: a cost of 1 or less, whose logarithm would reward errors.
    """
    if cost <= 1:
        raise ValueError(f"a cost of {cost:g} in a reward by its logarithm; use a smaller unit")
    return -error * math.log(cost)
