"""One counter, so that every figure of this project means the same. The rules:

- MACs: multiply-accumulates of convolutions and matrix products (linear layers) of one forward pass on one sample.
  A convolution costs output elements x kernel area x input channels per group; a linear layer costs output elements
  x input features. Bias, batch norm, activations, pooling and additions cost nothing. One MAC is two FLOPs.
- Each layer is counted by a hook on its module; products a forward pass does outside such modules (``F.conv2d``,
  ``@``) are seen by torch's dispatcher and counted as ``elsewhere``, so nothing slips through.
- Parameters: elements of all parameters, batch norm's included, its running statistics not.
- Non-zeros: how many of these are not exactly 0.

They describe the network as it was trained. Folding batch norm on export changes none of the MACs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


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

    def hook(name: str) -> Any:
        def record(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            layers[name] = layers.get(name, 0) + _macs(module, inputs[0], output)

        return record

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
    handles = [
        module.register_forward_hook(hook(name)) for name, module in model.named_modules() if isinstance(module, kinds)
    ]
    training = model.training
    try:
        model.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as dispatched:
            model(torch.zeros(tuple(shape)))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    in_layers = sum(layers.values())
    elsewhere = max(0, dispatched.get_total_flops() // 2 - in_layers)
    return Count(
        macs=in_layers + elsewhere,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        nonzeros=sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters()),
        layers=layers,
        elsewhere=elsewhere,
    )


def _macs(module: nn.Module, taken: torch.Tensor, given: torch.Tensor) -> int:
    if isinstance(module, nn.Linear):
        return given.numel() * module.in_features
    weight: torch.Tensor = module.get_parameter("weight")
    # A transposed convolution spreads each input element over its kernel; a convolution gathers for each output.
    transposed = isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    return (taken if transposed else given).numel() * weight[0].numel()
