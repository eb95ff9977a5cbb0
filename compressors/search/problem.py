"""What a ratio protocol is given and gives back, and which protocols there are.

A protocol is a function ``(problem: Problem) -> Solution``. Most only say how many channels each group keeps; the
`prune` step then chooses and removes them by the criterion. One that prunes and trains in turns, or rebuilds weights,
gives the pruned network itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pocketzoo.errors import BadInput, WorkFailed

if TYPE_CHECKING:
    import torch
    from torch import nn

    from compressors.progress import Progress
    from compressors.steps.prune.structure import Structure
    from compressors.train_section import Train

TOLERANCE = 0.01  # of the network's cost: how far from the target a pruned network may be

# Name in a recipe -> module:function. Modules are imported when a recipe asks for them.
PROTOCOLS: dict[str, str] = {
    "uniform": "compressors.search.uniform:uniform",
    "global": "compressors.search.ranking:one_shot",
    "iterative": "compressors.search.ranking:iterative",
    "channels": "compressors.search.uniform:given",
    "sensitivity": "compressors.search.ratios:one_shot",
    "sensitivity-iterative": "compressors.search.ratios:iterative",
    "sensitivity-stepwise": "compressors.search.ratios:stepwise",
    "ddpg-pocketflow": "compressors.search.ratios:ddpg_pocketflow",
    "ddpg-pocketflow-groups": "compressors.search.ratios:ddpg_pocketflow_groups",
    "ddpg-amc": "compressors.search.ratios:ddpg_amc",
}


@dataclass(frozen=True)
class Target:
    """What is to be reached: MACs or parameters that may stay. ``base`` is what the unpruned network costs."""

    kind: str  # macs | parameters
    base: int
    limit: float

    def cost(self, structure: Structure, kept: Mapping[str, int]) -> int:
        """Of the network with these counts."""
        return structure.macs(kept) if self.kind == "macs" else structure.parameters(kept)

    def off(self, structure: Structure, kept: Mapping[str, int]) -> float:
        """By how much the cost is above (or, negative, below) the target, as a share of ``base``."""
        return (self.cost(structure, kept) - self.limit) / self.base

    def held(self, structure: Structure, kept: Mapping[str, int]) -> bool:
        """Whether the cost is within 1 % of ``base`` from the target."""
        return abs(self.off(structure, kept)) <= TOLERANCE

    def told(self) -> str:
        """For notes: ``MACs -50 %``."""
        what = "MACs" if self.kind == "macs" else "parameters"
        return f"{what} -{100 * (1 - self.limit / self.base):.4g} %"


class Trains(Protocol):
    """Fine-tunes a pruned network in place: a finished training is kept in the problem's folder and not done again."""

    def __call__(self, model: nn.Module, title: str, how: Train | None = None) -> float:
        """Train; returns the held-out top-1 in percent.

        Args:
            model: the network; it has the kept epoch's weights afterwards.
            title: what it is, unique in the problem: ``fine-tune 1 of 3``.
            how: the training; the step's ``finetune`` by default.

        Raises:
            BadInput: neither ``how`` nor the step has a training.
        """


@dataclass(frozen=True)
class Problem:
    """A network to prune to a target.

    ``evaluate`` gives a network's top-1 in percent on the held-out split, from at most ``images`` of it where given.
    ``batches`` gives training images (n, C, H, W) and labels (n,), as evaluation prepares them, the same ones for the
    same seed. ``folder`` belongs to this problem alone and outlives a kill: what a protocol keeps there it may rely on
    when it is called again with the same problem. ``options`` are the step's own settings (its pydantic model).
    """

    model: nn.Module
    structure: Structure
    target: Target
    criterion: str
    round_to: int
    evaluate: Callable[..., float]
    batches: Callable[[int, int], Iterator[tuple[torch.Tensor, torch.Tensor]]]
    train: Trains
    seed: int
    progress: Progress
    folder: Path
    options: Any = None
    shape: Sequence[int] = field(default=())

    def importance(self, model: nn.Module | None = None, structure: Structure | None = None) -> dict[str, torch.Tensor]:
        """By the step's criterion, of the problem's network or of a smaller one with its structure."""
        from compressors.steps.prune.criteria import importance

        data = self.batches(64, 4) if self.criterion == "taylor" else None
        return importance(model or self.model, structure or self.structure, self.criterion, data, self.seed)


@dataclass(frozen=True)
class Solution:
    """How many channels each group keeps; groups left out keep all.

    ``network``: the pruned network with its weights, where the protocol made it itself; the step then removes
    nothing. ``removed``: which channels of the unpruned network went, where the protocol chose them itself.
    """

    kept: Mapping[str, int]
    network: nn.Module | None = None
    removed: Mapping[str, Sequence[int]] | None = None
    notes: tuple[str, ...] = ()


def protocol(name: str) -> Callable[[Problem], Solution]:
    """The function of a protocol.

    Raises:
        BadInput: no such protocol.
    """
    if name not in PROTOCOLS:
        raise BadInput(f"no protocol {name!r}", detail=(f"protocols: {', '.join(PROTOCOLS)}",))
    module, _, function = PROTOCOLS[name].partition(":")
    found: Callable[[Problem], Solution] = getattr(importlib.import_module(module), function)
    return found


def unreachable(problem: Problem, smallest: Mapping[str, int], nearest: Mapping[str, int] | None = None) -> WorkFailed:
    """The error for a target that no counts reach, with what is reachable."""
    target, structure = problem.target, problem.structure
    least = 100 * (1 - target.cost(structure, smallest) / target.base)
    detail = [f"at most {least:.2f} % can be removed with one channel (or one multiple of {problem.round_to}) a group"]
    if nearest is not None:
        near = 100 * (1 - target.cost(structure, nearest) / target.base)
        detail.append(f"the nearest that can be reached is -{near:.2f} %")
    return WorkFailed(
        f"the target {target.told()} cannot be reached within {100 * TOLERANCE:g} %",
        detail=tuple(detail),
        hint="another target, a smaller round_to, or fewer layers in `keep`",
    )
