"""From a network to its :class:`~.structure.Structure`: torch-pruning's dependency graph, held against the network.

What torch-pruning 1.6.1 gets wrong or leaves out in silence is dealt with here and nowhere else: groups that end at
the network's output, channels that are shared in parts, convolution groups, layers it cannot shrink, layers it did
not see. A trial removal from every group is compared with the same channels switched off, so that a group whose
removal would break the network, or quietly compute something else (a channel shuffle), is known before anything
relies on it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compressors.counting import Count, count
from compressors.quiet import quiet
from compressors.steps.prune.layers import ALONG, TRANSPOSED, WEIGHTED, along_channels
from compressors.steps.prune.removal import silence, without
from compressors.steps.prune.structure import Group, Item, LayerShape, Role, Structure
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.names import did_you_mean

SAME = 1e-3  # of the outputs' range: float32 sums in another order differ by less, a wrong channel by far more


def traced(model: nn.Module, shape: Sequence[int], keep: Sequence[str]) -> Structure:
    """See :func:`compressors.steps.prune.structure.trace`."""
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
            channels = along_channels(module)
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
        item, problem = _item(entry, graph, tp, names, shapes)
        if item is not None:
            items.append(item)
            if uses.get(item.layer, 1) > 1:
                problem = f"{item.layer} is used {uses[item.layer]} times in the network"
        why = why or problem
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


def _item(
    entry: Any, graph: Any, tp: Any, names: Mapping[nn.Module, str], shapes: Mapping[str, LayerShape]
) -> tuple[Item | None, str]:
    """One dependency as a fact, or why its group cannot be pruned."""
    dep, root = entry.dep, entry.root_idxs
    module = dep.target.module
    if dep.target.type == tp.ops.OPTYPE.OUTPUT:
        return None, "its channels are the network's output"
    if dep.target.type == tp.ops.OPTYPE.PARAMETER:
        return None, "a parameter outside of a layer goes with it"
    layer = names.get(module) if isinstance(module, nn.Module) else None
    if layer is None or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
        return None, ""  # torch-pruning's stand-ins for additions, concatenations and reshapes; one slope for all
    if root is None or any(place is None for place in root):
        return None, f"how its channels reach {layer} cannot be told"
    shaped = shapes.get(layer)
    role: Role
    if shaped is not None and shaped.kind != "depthwise":
        into = graph.is_in_channel_pruning_fn(dep.handler) and not graph.is_out_channel_pruning_fn(dep.handler)
        role = "input" if into else "output"
    elif shaped is not None or along_channels(module) is not None:
        role = "along"
    else:
        return None, f"{layer} is a {type(module).__name__}, whose channels cannot be removed"
    return Item(layer, role, tuple(entry.idxs), tuple(root)), ""


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
