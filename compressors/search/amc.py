"""AMC (He et al., 2018, arXiv:1802.03494): its states, its rewards, and what an action means.

The agent walks over all convolutions and the linear layer (depthwise ones belong to what reads them) and chooses the
share of input channels to keep, 0.2 to 1, rounded up to a multiple of 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from compressors.search.course import Course, Features, penalty, scaled_min_max

LOWEST = 0.2  # share of a group that may be kept at least
ROUND_TO = 8


@dataclass(frozen=True)
class AmcEnvironment:
    """See the module.

    Attributes:
        course: layers and budget.
        reward_by: ``accuracy``, or ``accuracy-and-cost``: -(1 - accuracy) * log(cost), for a search for the best
            trade instead of a budget.
    """

    course: Course
    reward_by: Literal["accuracy", "accuracy-and-cost"] = "accuracy"

    features = 10

    @cached_property
    def _layers(self) -> Features:
        return scaled_min_max(
            [
                [number, layer.kind == "linear", layer.inputs, layer.outputs, layer.stride, layer.kernel, layer.weights]
                for number, layer in enumerate(self.course.layers)
            ]
        )

    @cached_property
    def _rest(self) -> tuple[float, ...]:
        """What the layers after each cost when nothing is pruned, as a share of the whole."""
        costs = [layer.cost for layer in self.course.layers]
        return tuple(sum(costs[number + 1 :]) / self.course.full_cost for number in range(len(costs)))

    def state(self, number: int, decided: Mapping[str, int], previous: float) -> Features:
        """(10,): index, type, inputs, outputs, stride, kernel, weights (0..1 over the layers); reduced, rest, action.

        Args:
            number: of the layer.
            decided: counts so far; "reduced" is what they save of the whole cost.
            previous: the share kept at the layer before, 1 at the first.
        """
        reduced = 1 - self.course.cost(decided) / self.course.full_cost
        return np.concatenate([self._layers[number], [reduced, self._rest[number], previous]]).astype(np.float32)

    def reward(self, accuracy: float, cost: float) -> float:
        """Of a whole roll-out.

        Args:
            accuracy: top-1 in 0..1 without fine-tuning.
            cost: in the budget's unit.
        """
        return accuracy if self.reward_by == "accuracy" else penalty(1 - accuracy, cost)
