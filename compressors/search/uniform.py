"""One ratio for every group, bisected to the target; and counts that are given."""

from __future__ import annotations

from collections.abc import Mapping

from compressors.search.problem import Problem, Solution, unreachable
from compressors.steps.prune.criteria import kept_of
from pocketzoo.errors import BadInput

HALVINGS = 40


def uniform(problem: Problem) -> Solution:
    """Every group loses the same share of its channels (PaddleSlim's uniform pruning, PocketFlow's uniform ratios).

    The share is bisected; rounding to whole channels makes the cost a staircase, so of the last two steps the nearer
    is taken.

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
    nearest = min(
        (at_ratio(problem, ratio) for ratio in (high, low)), key=lambda kept: abs(target.off(structure, kept))
    )
    if not target.held(structure, nearest):
        raise unreachable(problem, smallest, nearest)
    share = 100 * (low + high) / 2
    return Solution(nearest, notes=(f"uniform: {share:.2f} % of the channels of every group removed",))


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
