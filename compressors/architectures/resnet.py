"""ResNet-50 (He et al., 2016, arXiv:1512.03385) with torchvision's parameter names so its checkpoints load.

The stride of a stage is at its 3x3 convolution ("v1.5"), as torchvision and most published weights have it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # channels inside, blocks, stride of the first
EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and a shortcut that is projected where shapes differ."""

    def __init__(self, inputs: int, inside: int, stride: int) -> None:
        super().__init__()
        outputs = inside * EXPANSION
        self.conv1 = nn.Conv2d(inputs, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4 x inside, H/stride, W/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out + shortcut)
        return result


class ResNet50(nn.Module):
    """(N, 3, H, W) to (N, classes) logits; H and W should be multiples of 32."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, found {classes}")
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        stages: list[nn.Module] = []
        for inside, blocks, stride in STAGES:
            layers = []
            for index in range(blocks):
                layers.append(Bottleneck(channels, inside, stride if index == 0 else 1))
                channels = inside * EXPANSION
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) float32 to (N, classes) logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        pooled = nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        logits: Tensor = self.fc(pooled)
        return logits


def resnet50(classes: int = 1000) -> torch.nn.Module:
    """ResNet-50.

    Raises:
        ValueError: a number of classes that is not positive.
    """
    return ResNet50(classes=classes)
