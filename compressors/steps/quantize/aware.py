"""Quantization-aware training: where fake quantization goes into a network, and what comes out of it.

What is rounded while learning is the convolution's weight with batch norm folded in, because that is what the file
holds, scale for scale (docs/decisions/0220-batch-norm-in-quantization-aware-training.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressors.quiet import quiet
from compressors.sections import Aware
from compressors.steps.quantize.fake import FakeQuantized
from pocketzoo.errors import WorkFailed

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
WEIGHTED = (*CONVOLUTIONS, nn.Linear)


@dataclass(frozen=True)
class Layer:
    """A layer with weights, in the order of execution: its module's name, and that of the batch norm right behind."""

    name: str
    norm: str | None


def layers(model: nn.Module, sample: Tensor) -> list[Layer]:
    """The layers whose input and weights are quantized, found in the exported graph, not guessed from names.

    Args:
        model: in evaluation mode; not changed.
        sample: (1, C, H, W).

    Raises:
        WorkFailed: the network cannot be exported, or uses a layer twice: one range cannot serve two places.
    """
    with quiet() as noise:
        try:
            program = torch.export.export(model, (sample,))
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise WorkFailed(
                "the network cannot be exported, so its layers cannot be told",
                detail=(reason.strip()[:300], *noise.tail(1)),
                hint="replace the operation named above in the network",
            ) from error
    parameters = program.graph_signature.inputs_to_parameters
    modules = dict(model.named_modules(remove_duplicate=False))
    found: list[Layer] = []
    for node in program.graph.nodes:
        owner = _owner(node, parameters)
        if owner is None or not isinstance(modules.get(owner), WEIGHTED):
            continue
        if any(layer.name == owner for layer in found):
            raise WorkFailed(
                f"layer {owner!r} is used twice in the network; one range cannot serve both places",
                hint="give each use a layer of its own",
            )
        users = list(node.users)
        norm = _owner(users[0], parameters) if len(users) == 1 and "batch_norm" in str(users[0].target) else None
        found.append(Layer(owner, norm if isinstance(modules.get(owner), CONVOLUTIONS) else None))
    if not found:
        raise WorkFailed("the network has no convolution or linear layer to quantize")
    return found


def _owner(node: Any, parameters: dict[str, str]) -> str | None:
    """The module whose weight a graph node uses as its second argument."""
    if node.op != "call_function" or len(node.args) < 2:
        return None
    weight = parameters.get(getattr(node.args[1], "name", ""))
    return weight.removesuffix(".weight") if weight is not None and weight.endswith(".weight") else None


def fold(model: nn.Module, found: list[Layer]) -> None:
    """Put every batch norm into the convolution before it; the network computes the same as before in evaluation."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    model.eval()
    for layer in found:
        if layer.norm is not None:
            convolution: Any = model.get_submodule(layer.name)
            norm: Any = model.get_submodule(layer.norm)
            transposed = isinstance(convolution, (nn.ConvTranspose1d, nn.ConvTranspose2d))
            model.set_submodule(layer.name, fuse_conv_bn_eval(convolution, norm, transpose=transposed))
            model.set_submodule(layer.norm, nn.Identity())


def prepare(model: nn.Module, sample: Tensor, how: Aware) -> list[str]:
    """Put fake quantization around every layer with weights and the batch norm right behind it, in place.

    Returns:
        The names of the layers, in the order of execution.
    """
    found = layers(model.eval(), sample)
    for layer in found:
        norm = model.get_submodule(layer.norm) if layer.norm is not None else None
        wrapped = FakeQuantized(model.get_submodule(layer.name), norm, how.weights, how.activations, how.bits)
        model.set_submodule(layer.name, wrapped)
        if layer.norm is not None:
            model.set_submodule(layer.norm, nn.Identity())
    return [layer.name for layer in found]


def dead_channels(model: nn.Module) -> int:
    """Output channels that never vary, and so have no weights any more."""
    return sum(module.dead for module in model.modules() if isinstance(module, FakeQuantized))


def ranges(model: nn.Module, names: list[str]) -> dict[str, tuple[float, float]]:
    """The learnt range of each layer's input; empty where activations are quantized while running."""
    wrapped = [(name, model.get_submodule(name)) for name in names]
    return {
        name: layer.input.range
        for name, layer in wrapped
        if isinstance(layer, FakeQuantized) and layer.input.kind != "abs_max"
    }


def deploy(model: nn.Module, names: list[str]) -> None:
    """Take fake quantization out again, in place: what is left is the float network to export."""
    for name in names:
        wrapped = model.get_submodule(name)
        if isinstance(wrapped, FakeQuantized):
            model.set_submodule(name, wrapped.deployed())
    model.eval()
