"""One counter, so that every figure of this project means the same. The rules:

- MACs: multiply-accumulates of convolutions and matrix products (linear layers) of one forward pass on one sample.
  A convolution costs output elements x kernel area x input channels per group; a linear layer costs output elements
  x input features. Bias, batch norm, activations, pooling and additions cost nothing. One MAC is two FLOPs.
- Each layer is counted by a hook on its module; products a forward pass does outside such modules (``F.conv2d``,
  ``@``) are seen by torch's dispatcher and counted as ``elsewhere``, so nothing slips through.
- Parameters: elements of all parameters, batch norm's included, its running statistics not.
- Non-zeros: how many of these are not exactly 0.

These describe the network as it was trained. :func:`file_macs` counts the exported file by the same rules, from the
shapes of its operators: folding batch norm changes none of the MACs and quantization neither, so both figures agree
wherever export and every later step left the structure alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compressors.observing import observing
from zoo.tflite import Operator, TfliteFacts


@dataclass(frozen=True)
class Count:
    """What :func:`count` found. ``layers`` maps module names to MACs, in the order of execution."""

    macs: int
    parameters: int
    nonzeros: int
    layers: dict[str, int]
    elsewhere: int


def count(model: nn.Module, shape: Sequence[int]) -> Count:
    """Count a network.

    Args:
        model: the network; put into evaluation mode for the count and left as it was.
        shape: of one sample with a leading 1, e.g. (1, 3, 224, 224).
    """
    layers: dict[str, int] = {}

    def record(name: str, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        layers[name] = layers.get(name, 0) + _macs(module, inputs[0], output)

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
    counted = ((name, module) for name, module in model.named_modules() if isinstance(module, kinds))
    training = model.training
    try:
        model.eval()
        with torch.no_grad(), observing(counted, record), FlopCounterMode(display=False) as dispatched:
            model(torch.zeros(tuple(shape)))
    finally:
        model.train(training)
    in_layers = sum(layers.values())
    elsewhere = max(0, dispatched.get_total_flops() // 2 - in_layers)
    return Count(
        macs=in_layers + elsewhere,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        nonzeros=nonzeros(model),
        layers=layers,
        elsewhere=elsewhere,
    )


def nonzeros(model: nn.Module) -> int:
    """How many elements of its parameters are not exactly 0."""
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def _macs(module: nn.Module, taken: torch.Tensor, given: torch.Tensor) -> int:
    if isinstance(module, nn.Linear):
        return given.numel() * module.in_features
    weight: torch.Tensor = module.get_parameter("weight")
    # A transposed convolution spreads each input element over its kernel; a convolution gathers for each output.
    transposed = isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    return (taken if transposed else given).numel() * weight[0].numel()


def file_macs(facts: TfliteFacts) -> int | None:
    """The MACs of one run of a .tflite file, by the rules at the top.

    Args:
        facts: of :func:`zoo.tflite.inspect`; the operators of all its graphs are counted once each.

    Returns:
        None where an operator that multiplies has a shape that is only known at run time.
    """
    each = [_operator_macs(operator) for operator in facts.operators]
    known = [macs for macs in each if macs is not None]
    return sum(known) if len(known) == len(each) else None


def _operator_macs(operator: Operator) -> int | None:
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D",
                             "BATCH_MATMUL"):  # fmt: skip
        return 0
    shapes = (*operator.input_shapes, *operator.output_shapes)
    if any(size < 0 for shape in shapes for size in shape):
        return None
    given = math.prod(operator.output_shapes[0])
    if operator.name == "TRANSPOSE_CONV":  # its inputs: the output's shape, weights (O, H, W, I), what it works on
        weights = operator.input_shapes[1]
        return math.prod(operator.input_shapes[2]) * math.prod(weights[:3])
    weights = operator.input_shapes[1]
    if operator.name == "CONV_2D":  # weights (O, H, W, inputs of a group)
        return given * math.prod(weights[1:])
    if operator.name == "DEPTHWISE_CONV_2D":  # (1, H, W, O)
        return given * math.prod(weights[1:3])
    if operator.name == "CONV_3D":  # (D, H, W, inputs of a group, O)
        return given * math.prod(weights[:4])
    # Fully connected and batches of matrices: each output element sums over the last axis of the first input.
    summed = weights[-1] if operator.name == "FULLY_CONNECTED" else operator.input_shapes[0][-1]
    return given * summed
