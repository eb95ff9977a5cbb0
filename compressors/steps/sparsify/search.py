"""PocketFlow's search for sparsity ratios: an agent gives every layer a ratio, the candidate is fitted and judged.

Source: github.com/Tencent/PocketFlow, learners/weight_sparsification. A layer's ratio lies between
max(0, 1 - 3 (1 - s)) and 1 - (1 - s) / 3, s being the whole's sparsity; here the action is the share of the most
weights a layer may keep. Each candidate's layers are fitted to the dense network's answers one after another, the
candidate is trained for a few steps, and its held-out top-1 is the reward.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from compressors.judging import HeldOut, training_batches
from compressors.observing import observing
from compressors.search import rollouts
from compressors.search.budget import Budget, Counts
from compressors.search.course import Course, Features, Layer, scaled_max
from compressors.search.ddpg import POCKETFLOW
from compressors.search.ratios import shortened
from compressors.sparsify_section import RatioSearch
from compressors.steps.sparsify.layers import executed, weight_of
from compressors.steps.sparsify.masking import smallest
from compressors.steps.sparsify.rules import kept_of, settled

if TYPE_CHECKING:
    from compressors.stages import Stages

GRID = 100  # ratios of a layer between its bounds
NEAREST, FURTHEST = 3.0, 1 / 3  # of the whole's share that stays, what a layer may keep


@dataclass(frozen=True)
class Found:
    """``kept``: layer -> weights that stay; ``accuracy`` (0..1) of the best candidate, before its training."""

    kept: dict[str, int]
    accuracy: float
    rollouts: int
    candidates: int


@dataclass(frozen=True)
class SparsityEnvironment:
    """PocketFlow's states and reward for weight sparsification.

    Attributes:
        course: layers and budget.
        shapes: of the layers' weights.
    """

    course: Course
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def features(self) -> int:
        """Of a state: the layer as one of all, its weight's four sizes, its weights, what was kept, what remains."""
        return len(self.course.layers) + 7

    @cached_property
    def _sizes(self) -> Features:
        return scaled_max([(*(*self.shapes[layer.name], 1, 1)[:4], layer.weights) for layer in self.course.layers])

    def state(self, number: int, decided: Mapping[str, int], previous: float) -> Features:  # noqa: ARG002
        """(layers + 7,): one-hot layer; the sizes of its weight, and their product, each over its column's largest;
        the shares of all weights that earlier layers have kept, and that this and later ones have.

        Args:
            number: of the layer.
            decided: weights that earlier layers keep.
            previous: not part of the state here.
        """
        layers = self.course.layers
        total = sum(layer.weights for layer in layers)
        which = np.zeros(len(layers), np.float32)
        which[number] = 1
        kept = sum(decided.values()) / total
        remaining = sum(layer.weights for layer in layers[number:]) / total
        return np.concatenate([which, self._sizes[number], np.array([kept, remaining], np.float32)])

    def reward(self, accuracy: float, cost: float) -> float:  # noqa: ARG002
        """The accuracy; the budget holds by itself."""
        return accuracy


def most_kept(weights: Mapping[str, int], sparsity: float) -> dict[str, int]:
    """The most weights each layer may keep in a search."""
    share = min(1.0, NEAREST * (1 - sparsity))
    return {name: max(1, math.floor(share * count)) for name, count in weights.items()}


def course_of(weights: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]], sparsity: float) -> Course:
    """The layers as a search walks through them, and how many weights may stay.

    Args:
        weights: of each layer, in the order of execution.
        shapes: of their weights.
        sparsity: of all together, in 0..1.
    """
    most = most_kept(weights, sparsity)
    lowest = FURTHEST * (1 - sparsity) / min(1.0, NEAREST * (1 - sparsity))
    options = {}
    for name, highest in most.items():
        least = max(1, math.ceil(lowest * highest))
        options[name] = tuple(sorted({least + round((highest - least) * part / GRID) for part in range(GRID + 1)}))
    layers = tuple(
        Layer(
            name=name,
            kind="linear" if len(shapes[name]) == 2 else "conv",
            group=name,
            inputs=shapes[name][1],
            outputs=shapes[name][0],
            height=1,
            width=1,
            stride=1,
            kernel=shapes[name][-1] if len(shapes[name]) > 2 else 1,
            weights=count,
            cost=float(count),
        )
        for name, count in weights.items()
    )
    budget = Budget(lambda counts: float(sum(counts.values())), float(kept_of(weights, sparsity)), options)
    return Course(layers, budget, round_up=False, lowest=lowest)


def search(
    stages: Stages,
    model: nn.Module,
    weights: dict[str, int],
    sparsity: float,
    how: RatioSearch,
    folder: Path,
    identity: str,
) -> Found:
    """Search for the ratios with the best held-out top-1; a search that was killed goes on where it was.

    Args:
        stages: of the recipe: its training and held-out images.
        model: the dense network; not changed.
        weights: of the layers, in the order of execution.
        sparsity: of all together, in 0..1.
        how: the settings.
        folder: of the state.
        identity: all that decides the result.
    """
    shapes = {name: tuple(weight_of(model, name).shape) for name in weights}
    course = course_of(weights, shapes, sparsity)
    most = most_kept(weights, sparsity)
    batches = list(training_batches(stages, how.batch, max(1, how.finetune_steps)))
    judge = HeldOut(stages)

    def exact(counts: Mapping[str, int]) -> Counts:
        return settled(counts, most, sparsity, weights)

    def evaluate(counts: Mapping[str, int]) -> float:
        candidate = masked(model, exact(counts))
        regress(candidate, model, list(weights), stages.shape, batches[0][0], how)
        finetune(candidate, list(weights), batches, how, stages.recipe.seed)
        return judge(candidate, how.images) / 100

    found = rollouts.search(
        SparsityEnvironment(course, shapes),
        shortened(POCKETFLOW, how.episodes),
        evaluate,
        folder,
        stages.progress,
        seed=stages.recipe.seed,
        identity=identity,
        episodes=how.episodes,
        checkpoint_every=5,
    )
    return Found(exact(found.best.counts), found.best.accuracy, len(found.history), found.candidates)


def masked(model: nn.Module, kept: Mapping[str, int]) -> nn.Module:
    """A copy with all but the largest weights of each layer set to zero."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        for name, count in kept.items():
            weight = weight_of(made, name)
            weight.mul_(smallest(weight, weight.numel() - count))
    return made


def regress(
    sparse: nn.Module,
    dense: nn.Module,
    layers: Sequence[str],
    shape: Sequence[int],
    images: Tensor,
    how: RatioSearch,
) -> None:
    """Fit each layer's answers to those of the dense network, in the order of execution, zeros staying zero.

    What a layer reads is taken from the sparse network with all earlier layers fitted already.

    Args:
        sparse: changed in place.
        dense: whose answers are wanted.
        layers: to fit.
        shape: (1, C, H, W).
        images: (n, C, H, W) that both are shown.
        how: steps and rate.
    """
    order = [name for name in executed(sparse, shape) if name in layers]
    dense.eval()
    for name in order if how.regression_steps else ():
        taken, _ = _around(sparse, name, images)
        _, wanted = _around(dense, name, images)
        layer = sparse.get_submodule(name)
        weight = weight_of(sparse, name)
        mask = weight.detach() != 0
        optimizer = torch.optim.Adam([weight], lr=how.regression_rate)
        before, best = weight.detach().clone(), math.inf
        for _ in range(how.regression_steps):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(layer(taken), wanted)
            found = float(loss.detach())
            if found < best:  # a rate that is too high for a layer must not spoil it
                best, before = found, weight.detach().clone()
            loss.backward()  # type: ignore[no-untyped-call]
            if weight.grad is not None:
                weight.grad.mul_(mask)
            optimizer.step()
        with torch.no_grad():
            if float(nn.functional.mse_loss(layer(taken), wanted)) > best:
                weight.copy_(before)


def finetune(
    model: nn.Module, layers: Sequence[str], batches: Sequence[tuple[Tensor, Tensor]], how: RatioSearch, seed: int
) -> None:
    """A short training by Adam on batches that are there already, zeros staying zero."""
    if not how.finetune_steps:
        return
    masks = {name: weight_of(model, name).detach() != 0 for name in layers}
    optimizer = torch.optim.Adam(model.parameters(), lr=how.finetune_rate)
    torch.manual_seed(seed)
    model.train()
    for step in range(how.finetune_steps):
        inputs, labels = batches[step % len(batches)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
        for name, mask in masks.items():
            gradient = weight_of(model, name).grad
            if gradient is not None:
                gradient.mul_(mask)
        optimizer.step()
    model.eval()


def _around(model: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer takes and gives when the network sees images."""
    seen: list[Tensor] = []

    def keep(_name: str, _module: nn.Module, taken: Any, given: Tensor) -> None:
        seen.extend((taken[0].detach().clone(), given.detach().clone()))

    model.eval()
    with torch.no_grad(), observing([(name, model.get_submodule(name))], keep):
        model(images)
    return seen[0], seen[1]
