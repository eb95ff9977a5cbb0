"""One ratio for every group, bisected to the target; and counts that are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compressors.search.problem import Problem, Solution, unreachable
from compressors.steps.prune.criteria import kept_of
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

HALVINGS = 40
LASSO_BATCH, LASSO_BATCHES = 50, 30  # PocketFlow looks at 30 batches


def uniform(problem: Problem) -> Solution:
    """Every group loses the same share of its channels (PaddleSlim's uniform pruning, PocketFlow's uniform ratios).

    The share is bisected; rounding to whole channels makes the cost a staircase. Between its last two steps the groups
    go down one after another, in the order of execution, and the nearest of these is taken. With criterion ``lasso``
    channels are chosen by LASSO, layer after layer, and what reads them is rebuilt by least squares (PocketFlow's
    ChannelPrunedLearner).

    Raises:
        WorkFailed: no ratio comes within 1 % of the target; what is reachable is said.
    """
    target, structure = problem.target, problem.structure
    low, high = 0.0, 1 - 1e-9
    smallest = at_ratio(problem, high)
    if target.cost(structure, smallest) > target.limit and not target.held(structure, smallest):
        raise unreachable(problem, smallest)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if target.cost(structure, at_ratio(problem, middle)) > target.limit:
            low = middle
        else:
            high = middle
    nearest = min(_between(problem, low, high), key=lambda kept: abs(target.off(structure, kept)))
    if not target.held(structure, nearest):
        raise unreachable(problem, smallest, nearest)
    notes = (f"uniform: {100 * (low + high) / 2:.2f} % of the channels of every group removed",)
    if problem.criterion != "lasso":
        return Solution(nearest, notes=notes)
    from compressors.search.candidates import prune_in_turn

    def inputs() -> list[Tensor]:
        return [images for images, _ in problem.batches(LASSO_BATCH, LASSO_BATCHES)]

    network, removed = prune_in_turn(problem.model, structure, nearest, inputs, problem.seed)
    return Solution(nearest, network=network, removed=removed, notes=notes)


def _between(problem: Problem, low: float, high: float) -> Iterator[dict[str, int]]:
    """The counts at one share, then with one group after another as at a higher one."""
    kept, goal = at_ratio(problem, low), at_ratio(problem, high)
    yield dict(kept)
    for name, number in goal.items():
        if kept[name] != number:
            kept[name] = number
            yield dict(kept)


def at_ratio(problem: Problem, ratio: float) -> dict[str, int]:
    """What every prunable group keeps when it loses this share."""
    return {
        group.name: kept_of(group.channels, ratio, problem.round_to, group.multiple)
        for group in problem.structure.prunable
    }


def given(problem: Problem) -> Solution:
    """The counts that the recipe lists.

    Raises:
        BadInput: no such group, or counts that it cannot have.
    """
    counts: Mapping[str, int] = problem.options.channels
    if not counts:
        raise BadInput("protocol channels needs `channels`: group name -> how many stay")
    problem.structure.check(counts)
    return Solution(dict(counts))
