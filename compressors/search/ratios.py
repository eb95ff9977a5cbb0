"""The protocols that decide ratios by what pruning costs in accuracy: sensitivity curves, and searches by an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.search import sensitivity
from compressors.search.budget import Budget, Counts
from compressors.search.candidates import Candidates, budget_of, course_of, prune_in_turn
from compressors.search.course import Course
from compressors.search.problem import Problem, Solution
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from compressors.search.ddpg import Learner
    from compressors.search.rollouts import Environment
    from compressors.steps.prune.reconstruct import How

IMAGES_AT_ONCE = 50  # of a batch that layers are rebuilt from: AMC's


def one_shot(problem: Problem) -> Solution:
    """Sensitivity curves, one common loss, all at once (PaddleSlim 2.2, PaddleX).

    Raises:
        BadInput: the target is out of reach.
        WorkFailed: nothing is prunable, or all importances of a group are the same.
    """
    kept, told = _by_curves(problem, problem.folder)
    return Solution(kept, notes=(told,))


def iterative(problem: Problem) -> Solution:
    """Sensitivity curves again and again, a small step of the target each time, with training between (PaddleSlim 2.1).

    ``search.each`` is the share of what is left that a step removes, 7 % by default; ``search.between`` the training
    after each; without it ``finetune`` follows each but the last, which the step trains itself.
    """
    return _in_steps(problem, problem.options.search.each or 0.07)


def stepwise(problem: Problem) -> Solution:
    """As :func:`iterative` in steps of 20 %, by default with the whole ``finetune`` between (PaddleSlim 2.3)."""
    return _in_steps(problem, problem.options.search.each or 0.2)


def _in_steps(problem: Problem, each: float) -> Solution:
    from compressors.steps.prune.criteria import choose
    from compressors.steps.prune.structure import remove, trace

    base = problem.target.base
    targets = sensitivity.iterative_targets(1 - problem.target.limit / base, each)
    between = problem.options.search.between
    network, structure = problem.model, problem.structure
    notes = []
    for number, removed in enumerate(targets, 1):
        limit = problem.target.limit if number == len(targets) else base * (1 - removed)
        now = replace(problem, model=network, structure=structure, target=replace(problem.target, limit=limit))
        kept, told = _by_curves(now, problem.folder / f"step-{number}")
        gone = choose(now.importance(), kept, structure=structure)
        network = remove(network, structure.shape, gone, structure)
        structure = trace(network, structure.shape, problem.options.keep)
        told = f"step {number} of {len(targets)}, -{100 * removed:.1f} %: {told}"
        if number < len(targets) or between is not None:
            accuracy = problem.train(network, f"train {number} of {len(targets)}", between)
            told += f"; held-out top-1 {accuracy:.2f} % after training"
        notes.append(told)
    counts = {name: structure[name].channels for name in problem.structure.full()}
    return Solution(counts, network=network, notes=tuple(notes))


def _by_curves(problem: Problem, folder: Path) -> tuple[Counts, str]:
    from compressors.steps.prune.criteria import choose
    from compressors.steps.prune.removal import without

    settings = problem.options.search
    structure, scores = problem.structure, problem.importance()
    # Curves go as far as they are measured; a lower bound of its own would only hide that.
    budget = _budget(problem, 0.0)
    budget.check()

    def accuracy(counts: Mapping[str, int]) -> float:
        gone = choose(scores, dict(counts), structure=structure)
        return problem.evaluate(without(problem.model, structure, gone).eval(), settings.images) / 100

    identity = f"{problem.criterion}, {settings.images} images"
    found = sensitivity.measure(
        {group.name: group.channels for group in structure.prunable},
        accuracy,
        folder,
        problem.progress,
        identity=identity,
        multiples={group.name: group.multiple for group in structure.prunable},
    )
    kept = sensitivity.solve(found, budget, settings.solver)
    return kept, f"{settings.solver} sensitivity curves of {len(found.curves)} groups, baseline {found.baseline:.2%}"


def _budget(problem: Problem, lowest: float) -> Budget:
    def cost(counts: Mapping[str, int]) -> float:
        return float(problem.target.cost(problem.structure, counts))

    return budget_of(problem.structure, cost, problem.target.limit, lowest=lowest, round_to=problem.round_to)


def ddpg_amc(problem: Problem) -> Solution:
    """AMC's search (He et al., 2018): |W| chooses, 1x1 convolutions and linear layers are rebuilt by least squares.

    Raises:
        BadInput: the target is out of reach, or the state folder belongs to another search.
    """
    from compressors.search.amc import LOWEST, AmcEnvironment
    from compressors.search.ddpg import AMC

    course = _course(problem, LOWEST, round_up=True, last_whole=False)
    candidates = _candidates(problem, "magnitude")
    environment = AmcEnvironment(course, problem.options.search.reward)
    kept, notes = _searched(problem, candidates, environment, AMC)
    removed = candidates.chooser.removed(kept)
    return Solution(kept, network=candidates.network(removed), removed=removed, notes=notes)


def ddpg_pocketflow(problem: Problem) -> Solution:
    """PocketFlow's search: LASSO chooses, all layers that read a pruned group are rebuilt by least squares.

    The candidates' layers are rebuilt from the unpruned network's inputs, gathered once; the network that is kept is
    then pruned layer by layer, each rebuilt from the inputs that the layers before leave it, as its authors prune.

    Raises:
        BadInput: the target is out of reach, or the state folder belongs to another search.
    """
    kept, notes = _pocketflow(problem)
    network, removed = prune_in_turn(problem.model, problem.structure, kept, _inputs(problem, "lasso"), problem.seed)
    return Solution(kept, network=network, removed=removed, notes=notes)


def ddpg_pocketflow_groups(problem: Problem) -> Solution:
    """:func:`ddpg_pocketflow` with group fine-tuning.

    ``search.layers_at_once`` layers are pruned, then the network is trained with Adam at ``search.group_rate`` for
    ``search.group_share`` of the fine-tuning's epochs, and so on; the step's own training follows.
    """
    from compressors.steps.prune.structure import trace

    settings, how = problem.options.search, problem.options.finetune
    if how is None:
        raise BadInput("group fine-tuning needs a finetune section: its length is a share of that one's")
    short = how.model_copy(
        update={
            "epochs": max(1, round(settings.group_share * how.epochs)),
            "optimizer": "adam", "lr": settings.group_rate, "schedule": "constant", "milestones": [],
            "warmup_epochs": 0.0, "nesterov": False, "early_stop": None,
        }
    )  # fmt: skip
    kept, notes = _pocketflow(problem)
    network, structure = problem.model, problem.structure
    names = [group.name for group in structure.prunable if kept[group.name] < group.channels]
    parts = [names[start : start + settings.layers_at_once] for start in range(0, len(names), settings.layers_at_once)]
    for number, part in enumerate(parts, 1):
        counts = {name: kept[name] for name in part}
        network, _ = prune_in_turn(network, structure, counts, _inputs(problem, "lasso"), problem.seed)
        structure = trace(network, structure.shape, problem.options.keep)
        accuracy = problem.train(network, f"group {number} of {len(parts)}", short)
        notes = (*notes, f"group {number} of {len(parts)}, {len(part)} layers: held-out top-1 {accuracy:.2f} %")
    return Solution(kept, network=network, notes=notes)


def agrees(problem: Problem, name: str) -> None:
    """See that a protocol of this file would begin: its own bounds leave the target within reach.

    Args:
        problem: what it would be given.
        name: of the protocol; those that are not searches have no bounds of their own.

    Raises:
        BadInput: they do not.
    """
    from compressors.search import amc, pocketflow

    if name == "ddpg-amc":
        _course(problem, amc.LOWEST, round_up=True, last_whole=False)
    elif name.startswith("ddpg-pocketflow"):
        _course(problem, pocketflow.LOWEST, round_up=False, last_whole=True)
    elif name.startswith("sensitivity"):
        _budget(problem, 0.0).check()


def _pocketflow(problem: Problem) -> tuple[Counts, tuple[str, ...]]:
    from compressors.search.ddpg import POCKETFLOW
    from compressors.search.pocketflow import LOWEST, PocketFlowEnvironment

    course = _course(problem, LOWEST, round_up=False, last_whole=True)
    candidates = _candidates(problem, "lasso")
    return _searched(problem, candidates, PocketFlowEnvironment(course, problem.options.search.reward), POCKETFLOW)


def _inputs(problem: Problem, how: How) -> Callable[[], Iterator[Tensor]]:
    from compressors.steps.prune.reconstruct import BATCHES

    count = problem.options.search.batches or BATCHES[how]
    return lambda: (images for images, _ in problem.batches(IMAGES_AT_ONCE, count))


def _candidates(problem: Problem, how: How) -> Candidates:
    return Candidates(problem.model, problem.structure, how, _inputs(problem, how)(), problem.seed)


def _course(problem: Problem, lowest: float, *, round_up: bool, last_whole: bool) -> Course:
    structure = problem.structure
    if problem.target.kind == "macs":
        costs: dict[str, float] = dict(structure.layer_macs({}))
    else:
        costs = {name: shape.parameters(shape.inputs, shape.outputs) for name, shape in structure.layer_shapes.items()}
    lowest = problem.options.search.lowest or lowest
    budget = _budget(problem, lowest)
    course = course_of(structure, budget, costs, lowest=lowest, round_up=round_up, last_whole=last_whole)
    # Before anything slow: a target that is out of reach, or that the rounding cannot meet.
    course.bounded.check()
    course.bounded.settle(budget.full)
    return course


def shortened(learner: Learner, episodes: int | None) -> Learner:
    """The agent for a search of another length: as large a part of it at random as of the published one."""
    if episodes is None or episodes >= learner.episodes:
        return learner
    return replace(learner, random=learner.random * episodes // learner.episodes)


def _searched(
    problem: Problem, candidates: Candidates, environment: Environment, learner: Learner
) -> tuple[Counts, tuple[str, ...]]:
    """The counts of the best roll-out, its rest of the budget given back, and what to note."""
    from compressors.search.rollouts import search

    settings = problem.options.search
    course = environment.course
    found = search(
        environment,
        shortened(learner, problem.options.episodes),
        lambda counts: problem.evaluate(candidates.of(counts), settings.images) / 100,
        problem.folder / "search",
        problem.progress,
        seed=problem.seed,
        identity=f"{type(environment).__name__}, {settings.images} images, {settings.batches} batches",
        episodes=problem.options.episodes,
    )
    kept = course.bounded.settle(found.best.counts)
    told = (
        f"{len(found.history)} roll-outs, {found.candidates} candidates; the best had top-1 "
        f"{found.best.accuracy:.2%} on the held-out split before fine-tuning, "
        f"{found.best.cost / course.full_cost:.1%} of the cost"
    )
    return kept, (
        told,
        *(("what it left of the budget was given back in equal shares",) if kept != found.best.counts else ()),
    )
