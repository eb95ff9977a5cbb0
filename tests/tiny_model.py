"""A small real network as .tflite: exported by the same library the product exports with."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path


def write_tiny_tflite(path: Path, *, size: int = 32, channels: int = 8) -> Path:
    """Input 1 x size x size x 3 float32, output 1x10 float32; larger and wider takes longer."""
    import torch
    from torch import nn

    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        import litert_torch

        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, channels, 3, 2, 1),
            nn.ReLU6(),
            nn.Conv2d(channels, channels, 3, 1, 1, groups=channels),
            nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 10),
        ).eval()
        wrapped = litert_torch.to_channel_last_io(network, args=[0]).eval()
        litert_torch.convert(wrapped, (torch.randn(1, size, size, 3),)).export(str(path))
    return path
