"""Networks for 32x32 images: the ResNets of He et al. (2016, arXiv:1512.03385, section 4.2), and VGG-19.

Parameter names are those of Torch-Pruning's benchmarks, so their published checkpoints load: ``conv1``, ``bn1``,
``layer1.0.conv1``, ``layer2.0.downsample.0``, ``fc``; ``block0.0`` and ``classifier`` for VGG.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from compressors.architectures.mobilenetv2 import check_sizes
from compressors.architectures.resnet import BasicBlock, initialise

VGG19 = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)  # configuration E of arXiv:1409.1556


class PadShortcut(nn.Module):
    """The paper's option A: every second pixel, and zeros for the channels that the input lacks. No parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        before = self.more // 2
        kept = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(kept, (0, 0, 0, 0, before, self.more - before))


class CifarResNet(nn.Module):
    """(N, in_channels, H, W) to (N, classes) logits; three stages of (depth - 2) / 6 blocks."""

    def __init__(self, depth: int, classes: int, width: int, shortcut: Literal["A", "B"], in_channels: int) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)
        if shortcut not in ("A", "B"):
            raise ValueError(f"shortcut must be A or B, found {shortcut!r}")
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2, found {depth}")
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        stages: list[nn.Module] = []
        channels = width
        for inside, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            layers: list[nn.Module] = []
            for index in range((depth - 2) // 6):
                step = stride if index == 0 else 1
                padded = shortcut == "A" and (step > 1 or channels != inside)
                layers.append(
                    BasicBlock(channels, inside, step, PadShortcut(channels, inside, step) if padded else None)
                )
                channels = inside
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3 = stages
        self.fc = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) float32 to (N, classes) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
        pooled = nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        logits: Tensor = self.fc(pooled)
        return logits


def resnet20(
    classes: int = 10, width: int = 16, shortcut: Literal["A", "B"] = "B", in_channels: int = 3
) -> torch.nn.Module:
    """ResNet-20 for 32x32 images.

    Args:
        classes: of the last layer.
        width: channels of the first stage; the others have twice and four times as many.
        shortcut: ``A`` pads with zeros as the paper's CIFAR networks do (0.27 M parameters), ``B`` projects, as
            Torch-Pruning's do.
        in_channels: of the image, 1 for grey.

    Raises:
        ValueError: a size that is not positive, or another shortcut.
    """
    return CifarResNet(20, classes, width, shortcut, in_channels)


def resnet56(
    classes: int = 10, width: int = 16, shortcut: Literal["A", "B"] = "B", in_channels: int = 3
) -> torch.nn.Module:
    """ResNet-56 for 32x32 images; arguments and errors like :func:`resnet20`."""
    return CifarResNet(56, classes, width, shortcut, in_channels)


class CifarVgg19(nn.Module):
    """(N, in_channels, H, W) to (N, classes) logits; H and W of 32 are 4 where the last eight convolutions work."""

    def __init__(self, classes: int, width: float, in_channels: int) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)
        channels = in_channels
        blocks = []
        for sizes in VGG19:
            layers: list[nn.Module] = []
            for base in sizes:
                outputs = max(1, round(base * width))
                layers += [nn.Conv2d(channels, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
                channels = outputs
            blocks.append(nn.Sequential(*layers))
        self.block0, self.block1, self.block2, self.block3, self.block4 = blocks
        self.pool = nn.MaxPool2d(2, 2)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) float32 to (N, classes) logits."""
        for block in (self.block0, self.block1, self.block2):
            x = self.pool(block(x))
        x = self.block4(self.block3(x))
        pooled = nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def vgg19(classes: int = 100, width: float = 1.0, in_channels: int = 3) -> torch.nn.Module:
    """VGG-19 with batch norm for 32x32 images.

    Args:
        classes: of the last layer.
        width: multiplies the channels.
        in_channels: of the image, 1 for grey.

    Raises:
        ValueError: a size that is not positive.
    """
    return CifarVgg19(classes, width, in_channels)
