"""PocketFlow's ChannelPrunedLearner with an agent: its states, its rewards, and what an action means.

Source: github.com/Tencent/PocketFlow, learners/channel_pruning. The agent chooses the share of input channels that
each layer keeps; the first and the last layer's stay whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from compressors.search.course import Course, Features, penalty, scaled_max

LOWEST = 0.1  # share of a group that may be kept at least; ours: the authors count undecided layers at a bound, too
ERROR_FLOOR = 0.15


@dataclass(frozen=True)
class PocketFlowEnvironment:
    """See the module.

    Attributes:
        course: layers and budget; the group that the last layer reads is to be among ``course.whole``.
        reward_by: ``accuracy``, or ``accuracy-and-cost``: -max(0.15, 1 - accuracy) * log(cost).
    """

    course: Course
    reward_by: Literal["accuracy", "accuracy-and-cost"] = "accuracy"

    features = 8

    @cached_property
    def _layers(self) -> Features:
        course = self.course
        whole = course.budget.full

        def reducible(group: str | None) -> float:
            """What is saved when this layer's input alone is cut to its least."""
            return (
                0.0 if group is None else course.full_cost - course.budget.cost({**whole, group: course.least[group]})
            )

        return scaled_max(
            [
                [number, layer.outputs, layer.inputs, layer.height, layer.width, layer.stride, reducible(layer.group),
                 layer.cost]
                for number, layer in enumerate(course.layers)
            ]
        )  # fmt: skip

    def state(self, number: int, decided: Mapping[str, int], previous: float) -> Features:  # noqa: ARG002
        """(8,): index, outputs, inputs, height, width, stride, reducible cost, cost, each divided by its column's max.

        Args:
            number: of the layer.
            decided: not part of the state here.
            previous: neither.
        """
        features: Features = self._layers[number]
        return features

    def reward(self, accuracy: float, cost: float) -> float:
        """Of a whole roll-out.

        Args:
            accuracy: top-1 in 0..1 without fine-tuning.
            cost: in the budget's unit.
        """
        return accuracy if self.reward_by == "accuracy" else penalty(max(ERROR_FLOOR, 1 - accuracy), cost)
