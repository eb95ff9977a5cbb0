"""Regularisers of sparse learning: gradients that push unimportant channels towards zero, as Torch-Pruning has them.

Each adds to the gradients after the backward pass; the optimizer's own weight decay is the recipe's and 0 there.

    bn         strength x sign(gamma) on every batch norm (network slimming, Liu et al., 2017)
    greg       lambda_i x w for channel i; lambda_i starts at the strength and grows after each epoch by
               growth x (max - I_i) / (max - min), I the group's l2 importance (Wang et al., 2021, arXiv:2012.09243)
    group-sl   strength x w x 2^(alpha x (max - I_i) / (max - min)), I the square root of the group's l2 importance,
               taken anew at every step (Fang et al., 2023, arXiv:2301.12900)

Depthwise weights and biases are left alone, and so are groups that are not prunable.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from compressors.prune_section import Sparse
from compressors.steps.prune.structure import Group, Structure
from pocketzoo.errors import WorkFailed

PREFIX = "greg."


class _Share:
    """A layer's part in a group, with its indices where its weights are."""

    def __init__(self, layer: str, axis: int | None, index: Tensor, root: Tensor) -> None:
        self.layer, self.axis = layer, axis
        self.index, self.root = index, root

    def spread(self, strengths: Tensor, weight: Tensor) -> Tensor:
        """The group's strengths along this layer's axis of its weight, 0 for channels of other groups."""
        along = torch.zeros(weight.shape[self.axis or 0], device=weight.device)
        along[self.index] = strengths[self.root]
        if self.axis is None:
            return along
        return along.view([-1 if dimension == self.axis else 1 for dimension in range(weight.ndim)])

    def score(self, weight: Tensor) -> Tensor:
        """Sum of squares for each of its channels."""
        squares = weight.detach().square()
        if self.axis is not None:
            squares = squares.transpose(0, self.axis).flatten(1).sum(1)
        return squares[self.index]


def _shares(group: Group, structure: Structure, model: nn.Module, device: torch.device) -> list[_Share]:
    found = []
    for item in group.items:
        shape = structure.layer_shapes.get(item.layer)
        layer: Any = model.get_submodule(item.layer)
        if shape is not None and shape.kind == "depthwise":
            continue
        if getattr(layer, "weight", None) is None or isinstance(layer, nn.PReLU):
            continue
        index, root = torch.tensor(item.index, device=device), torch.tensor(item.root, device=device)
        axis: int | None = None
        if shape is not None:
            axis = 0 if item.role == "output" else 1
            if shape.kind == "transposed":
                axis = 1 - axis
            each = layer.weight.shape[axis]
            if len(index) and int(index.max()) >= each:  # a grouped convolution's inputs: those of its first group
                inside = index < each
                index, root = index[inside], root[inside]
        found.append(_Share(item.layer, axis, index, root))
    return found


class GroupRegulariser:
    """``bn``, ``greg`` and ``group-sl`` for the prunable groups of a network; see the top of this module."""

    def __init__(self, structure: Structure, how: Sparse) -> None:
        self.structure, self.how = structure, how
        self.groups = structure.prunable
        self.growing = (
            {g.name: torch.full((g.channels,), how.reg) for g in self.groups} if how.regulariser == "greg" else {}
        )
        self._found: dict[str, list[_Share]] = {}
        self._for: torch.device | None = None

    def after_backward(self, model: nn.Module) -> None:
        """Add to the gradients.

        Raises:
            WorkFailed: ``bn`` in a network without batch norm.
        """
        with torch.no_grad():
            if self.how.regulariser == "bn":
                self._slim(model)
                return
            for group in self.groups:
                strengths = self._strengths(group, model)
                if strengths is None:
                    continue
                for share in self._shares_of(group, model):
                    weight = model.get_submodule(share.layer).get_parameter("weight")
                    if weight.grad is not None:
                        weight.grad += weight.detach() * share.spread(strengths, weight)

    def after_epoch(self, model: nn.Module) -> None:
        """Let ``greg``'s strengths grow."""
        with torch.no_grad():
            for group in self.groups if self.growing else ():
                scores = self._importance(group, model)
                if scores is not None:
                    grown = self.how.growth * (scores.max() - scores) / (scores.max() - scores.min() + 1e-8)
                    self.growing[group.name] += grown.to(self.growing[group.name].device)

    def state(self) -> dict[str, Tensor]:
        """``greg``'s strengths."""
        return {PREFIX + name: value for name, value in self.growing.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on with the strengths of a checkpoint."""
        self.growing = {name: state[PREFIX + name].cpu() for name in self.growing}

    def _slim(self, model: nn.Module) -> None:
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine]
        if not norms:
            raise WorkFailed("the regulariser bn needs batch norm, and the network has none", hint="regulariser: greg")
        for norm in norms:
            if norm.weight.grad is not None:
                norm.weight.grad += self.how.reg * norm.weight.detach().sign()

    def _strengths(self, group: Group, model: nn.Module) -> Tensor | None:
        device = next(model.parameters()).device
        if self.growing:
            return self.growing[group.name].to(device)
        scores = self._importance(group, model)
        if scores is None:
            return None
        scores = scores.sqrt()
        span = scores.max() - scores.min()
        unimportant = (scores.max() - scores) / span
        strengths = self.how.reg * 2 ** (self.how.alpha * unimportant)
        # Where all channels are alike there is no telling which to push: 0 / 0, and nothing is pushed.
        return torch.where(span > 0, strengths, torch.zeros_like(strengths))

    def _importance(self, group: Group, model: nn.Module) -> Tensor | None:
        shares = self._shares_of(group, model)
        if not shares:
            return None
        device = next(model.parameters()).device
        total = torch.zeros(group.channels, device=device)
        for share in shares:
            weight = model.get_submodule(share.layer).get_parameter("weight")
            total.index_add_(0, share.root, share.score(weight).float())
        total /= len(shares)
        return total / (total.max() if self.how.regulariser == "group-sl" else total.mean()).clamp_min(1e-30)

    def _shares_of(self, group: Group, model: nn.Module) -> list[_Share]:
        device = next(model.parameters()).device
        if self._for != device:
            self._found = {g.name: _shares(g, self.structure, model, device) for g in self.groups}
            self._for = device
        return self._found[group.name]
