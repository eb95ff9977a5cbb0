"""Which channels of a network belong together, and what it costs with fewer of them.

:func:`trace` asks torch-pruning's dependency graph once and keeps the answer as plain facts, so that everything after
it (importance, search, removal, regularisation) works on names and indices and costs no forward pass. What
torch-pruning 1.6.1 gets wrong or leaves out in silence is dealt with here and nowhere else: groups that end at the
network's output, channels that are shared in parts, convolution groups, layers it cannot shrink, layers it did not
see. A trial removal from every group is compared with the same channels switched off, so that a group whose removal
would break the network, or quietly compute something else (a channel shuffle), is known before anything relies on it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compressors.counting import Count, count
from compressors.quiet import quiet
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.names import did_you_mean

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (*CONVOLUTIONS, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ALONG = (*NORMS, nn.PReLU, nn.LayerNorm)
SAME = 1e-3  # of the outputs' range: float32 sums in another order differ by less, a wrong channel by far more

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
                of = f" and multiples of {group.multiple}" if group.multiple > 1 else ""
                raise BadInput(
                    f"{name} cannot keep {number} channels", hint=f"between 1 and {group.channels}{of} are possible"
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
    network = copy.deepcopy(model).cpu().eval().requires_grad_()
    for parameter in network.parameters():
        parameter.grad = None
    kept = _kept(network, keep)
    shapes, uses, counted = _run(network, tuple(shape))
    groups = _groups(network, tuple(shape), shapes, uses)
    groups = [
        replace(group, prunable=False, why="kept by the recipe")
        if group.prunable and kept & {*group.outputs, group.name}
        else group
        for group in groups
    ]
    along: dict[str, tuple[int, int]] = {}
    for name, module in network.named_modules():
        if isinstance(module, ALONG) and name not in along:
            own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
            channels = _along_channels(module)
            if channels is not None and own % channels == 0:
                along[name] = (channels, own // channels)
    in_layers = sum(shape.parameters(shape.inputs, shape.outputs) for shape in shapes.values())
    in_along = sum(channels * each for channels, each in along.values())
    structure = Structure(
        shape=tuple(shape),
        groups=tuple(groups),
        layer_shapes=shapes,
        along=along,
        other_parameters=counted.parameters - in_layers - in_along,
        elsewhere=counted.elsewhere,
    )
    return _tried(network, structure)


def _kept(network: nn.Module, keep: Sequence[str]) -> set[str]:
    names = [name for name, module in network.named_modules() if isinstance(module, WEIGHTED)]
    found: set[str] = set()
    for pattern in keep:
        matching = {name for name in names if fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")}
        if not matching:
            close = did_you_mean(pattern, names)
            raise BadInput(
                f"keep: no layer {pattern!r} in this network",
                detail=(close or f"layers: {', '.join(names[:8])}, ...",),
                hint="give a layer's name, or a pattern such as 'backbone.*'",
            )
        found |= matching
    return found


def _run(network: nn.Module, shape: tuple[int, ...]) -> tuple[dict[str, LayerShape], dict[str, int], Count]:
    """One forward pass: the shapes of the layers in the order of execution, how often each ran, and the counts."""
    shapes: dict[str, LayerShape] = {}
    uses: dict[str, int] = {}
    inside: list[str] = []

    def enter(name: str) -> Any:
        return lambda *_: inside.append(name)

    def leave(name: str) -> Any:
        def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            inside.pop()
            if isinstance(module, WEIGHTED):
                uses[name] = uses.get(name, 0) + 1
                shapes[name] = _shape_of(module, inputs[0], output)

        return record

    handles = []
    for name, module in network.named_modules():
        handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name))]
    try:
        counted = count(network, shape)
    except Exception as error:
        where = f"module {inside[-1]!r}" if inside and inside[-1] else "the network's own forward"
        raise WorkFailed(
            f"the network cannot be traced: {where} fails on an input of {shape}",
            detail=(f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",),
            hint="check preprocessing.crop and model.options of the recipe",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return shapes, uses, counted


def _shape_of(module: nn.Module, taken: Tensor, given: Tensor) -> LayerShape:
    if isinstance(module, nn.Linear):
        between = tuple(taken.shape[1:-1])
        return LayerShape("linear", module.in_features, module.out_features, (), (), 1, between, between,
                          module.bias is not None)  # fmt: skip
    layer: Any = module
    kind: Literal["conv", "depthwise", "transposed"] = "transposed" if isinstance(module, TRANSPOSED) else "conv"
    if kind == "conv" and layer.groups == layer.in_channels == layer.out_channels and layer.groups > 1:
        kind = "depthwise"
    return LayerShape(kind, layer.in_channels, layer.out_channels, tuple(layer.kernel_size), tuple(layer.stride),
                      layer.groups, tuple(taken.shape[2:]), tuple(given.shape[2:]),
                      layer.bias is not None)  # fmt: skip


def _along_channels(module: nn.Module) -> int | None:
    if isinstance(module, NORMS):
        return int(module.num_features)
    if isinstance(module, nn.PReLU):
        return module.num_parameters if module.num_parameters > 1 else None
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return int(module.normalized_shape[0])
    return None


def _groups(
    network: nn.Module, shape: tuple[int, ...], shapes: Mapping[str, LayerShape], uses: Mapping[str, int]
) -> list[Group]:
    import torch_pruning as tp

    graph = tp.DependencyGraph()
    with quiet(), torch.enable_grad():
        try:
            graph.build_dependency(network, example_inputs=torch.zeros(shape))
        except Exception as error:
            reason = str(error).splitlines()[0][:200] if str(error) else ""
            raise WorkFailed(
                "the network cannot be traced: its output does not follow from its layers by differentiable operations",
                detail=(f"{type(error).__name__}: {reason}", *_last_layer(shapes)),
                hint="return tensors, or lists, tuples or mappings of them, and use no torch.no_grad() inside",
            ) from error
    names = {module: name for name, module in network.named_modules()}
    unseen = [name for name in shapes if network.get_submodule(name) not in graph.module2node]
    if unseen:
        raise WorkFailed(
            f"the network cannot be traced: module {unseen[0]!r} runs, but no gradient leads to it",
            detail=(f"{len(unseen)} such modules: {', '.join(unseen[:6])}",) if len(unseen) > 1 else (),
            hint="take torch.no_grad(), detach() and integer arithmetic behind it out of the forward pass",
        )
    found: list[Group] = []
    covered: dict[str, set[int]] = {}
    later: list[Group] = []
    for name, layer in shapes.items():
        module = network.get_submodule(name)
        if layer.kind == "depthwise" or len(covered.get(name, ())) == layer.outputs:
            continue
        prune = graph.get_pruner_of_module(module).prune_out_channels
        with quiet():
            group = graph.get_pruning_group(module, prune, list(range(layer.outputs)))
        made = _group(name, layer.outputs, group, graph, tp, names, shapes, uses)
        if _in_parts(made):
            later.append(made)
            continue
        found.append(made)
        for item in made.items:
            if item.role != "input":
                covered.setdefault(item.layer, set()).update(item.index)
    # A layer whose channels several groups share in parts is pruned by way of those; where they are not all of it,
    # its channels stay.
    for made in later:
        layer = shapes[made.name]
        if len(covered.get(made.name, ())) < layer.outputs:
            found.append(replace(made, prunable=False, why="its channels are shared in parts with several layers"))
    order = list(shapes)
    return sorted(found, key=lambda group: order.index(group.name))


def _last_layer(shapes: Mapping[str, LayerShape]) -> tuple[str, ...]:
    return (f"the last module that ran: {list(shapes)[-1]}",) if shapes else ()


def _in_parts(group: Group) -> bool:
    whole = set(range(group.channels))
    return any(set(item.root) != whole for item in group.items)


def _group(
    name: str,
    channels: int,
    found: Any,
    graph: Any,
    tp: Any,
    names: Mapping[nn.Module, str],
    shapes: Mapping[str, LayerShape],
    uses: Mapping[str, int],
) -> Group:
    """torch-pruning's group as facts."""
    items: list[Item] = []
    why = ""
    for entry in found.items:
        dep, index, root = entry.dep, tuple(entry.idxs), entry.root_idxs
        module = dep.target.module
        if dep.target.type == tp.ops.OPTYPE.OUTPUT:
            why = why or "its channels are the network's output"
            continue
        if dep.target.type == tp.ops.OPTYPE.PARAMETER:
            why = why or "a parameter outside of a layer goes with it"
            continue
        layer = names.get(module) if isinstance(module, nn.Module) else None
        if layer is None:
            continue  # torch-pruning's stand-ins for additions, concatenations and reshapes
        if root is None or any(place is None for place in root):
            why = why or f"how its channels reach {layer} cannot be told"
            continue
        shaped = shapes.get(layer)
        role: Role
        if shaped is not None and shaped.kind != "depthwise":
            into = graph.is_in_channel_pruning_fn(dep.handler) and not graph.is_out_channel_pruning_fn(dep.handler)
            role = "input" if into else "output"
        elif shaped is not None or _along_channels(module) is not None:
            role = "along"
        elif isinstance(module, nn.PReLU):
            continue  # one slope for all channels
        else:
            why = why or f"{layer} is a {type(module).__name__}, whose channels cannot be removed"
            continue
        if uses.get(layer, 1) > 1:
            why = why or f"{layer} is used {uses[layer]} times in the network"
        items.append(Item(layer, role, index, tuple(root)))
    each = [len(item.index) // channels * channels == len(item.index) for item in items]
    if not why and not all(each):
        why = "its channels are shared in parts"
    multiple, problem = _multiple(channels, items, shapes)
    if not why and problem:
        why = problem
    outputs = [i.layer for i in items if i.role == "output" or (i.role == "along" and i.layer in shapes)]
    inputs = [item.layer for item in items if item.role == "input"]
    if not why and not inputs:
        why = "its channels are the network's output: no layer reads them"
    order = list(shapes)
    return Group(
        name=name,
        channels=channels,
        outputs=tuple(sorted(dict.fromkeys(outputs), key=order.index)),
        inputs=tuple(sorted(dict.fromkeys(inputs), key=order.index)),
        prunable=not why,
        why=why,
        multiple=multiple,
        items=tuple(items),
    )


def _multiple(channels: int, items: Sequence[Item], shapes: Mapping[str, LayerShape]) -> tuple[int, str]:
    """How many channels go at once because of convolution groups, and what is wrong with that."""
    groups = {}
    for item in items:
        shape = shapes.get(item.layer)
        if shape is None or shape.kind == "depthwise" or shape.groups == 1:
            continue
        groups[item.layer] = shape.groups
        if item.index != item.root or len(item.index) != channels:
            return 1, f"only a part of the groups of {item.layer} goes with it"
    if not groups:
        return 1, ""
    if len(set(groups.values())) > 1:
        told = ", ".join(f"{layer} has {number}" for layer, number in groups.items())
        return 1, f"its convolutions have different numbers of groups: {told}"
    multiple = next(iter(groups.values()))
    if channels == multiple:
        return multiple, f"{next(iter(groups))} has one channel in each of its {multiple} groups"
    return multiple, ""


def _tried(network: nn.Module, structure: Structure) -> Structure:
    """Remove a little of every group and compare; what breaks, or computes something else, is not prunable."""
    candidates = [group for group in structure.groups if group.prunable and group.channels > group.multiple]
    groups = {group.name: group for group in structure.groups}
    for group in structure.groups:
        if group.prunable and group.channels <= group.multiple:
            groups[group.name] = replace(group, prunable=False, why="it has a single channel")
    structure = replace(structure, groups=tuple(groups.values()))
    if not candidates or _breaks(network, structure, candidates) is None:
        return structure
    for group in candidates:
        broken = _breaks(network, structure, [group])
        if broken is not None:
            groups[group.name] = replace(group, prunable=False, why=broken)
    return replace(structure, groups=tuple(groups.values()))


def _breaks(network: nn.Module, structure: Structure, groups: Sequence[Group]) -> str | None:
    """What goes wrong when a set of channels of each group is removed; None where nothing does."""
    from compressors.steps.prune.removal import silence, without

    channels = {}
    for group in groups:
        lane = group.channels // group.multiple
        channels[group.name] = [2 * lane // 3 + lane * number for number in range(group.multiple)]
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(structure.shape, generator=generator)
    with torch.no_grad(), quiet():
        try:
            pruned = _tensors(without(network, structure, channels)(sample))
        except Exception as error:
            reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
            return f"the network does not run without some of its channels ({reason})"
        plain = _tensors(network(sample))
        if [tensor.shape for tensor in pruned] != [tensor.shape for tensor in plain]:
            return "its channels are the network's output"
        switched_off = _tensors(silence(network, structure, channels)(sample))
    layers = {item.layer for group in groups for item in group.items}
    if any(isinstance(network.get_submodule(layer), nn.LayerNorm) for layer in layers):
        return None  # it normalises over the channels that are left, which is not the same as zeros
    for mine, other, before in zip(pruned, switched_off, plain, strict=True):
        span = float(before.abs().max()) if before.numel() else 0.0
        if float((mine - other).abs().max()) > SAME * max(span, 1e-6):
            return "without some of its channels the network computes something else (channels are mixed by place)"
    return None


def _tensors(output: Any) -> list[Tensor]:
    """All tensors of a network's output."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for part in output for tensor in _tensors(part)]
    return []


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
