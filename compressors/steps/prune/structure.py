"""Which channels of a network belong together, and what it costs with fewer of them.

:func:`trace` asks torch-pruning's dependency graph once (see :mod:`.tracing`) and keeps the answer as plain facts, so
that everything after it (importance, search, removal, regularisation) works on names and indices and costs no forward
pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from compressors.counting import count
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.names import did_you_mean

Role = Literal["output", "input", "along"]


@dataclass(frozen=True)
class Item:
    """A layer's share in a group: its channel ``index[k]`` goes with the group's channel ``root[k]``.

    ``output`` and ``input`` are the two sides of a convolution or linear layer; ``along`` are layers with as many
    outputs as inputs: batch norm, PReLU, layer norm, depthwise convolutions.
    """

    layer: str
    role: Role
    index: tuple[int, ...]
    root: tuple[int, ...]

    def of(self, channels: set[int]) -> list[int]:
        """The layer's channels that go with these of the group."""
        return sorted(index for index, root in zip(self.index, self.root, strict=True) if root in channels)


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together.

    ``name`` is the first layer, in the order of execution, whose output channels these are; indices count its
    outputs. ``outputs`` are all layers whose outputs go with it (depthwise ones among them), ``inputs`` those that
    read it. ``multiple``: with grouped convolutions, a channel goes together with the one at the same place of every
    convolution group, so channels are removed in sets of that many. ``why`` says why it is not ``prunable``.
    """

    name: str
    channels: int
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    prunable: bool
    why: str
    multiple: int = 1
    items: tuple[Item, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class LayerShape:
    """A convolution or linear layer as it was run on one sample.

    ``input`` and ``output`` are the sizes behind the channel axis, (H, W) for a 2-D convolution; for a linear layer
    the sizes before its last axis without the batch, () for a classifier.
    """

    kind: Literal["conv", "depthwise", "transposed", "linear"]
    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int
    input: tuple[int, ...]
    output: tuple[int, ...]
    bias: bool

    def macs(self, inputs: int, outputs: int) -> int:
        """With other numbers of channels; the rules are those of :mod:`compressors.counting`."""
        if self.kind == "depthwise":
            return outputs * math.prod(self.kernel) * math.prod(self.output)
        positions = math.prod(self.input if self.kind == "transposed" else self.output)
        return positions * outputs * (inputs // self.groups) * math.prod(self.kernel)

    def parameters(self, inputs: int, outputs: int) -> int:
        """With other numbers of channels."""
        each = 1 if self.kind == "depthwise" else inputs // self.groups
        return outputs * (each * math.prod(self.kernel) + self.bias)


@dataclass(frozen=True)
class Structure:
    """Facts of a network at an input shape; all costs are computed, none needs the network.

    ``kept`` maps group names to the number of channels that stay; groups left out keep all. ``elsewhere`` are the MACs
    outside of layers, which are taken as they are.
    """

    shape: tuple[int, ...]
    groups: tuple[Group, ...]
    layer_shapes: Mapping[str, LayerShape]
    along: Mapping[str, tuple[int, int]]  # layer -> channels, parameters per channel
    other_parameters: int
    elsewhere: int

    def __getitem__(self, name: str) -> Group:
        for group in self.groups:
            if group.name == name:
                return group
        known = [group.name for group in self.groups]
        close = did_you_mean(name, known)
        raise BadInput(
            f"no channel group {name!r} in this network",
            detail=(close or f"groups: {', '.join(known)}",),
            hint="name the first layer whose output channels these are",
        )

    @property
    def prunable(self) -> tuple[Group, ...]:
        """The groups that channels can be removed from.

        Raises:
            WorkFailed: there is none; the reasons are told.
        """
        found = tuple(group for group in self.groups if group.prunable)
        if not found:
            reasons = [f"{group.name}: {group.why}" for group in self.groups]
            raise WorkFailed(
                "nothing in this network can be pruned",
                detail=tuple(reasons[:8]) or ("it has no convolution or linear layer with trainable weights",),
                hint="remove layers from `keep`, or choose another network",
            )
        return found

    def full(self) -> dict[str, int]:
        """All channels of the prunable groups."""
        return {group.name: group.channels for group in self.groups if group.prunable}

    def check(self, kept: Mapping[str, int]) -> None:
        """Raises:
        BadInput: no such group, one that cannot be pruned, or a number of channels that it cannot have.
        """
        for name, number in kept.items():
            group = self[name]
            if number == group.channels:
                continue
            if not group.prunable:
                raise BadInput(f"{name} cannot be pruned: {group.why}", hint=f"leave {name} out, or give it all of its "
                               f"{group.channels} channels")  # fmt: skip
            if not 1 <= number <= group.channels or number % group.multiple:
                of = f", multiples of {group.multiple}," if group.multiple > 1 else ""
                raise BadInput(
                    f"{name} cannot keep {number} channels: 1 to {group.channels}{of} are possible",
                    hint="check `channels`",
                )

    def layer_channels(self, kept: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Layer -> (inputs, outputs) for every convolution and linear layer, and (n, n) for the layers along."""
        self.check(kept)
        found = {name: [shape.inputs, shape.outputs] for name, shape in self.layer_shapes.items()}
        found |= {name: [channels, channels] for name, (channels, _) in self.along.items()}
        for group in self.groups:
            removed = group.channels - kept.get(group.name, group.channels)
            if not removed:
                continue
            for item in group.items:
                less = removed * (len(item.index) // group.channels)
                if item.role != "output":
                    found[item.layer][0] -= less
                if item.role != "input":
                    found[item.layer][1] -= less
        return {name: (inputs, outputs) for name, (inputs, outputs) in found.items()}

    def layer_macs(self, kept: Mapping[str, int]) -> dict[str, int]:
        """Layer -> MACs of one sample, in the order of execution."""
        channels = self.layer_channels(kept)
        return {name: shape.macs(*channels[name]) for name, shape in self.layer_shapes.items()}

    def macs(self, kept: Mapping[str, int]) -> int:
        """MACs of one sample."""
        return sum(self.layer_macs(kept).values()) + self.elsewhere

    def parameters(self, kept: Mapping[str, int]) -> int:
        """Elements of all parameters."""
        channels = self.layer_channels(kept)
        layers = sum(shape.parameters(*channels[name]) for name, shape in self.layer_shapes.items())
        along = sum(each * channels[name][1] for name, (_, each) in self.along.items())
        return layers + along + self.other_parameters


def trace(model: nn.Module, shape: Sequence[int], keep: Sequence[str] = ()) -> Structure:
    """The channel groups of a network.

    Args:
        model: not changed; weights and mode do not matter.
        shape: of one input, e.g. (1, 3, 224, 224).
        keep: names of layers whose output channels stay, or patterns of them (``backbone.*``).

    Raises:
        BadInput: a name in ``keep`` that no layer has.
        WorkFailed: the network cannot be traced; the module where it ends is named.
    """
    from compressors.steps.prune.tracing import traced

    return traced(model, shape, keep)


def remove(
    model: nn.Module, shape: Sequence[int], channels: Mapping[str, Sequence[int]], structure: Structure | None = None
) -> nn.Module:
    """A copy of a network without some channels, in evaluation mode.

    Args:
        model: not changed.
        shape: of one input with a leading 1.
        channels: group name -> indices of the output channels to remove.
        structure: of :func:`trace` for this network, where there is one; it is traced otherwise.

    Raises:
        BadInput: no such group or channel, a group that cannot be pruned, or one that would be left empty.
        WorkFailed: what came out is not what the structure says: MACs, parameters or output shapes.
    """
    from compressors.steps.prune.removal import check_indices, without

    structure = structure or trace(model, shape)
    check_indices(structure, channels)
    kept = {name: structure[name].channels - len(set(gone)) for name, gone in channels.items()}
    pruned = without(model, structure, channels)
    try:
        counted = count(pruned, shape)
    except Exception as error:
        raise WorkFailed(
            "the pruned network does not run",
            detail=(f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",),
        ) from error
    wanted = (sum(structure.layer_macs(kept).values()), structure.parameters(kept))
    found = (sum(counted.layers.values()), counted.parameters)
    if wanted != found:
        raise WorkFailed(
            "the pruned network is not what its structure says",
            detail=(f"{wanted[0]} MACs and {wanted[1]} parameters expected, {found[0]} and {found[1]} found",),
        )
    return pruned.eval()
