"""Which channels a layer can do without, judged by its outputs, and the weights that make up for the others.

Two ways, both over a few points of each feature map:

- PocketFlow (He et al., 2017, arXiv:1707.06168): the layer's output is a sum of one contribution for each input
  channel; LASSO on a factor for each keeps those whose contribution is needed. The penalty is bisected until as many
  are left as asked for. 30 batches, 10 points of each image.
- AMC (He et al., 2018, arXiv:1802.03494): the input channels with the largest sum of |weight|. 60 batches of 50 images,
  10 points; only 1x1 convolutions and linear layers are rebuilt.

Least squares then gives the kept channels the weights whose outputs come nearest the original ones.

Everything is computed from second moments: with patches X (rows, inputs x area), outputs Y without bias (rows, outputs)
and weights W, the contributions' products are sums of ``X'X * W'W`` and ``X'Y * W'``, so a search gathers X'X and X'Y
once, whatever the number of candidates.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.steps.prune.regression import Lasso, Matrix, Moments, contributions, least_squares
from compressors.steps.prune.structure import Group, Structure
from pocketzoo.errors import BadInput, WorkFailed

Removed = dict[str, list[int]]  # group -> indices of the channels that go
How = Literal["lasso", "magnitude"]

POINTS = 10  # of each image
BATCHES = {"lasso": 30, "magnitude": 60}
WIDEST = 4608  # inputs x area: 512 channels of 3x3; its X'X takes 170 MB


def layers_of(model: nn.Module, structure: Structure, *, pointwise_only: bool) -> tuple[str, ...]:
    """The layers that read a prunable group and whose weights can be rebuilt: ungrouped convolutions, linear layers."""
    found = []
    for group in structure.groups:
        for name in group.inputs if group.prunable else ():
            layer: Any = model.get_submodule(name)
            if name in found or not isinstance(layer, (nn.Conv2d, nn.Linear)):
                continue
            if isinstance(layer, nn.Conv2d):
                plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
                if not plain or (pointwise_only and layer.kernel_size != (1, 1)):
                    continue
            if layer.weight[0].numel() <= WIDEST:
                found.append(name)
    return tuple(found)


def gather(
    model: nn.Module,
    layers: Sequence[str],
    batches: Iterable[Tensor],
    *,
    points: int = POINTS,
    seed: int = 0,
    target: nn.Module | None = None,
) -> dict[str, Moments]:
    """The moments of layers.

    Args:
        model: whose inputs are seen.
        layers: from :func:`layers_of`.
        batches: (n, C, H, W) inputs of the network.
        points: places of each feature map, drawn anew for each image and layer.
        seed: of the places.
        target: whose outputs are to be met; the model itself where left out. The original network here and one that
            is pruned so far as ``model`` make up for what pruning did before the layer.

    Raises:
        WorkFailed: an input or output that is not finite.
    """
    target = target or model
    patches: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    number = 0

    def places(layer: int, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng([seed, 0x10, layer, number])
        count, _, height, width = shape
        return tuple(torch.from_numpy(random.integers(0, side, (count, points))) for side in (height, width))  # type: ignore[return-value]

    def taking(index: int, name: str) -> Callable[..., None]:
        def take(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            patches[name] = (
                inputs[0].reshape(-1, inputs[0].shape[-1])
                if isinstance(layer, nn.Linear)
                else _patches(inputs[0], layer, *places(index, output.shape))
            )

        return take

    def giving(index: int, name: str) -> Callable[..., None]:
        def give(layer: Any, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(layer, nn.Linear):
                rows = output.reshape(-1, output.shape[-1])
            else:
                tops, lefts = places(index, output.shape)
                rows = output[torch.arange(len(output))[:, None], :, tops, lefts].flatten(0, 1)
            outputs[name] = rows if layer.bias is None else rows - layer.bias

        return give

    # The places are drawn inside the hooks: whole feature maps of all layers would take gigabytes.
    handles = [model.get_submodule(name).register_forward_hook(taking(n, name)) for n, name in enumerate(layers)]
    handles += [target.get_submodule(name).register_forward_hook(giving(n, name)) for n, name in enumerate(layers)]
    found: dict[str, Moments] = {}
    model.eval()
    target.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                model(batch)
                if target is not model:
                    target(batch)
                for name in layers:
                    _add(found, name, model.get_submodule(name), patches.pop(name), outputs.pop(name))
                number += 1
    finally:
        for handle in handles:
            handle.remove()
    if len(found) != len(layers):
        raise WorkFailed("no images to rebuild layers from")
    for name, moments in found.items():
        if not (np.isfinite(moments.xx).all() and np.isfinite(moments.xy).all()):
            raise WorkFailed(f"the inputs or outputs of {name} are not finite numbers")
    return found


def _add(found: dict[str, Moments], name: str, layer: Any, x: Tensor, y: Tensor) -> None:
    x64, y64 = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
    if name not in found:
        area = int(np.prod(getattr(layer, "kernel_size", (1,))))
        found[name] = Moments(
            x.shape[1] // area, area, y.shape[1], np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1], y.shape[1]))
        )
    found[name].xx += x64.T @ x64
    found[name].xy += x64.T @ y64
    found[name].rows += len(x)


def _patches(taken: Tensor, layer: nn.Conv2d, tops: Tensor, lefts: Tensor) -> Tensor:
    """(images x points, inputs x area): what the convolution sees at these places of its output."""
    down, right = (int(side) for side in layer.padding)
    padded = nn.functional.pad(taken, (right, right, down, down))
    rows = (tops * layer.stride[0])[..., None] + torch.arange(layer.kernel_size[0]) * layer.dilation[0]
    columns = (lefts * layer.stride[1])[..., None] + torch.arange(layer.kernel_size[1]) * layer.dilation[1]
    images = torch.arange(len(taken))[:, None, None, None]
    cut = padded[images, :, rows[..., :, None], columns[..., None, :]]  # (images, points, kh, kw, inputs)
    return cut.permute(0, 1, 4, 2, 3).flatten(2).flatten(0, 1)


class Chooser:
    """Which channels go, for any counts: judged by the first layer that reads a group, as AMC and PocketFlow do.

    Args:
        model: the network.
        structure: of it.
        how: see the module.
        moments: of its layers, for ``lasso``.
        only: the one group that is asked for, where it is one.

    Raises:
        WorkFailed: with ``lasso``, a group that no layer with moments reads.
    """

    def __init__(
        self,
        model: nn.Module,
        structure: Structure,
        how: How,
        moments: Mapping[str, Moments] | None = None,
        only: str | None = None,
    ) -> None:
        self._groups = {group.name: group for group in structure.prunable if only in (None, group.name)}
        self._lasso: dict[str, Lasso] = {}
        self._order: dict[str, NDArray[np.int64]] = {}
        self._lanes = {name: _lanes(group) for name, group in self._groups.items()}
        for name, group in self._groups.items():
            reader, lanes = _reader(group, moments if how == "lasso" else None), self._lanes[name]
            into = np.zeros((_sides(model, reader), lanes.max() + 1))
            for item in group.items:
                if item.layer == reader and item.role == "input":
                    into[list(item.index), lanes[list(item.root)]] = 1
            weight = model.get_submodule(reader).get_parameter("weight")
            if how == "lasso" and moments is not None:
                gram, products = contributions(moments[reader], weight)
                self._lasso[name] = Lasso(into.T @ gram @ into, into.T @ products)
            else:
                sums = _input_sums(model.get_submodule(reader), weight) @ into
                self._order[name] = np.argsort(-sums, kind="stable")

    def removed(self, kept: Mapping[str, int]) -> Removed:
        """Group -> channels that go, ascending; groups that stay whole are left out."""
        gone: Removed = {}
        for name, count in kept.items():
            group, lanes = self._groups.get(name), self._lanes.get(name)
            if group is None or lanes is None:
                raise BadInput(f"no prunable group {name!r}")
            if count >= group.channels:
                continue
            left = count // group.multiple
            chosen = self._lasso[name].choose(left) if name in self._lasso else self._order[name][:left]
            gone[name] = np.flatnonzero(~np.isin(lanes, chosen)).tolist()
        return gone


def _lanes(group: Group) -> NDArray[np.int64]:
    """(channels,): channels with the same number can only go together."""
    return np.arange(group.channels) % (group.channels // group.multiple)


def _reader(group: Group, moments: Mapping[str, Moments] | None) -> str:
    readers = [name for name in group.inputs if moments is None or name in moments]
    if not readers:
        raise WorkFailed(
            f"no layer that reads {group.name} can be rebuilt",
            detail=(f"readers: {', '.join(group.inputs)}",),
            hint=f"keep {group.name}, or another criterion",
        )
    return readers[0]


def _sides(model: nn.Module, name: str) -> int:
    layer: Any = model.get_submodule(name)
    return int(layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels)


def _input_sums(layer: nn.Module, weight: Tensor) -> Matrix:
    """Sum of |weight| over all that reads each input channel: (inputs,)."""
    absolute = weight.detach().abs().double()
    groups, transposed = getattr(layer, "groups", 1), getattr(layer, "transposed", False)
    if transposed:
        return np.asarray(absolute.flatten(1).sum(1).numpy())
    parts = [part.transpose(0, 1).flatten(1).sum(1) for part in absolute.chunk(groups)]
    return np.asarray(torch.cat(parts).numpy())


class Solved:
    """Rebuilt weights that were computed already, by layer and kept inputs: a search that settles asks again and again.

    The oldest are forgotten beyond ``limit`` bytes.
    """

    def __init__(self, limit: int = 1 << 28) -> None:
        self.limit, self.held = limit, 0
        self._weights: OrderedDict[tuple[str, bytes], Tensor] = OrderedDict()

    def __call__(self, name: str, moments: Moments, kept: NDArray[np.int64], weight: Tensor) -> Tensor:
        """As :func:`least_squares`, in the weight's type, for the layer ``name``."""
        key = (name, kept.tobytes())
        if key not in self._weights:
            solved = torch.from_numpy(least_squares(moments, kept, weight)).to(weight.dtype)
            self._weights[key] = solved
            self.held += solved.nbytes
        self._weights.move_to_end(key)
        found = self._weights[key]
        while self.held > self.limit and len(self._weights) > 1:
            self.held -= self._weights.popitem(last=False)[1].nbytes
        return found


def rebuilt(
    model: nn.Module,
    structure: Structure,
    removed: Mapping[str, Sequence[int]],
    moments: Mapping[str, Moments],
    solve: Solved | None = None,
) -> nn.Module:
    """A copy of a network, of the same size, whose layers make up for channels that are about to go.

    Args:
        model: not changed.
        structure: of it.
        removed: group -> channels.
        moments: of the layers to rebuild; others stay as they are.
        solve: remembers what was computed for this network before.
    """
    from compressors.steps.prune.removal import dropped

    inputs, _ = dropped(structure, {name: list(gone) for name, gone in removed.items()})
    made = copy.deepcopy(model)
    solve = solve or Solved()
    with torch.no_grad():
        for name, gone in inputs.items():
            if name not in moments:
                continue
            weight = made.get_submodule(name).get_parameter("weight")
            kept = np.array([index for index in range(moments[name].inputs) if index not in gone])
            solved = solve(name, moments[name], kept, weight)
            weight[:, torch.from_numpy(kept)] = solved.reshape(weight.shape[0], len(kept), *weight.shape[2:])
    return made
