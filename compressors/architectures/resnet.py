"""ResNets for ImageNet (He et al., 2016, arXiv:1512.03385) with torchvision's parameter names so its checkpoints load.

The stride of a bottleneck is at its 3x3 convolution ("v1.5"), as torchvision and most published weights have it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from compressors.architectures.mobilenetv2 import check_sizes

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels inside, stride of the first block


def projection(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """1x1 convolution and batch norm for a shortcut; None where shapes agree."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where shapes differ unless another one is given."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, inside: int, stride: int, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut or projection(inputs, inside, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, inside, H/stride, W/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out + shortcut)
        return result


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and a shortcut that is projected where shapes differ."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, inside: int, stride: int) -> None:
        super().__init__()
        outputs = inside * self.expansion
        self.conv1 = nn.Conv2d(inputs, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4 x inside, H/stride, W/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out + shortcut)
        return result


class ResNet(nn.Module):
    """(N, in_channels, H, W) to (N, classes) logits; H and W should be multiples of 32, of 8 for small inputs."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)
        channels = max(1, round(64 * width))
        kernel, stride, padding = (3, 1, 1) if small_input else (7, 2, 3)
        self.conv1 = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.Identity() if small_input else nn.MaxPool2d(3, 2, 1)
        stages: list[nn.Module] = []
        for (base, stride_of_first), repeats in zip(STAGES, blocks, strict=True):
            inside = max(1, round(base * width))
            layers: list[nn.Module] = []
            for index in range(repeats):
                layers.append(block(channels, inside, stride_of_first if index == 0 else 1))
                channels = inside * block.expansion
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) float32 to (N, classes) logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        pooled = nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        logits: Tensor = self.fc(pooled)
        return logits


def initialise(model: nn.Module) -> None:
    """He et al.'s normal weights for every convolution."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(
    classes: int = 1000, in_channels: int = 3, small_input: bool = False, width: float = 1.0
) -> torch.nn.Module:
    """ResNet-18.

    Args:
        classes: of the last layer.
        in_channels: of the image, 1 for grey.
        small_input: for images of about 32 pixels: a 3x3 stem that keeps their size, and no pooling after it.
        width: multiplies the channels.

    Raises:
        ValueError: a size that is not positive.
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), classes, in_channels, small_input, width)


def resnet34(
    classes: int = 1000, in_channels: int = 3, small_input: bool = False, width: float = 1.0
) -> torch.nn.Module:
    """ResNet-34; arguments and errors like :func:`resnet18`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), classes, in_channels, small_input, width)


def resnet50(
    classes: int = 1000, in_channels: int = 3, small_input: bool = False, width: float = 1.0
) -> torch.nn.Module:
    """ResNet-50; arguments and errors like :func:`resnet18`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes, in_channels, small_input, width)
