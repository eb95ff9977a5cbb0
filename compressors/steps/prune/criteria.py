"""How much each channel matters, and which ones go.

A channel's importance is that of its whole group, as Torch-Pruning defines it (Fang et al., 2023, arXiv:2301.12900):
each convolution and linear layer gives a score to its share of the channel, rows where the channel is its output and
columns where it is its input, each batch norm its scale; the group's score is the mean of the layers', divided by the
mean over its channels (by the maximum for group-sl). Depthwise weights and biases give no score there, nor here.

    filter-l1  sum of |w| of the filters of the group's first layer alone (PaddleSlim, after Li et al., 2017)
    l1         sum of |w|, of the scale's magnitude for batch norm
    l2         sum of w^2: the group norm
    bn-scale   |gamma| of batch norm alone (network slimming, Liu et al., 2017)
    fpgm       sum of the distances to the other filters: what is near the geometric median goes (He et al., 2019)
    taylor     sum of |w * dL/dw| of convolutions and linear layers (Molchanov et al., 2019)
    group-sl   l2 divided by the maximum, for networks trained with that regulariser
    random     drawn from the seed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from compressors.steps.prune.choice import choose, choose_global, choose_until, kept_of, least
from compressors.steps.prune.structure import Group, Structure
from pocketzoo.errors import BadInput, WorkFailed

Criterion = Literal["filter-l1", "l1", "l2", "bn-scale", "fpgm", "taylor", "group-sl", "random"]
Batches = Iterable[tuple[Tensor, Tensor]]
POWERS = {"filter-l1": 1, "l1": 1, "l2": 2, "group-sl": 2, "bn-scale": 1}

__all__ = ["Criterion", "Scorer", "choose", "choose_global", "choose_until", "importance", "kept_of", "least"]


def importance(
    model: nn.Module,
    structure: Structure,
    criterion: str,
    batches: Batches | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Group name -> importance of each of its channels, for the prunable groups.

    With grouped convolutions, channels that go together have the same importance: the mean of theirs.

    Args:
        model: not changed.
        structure: its structure.
        criterion: see the top of this module.
        batches: (inputs (n, C, H, W), labels (n,)) whose loss ``taylor`` takes; it is cross entropy, summed.
        seed: of ``random``.

    Raises:
        BadInput: another criterion, or ``taylor`` without data.
        WorkFailed: a group without any layer that gives this score, or scores that are not finite.
    """
    return Scorer.of(model, structure, criterion, batches, seed).scores({})


@dataclass
class Scorer:
    """Importances of a network of which some channels are thought away already, without building the smaller one.

    ``tables`` holds, for each layer, what every pair (output, input) of it contributes.
    """

    structure: Structure
    criterion: str
    tables: dict[str, Tensor]
    filters: dict[str, Tensor] = field(default_factory=dict)
    drawn: dict[str, Tensor] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, model: nn.Module, structure: Structure, criterion: str, batches: Batches | None = None, seed: int = 0
    ) -> Scorer:
        """For a network; arguments and errors are those of :func:`importance`."""
        if criterion not in get_args(Criterion):
            raise BadInput(f"no criterion {criterion!r}", detail=(f"criteria: {', '.join(get_args(Criterion))}",))
        groups = structure.prunable
        if criterion == "random":
            generator = torch.Generator().manual_seed(seed)
            return cls(
                structure, criterion, {}, drawn={g.name: torch.rand(g.channels, generator=generator) for g in groups}
            )
        layers = {item.layer: model.get_submodule(item.layer) for group in groups for item in group.items}
        gradients = _gradients(model, batches, layers) if criterion == "taylor" else {}
        tables: dict[str, Tensor] = {}
        filters: dict[str, Tensor] = {}
        for name, layer in layers.items():
            shape = structure.layer_shapes.get(name)
            weight = getattr(layer, "weight", None)
            if weight is None or (shape is not None and shape.kind == "depthwise"):
                continue
            weight = weight.detach().float().cpu()
            if shape is None:  # a layer along: its scale
                if criterion in POWERS and (criterion != "bn-scale" or _is_batch_norm(layer)):
                    tables[name] = weight.abs().pow(POWERS[criterion])
                continue
            if criterion == "bn-scale":
                continue
            flat = weight.transpose(0, 1) if shape.kind == "transposed" and shape.groups == 1 else weight
            flat = flat.reshape(flat.shape[0], flat.shape[1], -1)
            if criterion == "fpgm":
                filters[name] = flat
            elif criterion == "taylor":
                slope = gradients[name]
                slope = slope.transpose(0, 1) if shape.kind == "transposed" and shape.groups == 1 else slope
                tables[name] = (flat * slope.reshape(flat.shape)).abs().sum(2)
            else:
                tables[name] = flat.abs().pow(POWERS[criterion]).sum(2)
        return cls(structure, criterion, tables, filters)

    def scores(self, removed: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        """Group name -> importance; a channel that is removed already has infinity.

        Args:
            removed: group name -> channels that are thought away.
        """
        from compressors.steps.prune.removal import dropped

        inputs, outputs = dropped(self.structure, removed)
        tables = {}
        for name, table in self.tables.items():
            tables[name] = _emptied(table, inputs.get(name), outputs.get(name)) if removed else table
        filters = {
            name: _emptied(table, inputs.get(name), outputs.get(name)) if removed else table
            for name, table in self.filters.items()
        }
        found = {}
        for group in self.structure.prunable:
            gone = sorted(removed.get(group.name, ()))
            found[group.name] = self._group(group, tables, filters, inputs, outputs, gone)
        return found

    def _group(
        self,
        group: Group,
        tables: Mapping[str, Tensor],
        filters: Mapping[str, Tensor],
        inputs: Mapping[str, set[int]],
        outputs: Mapping[str, set[int]],
        gone: Sequence[int],
    ) -> Tensor:
        left = torch.ones(group.channels, dtype=torch.bool)
        left[list(gone)] = False
        if self.drawn:
            total, count = self.drawn[group.name].clone(), 1
        else:
            total, count = torch.zeros(group.channels), 0
        items = group.items
        if self.criterion == "filter-l1":
            items = tuple(item for item in items if item.layer == group.name and item.role == "output")
        for item in items:
            if item.layer in tables:
                table = tables[item.layer]
                each = table if table.ndim == 1 else table.sum(1 if item.role == "output" else 0)
            elif item.layer in filters:
                each = _distances(
                    filters[item.layer],
                    item.role,
                    (outputs if item.role == "output" else inputs).get(item.layer, set()),
                )
            else:
                continue
            if item.role == "input" and len(each) < max(item.index) + 1:
                each = each.repeat(self.structure.layer_shapes[item.layer].groups)
            # A channel that a flattening spreads over many inputs has the sum of theirs.
            total.scatter_add_(0, torch.tensor(item.root), each[torch.tensor(item.index)])
            count += 1
        if not count:
            raise WorkFailed(
                f"criterion {self.criterion} says nothing about {group.name}: no layer of the group has such a score",
                hint="l1, l2 or random work for every network" if self.criterion == "bn-scale" else "criterion: l1",
            )
        total /= count
        if group.multiple > 1:
            total = total.view(group.multiple, -1).mean(0).repeat(group.multiple)
        if not bool(total[left].isfinite().all()):
            raise WorkFailed(
                f"the importances of {group.name} are not finite",
                hint="the training the weights come from diverged; use an earlier checkpoint",
            )
        scale = total[left].max() if self.criterion == "group-sl" else total[left].mean()
        if self.criterion != "random" and float(scale) > 0:
            total = total / scale
        total[~left] = torch.inf
        return total


def _emptied(table: Tensor, inputs: set[int] | None, outputs: set[int] | None) -> Tensor:
    if not inputs and not outputs:
        return table
    table = table.clone()
    if outputs:
        table[sorted(outputs)] = 0
    if inputs and table.ndim > 1:
        table[:, sorted({index % table.shape[1] for index in inputs})] = 0
    return table


def _distances(filters: Tensor, role: str, gone: set[int]) -> Tensor:
    """Of every filter, the sum of its Euclidean distances to the others that are left."""
    rows = (filters if role == "output" else filters.transpose(0, 1)).flatten(1)
    apart = torch.cdist(rows.unsqueeze(0), rows.unsqueeze(0), compute_mode="donot_use_mm_for_euclid_dist").squeeze(0)
    if gone:
        apart[:, [index for index in gone if index < len(rows)]] = 0
    return apart.sum(1)


def _is_batch_norm(layer: nn.Module) -> bool:
    return isinstance(layer, nn.modules.batchnorm._BatchNorm)


def _gradients(model: nn.Module, batches: Batches | None, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    if batches is None:
        raise BadInput("criterion taylor needs labelled images", hint="give the recipe data.training, or use l1")
    names = [name for name, layer in layers.items() if getattr(layer, "weight", None) is not None]
    weights: list[Any] = [layers[name].get_parameter("weight") for name in names]
    total = [torch.zeros_like(weight) for weight in weights]
    training = model.training
    model.eval()
    seen = 0
    try:
        for inputs, labels in batches:
            loss = nn.functional.cross_entropy(model(inputs), labels, reduction="sum")
            for so_far, slope in zip(total, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                if slope is not None:
                    so_far.add_(slope)
            seen += len(labels)
    finally:
        model.train(training)
    if not seen:
        raise BadInput("criterion taylor was given no images", hint="give the recipe data.training, or use l1")
    return {name: (slope / seen).float().cpu() for name, slope in zip(names, total, strict=True)}
