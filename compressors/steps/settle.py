"""Batch norm's statistics of a network that nobody trained.

As built they say mean 0 and variance 1, which nothing in the network has: activations fade or grow from layer to layer
until they are all zero, or infinite. The file of such a network compares equal to anything, and has no ranges to
quantize by.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SETTLED_ON = 4  # images: layers behind a global pooling have one value of each


def settle(model: nn.Module, images: Iterable[NDArray[np.float32]]) -> None:
    """Give every batch norm the mean and variance of what reaches it, in place; nothing else changes.

    Args:
        model: takes (N, C, H, W).
        images: (1, H, W, C) each, two at least.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    batch = torch.from_numpy(np.concatenate(list(images))).permute(0, 3, 1, 2).contiguous()
    before = [(norm.momentum, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        with torch.no_grad():
            model(batch)
    finally:
        for norm, (momentum, training) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.train(training)
