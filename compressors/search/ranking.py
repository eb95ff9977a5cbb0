"""Ranking the channels of all groups together: at once, and in rounds with training between."""

from __future__ import annotations

from compressors.search.problem import Problem, Solution, Target
from compressors.steps.prune.criteria import Scorer, choose_until
from compressors.steps.prune.structure import remove, trace


def one_shot(problem: Problem) -> Solution:
    """Torch-Pruning's global pruning: the least important channels of the network go, whatever group they are in.

    Raises:
        WorkFailed: the target cannot be reached, or all importances are the same.
    """
    removed = _rank(problem, problem.target)
    kept = {name: problem.structure[name].channels - len(gone) for name, gone in removed.items()}
    return Solution(kept, removed=removed)


def _rank(problem: Problem, target: Target) -> dict[str, list[int]]:
    structure = problem.structure
    data = problem.batches(64, 4) if problem.criterion == "taylor" else None
    scorer = Scorer.of(problem.model, structure, problem.criterion, data, problem.seed)
    return choose_until(
        scorer.scores, structure, lambda kept: target.cost(structure, kept) <= target.limit, problem.round_to
    )


def iterative(problem: Problem) -> Solution:
    """Global pruning in rounds, with fine-tuning between: each removes the same share of what is left.

    Raises:
        WorkFailed: as :func:`one_shot`.
    """
    from dataclasses import replace

    rounds = problem.options.iterations
    network, structure = problem.model, problem.structure
    share = (problem.target.limit / problem.target.base) ** (1 / rounds)
    notes = []
    for number in range(1, rounds + 1):
        limit = problem.target.base * share**number if number < rounds else problem.target.limit
        now = replace(problem, model=network, structure=structure, target=replace(problem.target, limit=limit))
        removed = _rank(now, now.target)
        network = remove(network, structure.shape, removed, structure)
        structure = trace(network, structure.shape, problem.options.keep)
        notes.append(f"round {number} of {rounds}: {structure.macs({}) / 1e6:.2f} M MACs")
        if number < rounds:  # the last round's training is the step's own
            accuracy = problem.train(network, f"fine-tune {number} of {rounds}")
            notes[-1] += f", held-out top-1 {accuracy:.2f} % after fine-tuning"
    kept = {name: structure[name].channels for name in problem.structure.full()}
    return Solution(kept, network=network, notes=tuple(notes))
