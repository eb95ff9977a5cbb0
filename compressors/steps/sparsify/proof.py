"""The proof that zeros are zeros in the finished file, and what the file weighs raw and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.steps.quantize import graph
from pocketzoo.errors import WorkFailed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

LEVEL = 9


def prove(
    model: torch.nn.Module, shape: tuple[int, ...], layers: Sequence[str], exported: Path, made: Path
) -> dict[str, int]:
    """Hold every weight of the sparse layers against the finished file.

    Args:
        model: the network that was exported.
        shape: (1, C, H, W).
        layers: whose zeros are to be in the file.
        exported: its float file, which tells which operator computes which layer.
        made: the finished file: the same one, or what was quantized from it.

    Returns:
        ``weights`` and ``zeros`` of these layers in the finished file; ``file_weights`` and ``file_nonzeros`` of all
        its layers.

    Raises:
        WorkFailed: a weight that is zero in the network is not in the file, or the file has other layers.
    """
    from compressors.steps.quantize.layers import nodes_of

    nodes = nodes_of(model, shape, exported)
    before, after = graph.read(exported), graph.read(made)
    if len(before.weighted) != len(after.weighted):
        raise WorkFailed(
            f"the finished file has {len(after.weighted)} layers with weights, the float file {len(before.weighted)}",
            where=str(made),
            hint="run again with --debug, and report the network",
        )
    places = {node.outputs: number for number, node in enumerate(before.weighted)}
    total = zeros = 0
    for name in layers:
        node = nodes[name]
        wanted = weight_in(before, node, exported)
        found = weight_in(after, after.weighted[places[node.outputs]], made)
        lost = int(((wanted == 0) & (found != 0)).sum()) if wanted.shape == found.shape else wanted.size
        missing = int((model.get_submodule(name).get_parameter("weight") == 0).sum()) - int((wanted == 0).sum())
        if lost or missing > 0:
            raise WorkFailed(
                f"{max(lost, missing):,} weights of {name} are zero in the network and not in the file",
                where=str(made),
                hint="run again with --debug, and report the network",
            )
        total += found.size
        zeros += int((found == 0).sum())
    everything = [weight_in(after, node, made) for node in after.weighted]
    return {
        "weights": total,
        "zeros": zeros,
        "file_weights": sum(weight.size for weight in everything),
        "file_nonzeros": sum(int((weight != 0).sum()) for weight in everything),
    }


def weight_in(found: graph.Graph, node: graph.Node, where: Path) -> NDArray[np.generic]:
    """An operator's weight, 0 where it computes with 0.

    Raises:
        WorkFailed: it is no constant, or has a zero point other than 0.
    """
    name = graph.parts(node)[1]
    while found.tensors[name].constant is None and name in found.producers:
        producer = found.producers[name]
        if producer.operator not in ("DEQUANTIZE", "DENSIFY"):
            break
        name = producer.inputs[0]
    tensor = found.tensors[name]
    if tensor.constant is None:
        raise WorkFailed(f"the weight {name[:120]!r} is computed while running", where=str(where))
    if tensor.quantization is not None and any(tensor.quantization.zero_points):
        raise WorkFailed(f"the weight {name[:120]!r} has a zero point other than 0", where=str(where))
    return tensor.constant


def sizes(file: Path) -> dict[str, int]:
    """``bytes`` of a file, and its size compressed by zlib at its best level."""
    packer = zlib.compressobj(LEVEL)
    size = packed = 0
    with file.open("rb") as content:
        while piece := content.read(1 << 20):
            size += len(piece)
            packed += len(packer.compress(piece))
    return {"bytes": size, "zlib": packed + len(packer.flush())}
