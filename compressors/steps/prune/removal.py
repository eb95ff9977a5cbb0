"""Taking channels out of layers, and switching them off, by the facts of a structure."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from compressors.steps.prune.structure import Structure


def check_indices(structure: Structure, channels: Mapping[str, Sequence[int]]) -> None:
    """Raises:
    BadInput: no such group or channel, a group that cannot be pruned, that would be left empty, or whose
        convolution groups would get different channels.
    """
    for name, gone in channels.items():
        group = structure[name]
        if not gone:
            continue
        if not group.prunable:
            raise BadInput(f"{name} cannot be pruned: {group.why}")
        chosen = set(gone)
        if len(chosen) != len(gone) or min(chosen) < 0 or max(chosen) >= group.channels:
            raise BadInput(f"{name} has channels 0 to {group.channels - 1}, each of which can be removed once")
        if len(chosen) == group.channels:
            raise BadInput(f"{name} would be left without channels", hint="keep at least one")
        lane = group.channels // group.multiple
        if any((index + lane) % group.channels not in chosen for index in chosen if group.multiple > 1):
            raise BadInput(
                f"{name} has {group.multiple} convolution groups, which must lose the same channels",
                hint=f"with channel k also k + {lane}, and so on",
            )


def dropped(
    structure: Structure, channels: Mapping[str, Sequence[int]]
) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """Layer -> input channels and layer -> output channels that go; layers along are among the outputs."""
    inputs: dict[str, set[int]] = {}
    outputs: dict[str, set[int]] = {}
    for name, gone in channels.items():
        chosen = set(gone)
        if chosen:
            for item in structure[name].items:
                side = inputs if item.role == "input" else outputs
                side.setdefault(item.layer, set()).update(item.of(chosen))
    return inputs, outputs


def without(model: nn.Module, structure: Structure, channels: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of a network without these channels (group name -> indices), unchecked."""
    inputs, outputs = dropped(structure, channels)
    pruned = copy.deepcopy(model)
    for name in {**inputs, **outputs}:
        layer = pruned.get_submodule(name)
        shrink(layer, _left(layer, inputs.get(name), "input"), _left(layer, outputs.get(name), "output"))
    return pruned


def silence(model: nn.Module, structure: Structure, channels: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of a network of the same size in which nothing reads these channels."""
    inputs, _ = dropped(structure, channels)
    muted = copy.deepcopy(model)
    with torch.no_grad():
        for name, gone in inputs.items():
            layer: Any = muted.get_submodule(name)
            each = layer.weight.shape[0 if _transposed(layer) else 1]
            places = sorted({index % each for index in gone} if _grouped(layer) else gone)
            if _transposed(layer):
                layer.weight[sorted(gone)] = 0
            else:
                layer.weight[:, places] = 0
    return muted


def shrink(layer: nn.Module, inputs: Tensor | None, outputs: Tensor | None) -> None:
    """Leave only these channels in a layer, in place; None leaves a side as it is. Indices ascend."""
    module: Any = layer
    if isinstance(layer, nn.Linear):
        _slice(module, outputs, inputs)
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(layer, nn.modules.conv._ConvNd):
        _shrink_convolution(module, inputs, outputs)
    elif outputs is not None:
        _keep(module, outputs, "weight", "bias", "running_mean", "running_var")
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            module.num_features = len(outputs)
        elif isinstance(layer, nn.PReLU):
            module.num_parameters = len(outputs)
        elif isinstance(layer, nn.LayerNorm):
            module.normalized_shape = (len(outputs),)
        else:
            raise TypeError(f"channels of a {type(layer).__name__} cannot be removed")


def _shrink_convolution(module: Any, inputs: Tensor | None, outputs: Tensor | None) -> None:
    if _depthwise(module):
        _slice(module, outputs, None)
        module.groups = module.in_channels = module.out_channels = module.weight.shape[0]
    elif _transposed(module):
        _slice(module, inputs, _of_first_group(outputs, module.out_channels, module.groups), bias=outputs)
        module.in_channels = module.weight.shape[0]
        module.out_channels = module.weight.shape[1] * module.groups
    else:
        _slice(module, outputs, _of_first_group(inputs, module.in_channels, module.groups))
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups


def _of_first_group(channels: Tensor | None, of: int, groups: int) -> Tensor | None:
    """A weight has one axis over the channels of a single convolution group; all groups keep the same places."""
    return channels if channels is None or groups == 1 else channels[channels < of // groups]


def sides(layer: nn.Module) -> tuple[int, int]:
    """A layer's (inputs, outputs)."""
    module: Any = layer
    if isinstance(layer, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(layer, nn.modules.conv._ConvNd):
        return module.in_channels, module.out_channels
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return module.num_features, module.num_features
    if isinstance(layer, nn.PReLU):
        return module.num_parameters, module.num_parameters
    if isinstance(layer, nn.LayerNorm):
        return module.normalized_shape[-1], module.normalized_shape[-1]
    raise TypeError(f"a {type(layer).__name__} has no channels to count")


def _left(layer: nn.Module, gone: set[int] | None, side: str) -> Tensor | None:
    if not gone:
        return None
    inputs, outputs = sides(layer)
    return torch.tensor([index for index in range(inputs if side == "input" else outputs) if index not in gone])


def _depthwise(module: Any) -> bool:
    return bool(module.groups > 1 and module.groups == module.in_channels == module.out_channels)


def _grouped(module: Any) -> bool:
    return getattr(module, "groups", 1) > 1


def _transposed(layer: nn.Module) -> bool:
    return bool(getattr(layer, "transposed", False))


def _slice(module: Any, first: Tensor | None, second: Tensor | None, bias: Tensor | None = None) -> None:
    weight = module.weight.detach()
    if first is not None:
        weight = weight.index_select(0, first)
    if second is not None:
        weight = weight.index_select(1, second)
    module.weight = nn.Parameter(weight.clone(), module.weight.requires_grad)
    chosen = bias if _transposed(module) else first
    if module.bias is not None and chosen is not None:
        _keep(module, chosen, "bias")


def _keep(module: Any, index: Tensor, *names: str) -> None:
    for name in names:
        value = getattr(module, name, None)
        if value is None:
            continue
        kept = value.detach().index_select(0, index).clone()
        setattr(module, name, nn.Parameter(kept, value.requires_grad) if isinstance(value, nn.Parameter) else kept)
