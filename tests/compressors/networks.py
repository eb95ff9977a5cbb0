"""Small networks that recipes of the tests name as ``tests.compressors.networks:FUNCTION``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """A stem, a depthwise and two pointwise convolutions, a classifier: every kind of layer a phone network has."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
            nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
            nn.Conv2d(32, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU6(),
        )
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.features(x).mean((2, 3), keepdim=True).flatten(1))
        return out


def small(channels: int = 384, classes: int = 10) -> nn.Module:
    return Small(channels, classes)


class WithSort(nn.Module):
    """Cannot be converted: its shape depends on its data."""

    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0].unique().unsqueeze(0)


class Functional(nn.Module):
    """Works outside modules, where hooks do not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(4, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.kernel)


def no_module() -> str:
    return "text"


def wants_even(channels: int) -> nn.Module:
    if channels % 2:
        raise ValueError("channels must be even")
    return nn.Conv2d(3, channels, 1)


def breaks(n: int) -> nn.Module:
    raise RuntimeError("no such size")


class Inverse(nn.Module):
    """A matrix inverse: no operator of TFLite or ONNX."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x.mean(1))


class Spectrum(nn.Module):
    """Complex numbers in between: none in TFLite."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.fft.fft2(x)).flatten(1)


class Branch(nn.Module):
    """Its course depends on its data: no graph can be drawn."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x + 1
        return x - 1


def behind(module: nn.Module) -> nn.Module:
    """A module behind an ordinary one, two levels down: called ``head.1``."""
    network = nn.Sequential()
    network.add_module("stem", nn.Conv2d(3, 3, 1))
    network.add_module("head", nn.Sequential(nn.ReLU(), module))
    return network.eval()


class Held(nn.Module):
    """In training it goes on only while no file ``hold`` is in its folder, and says there which process it is."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 10))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            (self.folder / f"{os.getpid()}.trains").touch()
            while (self.folder / "hold").exists():
                time.sleep(0.02)
        out: Tensor = self.layers(x)
        return out


def held(folder: str) -> nn.Module:
    return Held(folder)
