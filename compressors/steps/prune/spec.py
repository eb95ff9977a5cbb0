"""A pruned network as a file: the channels of each layer as JSON beside the weights as safetensors. No pickle.

    {"version": 1, "layers": {"conv1.0": [3, 24, 1], "features.0.0": [24, 24, 24], ...}}

Each layer that has channels is there with (inputs, outputs, groups). :func:`reshape` shrinks a network fresh from its
factory to that, whatever architecture it is; weights are loaded afterwards. A spec is input: it can only shrink.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressors.steps.prune.layers import ALONG, WEIGHTED
from compressors.steps.prune.removal import shrink, sides
from pocketzoo.errors import BadInput

VERSION = 1
LARGEST = 1 << 20  # bytes of a spec: ten times that of the largest network here

Spec = dict[str, tuple[int, int, int]]


def spec_of(model: nn.Module) -> Spec:
    """Layer -> (inputs, outputs, groups) of every layer that has channels; groups are 1 where there are none."""
    found: Spec = {}
    for name, module in model.named_modules():
        if isinstance(module, (*WEIGHTED, *ALONG)):
            layer: Any = module
            found[name] = (*sides(module), getattr(layer, "groups", 1))
    return found


def reshape(model: nn.Module, spec: Mapping[str, tuple[int, int, int]]) -> nn.Module:
    """A copy of a network with the channels a spec says; of each layer the first ones stay, so load weights after it.

    Args:
        model: as its factory makes it; not changed.
        spec: of :func:`spec_of` for a network pruned from it.

    Raises:
        BadInput: a layer that the network lacks, or more channels than it has, or groups that do not fit.
    """
    shrunk = copy.deepcopy(model)
    own = spec_of(shrunk)
    if set(own) != set(spec):
        missing, more = sorted(set(own) - set(spec)), sorted(set(spec) - set(own))
        raise BadInput(
            "the channel spec is of another network",
            detail=(f"without {missing[0]}" if missing else f"with {more[0]}, which this network lacks",),
            hint="check model.architecture and model.options of the recipe",
        )
    for name, (inputs, outputs, groups) in spec.items():
        now = own[name]
        depthwise = now[2] > 1 and now[0] == now[1] == now[2]
        fits = groups == (outputs if depthwise else now[2]) and inputs % groups == 0 and outputs % groups == 0
        if not (1 <= inputs <= now[0] and 1 <= outputs <= now[1] and fits) or (depthwise and inputs != outputs):
            raise BadInput(
                f"the channel spec gives {name} {inputs} inputs, {outputs} outputs and {groups} groups; "
                f"the network has {now[0]}, {now[1]} and {now[2]}",
                hint="a spec can only take channels away",
            )
        if (inputs, outputs) != now[:2]:
            layer = shrunk.get_submodule(name)
            shrink(layer, _first(inputs, now[0], now[2]), _first(outputs, now[1], now[2] if not depthwise else 1))
    return shrunk


def _first(number: int, of: int, groups: int) -> torch.Tensor | None:
    """The first channels of every convolution group."""
    if number == of:
        return None
    each, lane = number // groups, of // groups
    return torch.tensor([place + lane * group for group in range(groups) for place in range(each)])


def write_spec(model: nn.Module, path: Path) -> None:
    """Write a network's spec: the same network gives the same bytes."""
    layers = {name: list(channels) for name, channels in spec_of(model).items()}
    path.write_text(json.dumps({"version": VERSION, "layers": layers}, indent=0) + "\n")


def read_spec(path: Path) -> Spec:
    """Read a spec; nothing in it is believed before :func:`reshape` has held it against a network.

    Raises:
        BadInput: no file, too large, or not a spec.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput("a channel spec this large is none", where=str(path))
        document = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput("the channel spec cannot be read", where=str(path), detail=(str(error)[:200],)) from error
    layers = document.get("layers") if isinstance(document, dict) else None
    if not isinstance(layers, dict) or document.get("version") != VERSION:
        raise BadInput("not a channel spec of this version", where=str(path), hint=f"version {VERSION} is known")
    found: Spec = {}
    for name, row in layers.items():
        if not isinstance(row, list) or len(row) != 3 or any(type(n) is not int or n < 1 for n in row):
            raise BadInput(f"{str(name)[:80]!r} needs three whole numbers: inputs, outputs, groups", where=str(path))
        found[name] = (row[0], row[1], row[2])
    return found
