"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381), with torchvision's parameter names so its checkpoints load.

The classes and their order inside each Sequential fix the names: ``features.N.conv.M...`` and ``classifier.1...``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# (expansion, output channels, repeats, stride of the first): table 2 of the paper.
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def round_channels(channels: float, multiple: int = 8) -> int:
    """The nearest multiple, at least one of them, and never more than 10 % below ``channels``.

    Source: ``_make_divisible`` of the authors' release, which the published widths rely on.
    """
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * channels else rounded


class ConvBnRelu6(nn.Sequential):
    """Convolution without bias, batch norm, ReLU6; padded so that stride 1 keeps the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation; a shortcut where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = round(inputs * expansion)
        self.shortcut = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if expansion == 1 else [ConvBnRelu6(inputs, hidden, kernel=1)]
        layers += [
            ConvBnRelu6(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.shortcut else out


class MobileNetV2(nn.Module):
    """(N, 3, H, W) to (N, classes) logits; H and W should be multiples of 32."""

    def __init__(self, width: float = 1.0, classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        if width <= 0 or classes < 1:
            raise ValueError(f"width must be above 0 and classes at least 1, found {width} and {classes}")
        channels = round_channels(32 * width)
        layers: list[nn.Module] = [ConvBnRelu6(3, channels, stride=2)]
        for expansion, base, repeats, stride in BLOCKS:
            outputs = round_channels(base * width)
            for index in range(repeats):
                layers.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        # The last convolution never gets narrower than 1280: the paper keeps it for widths below 1.
        last = round_channels(1280 * max(1.0, width))
        layers.append(ConvBnRelu6(channels, last, kernel=1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) float32 to (N, classes) logits."""
        # Not mean((2, 3)): without the two axes of size 1 the exported file gets a TRANSPOSE of the largest features.
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)


def mobilenetv2(width: float = 1.0, classes: int = 1000, dropout: float = 0.2) -> torch.nn.Module:
    """MobileNetV2 with a width multiplier.

    Raises:
        ValueError: a width or number of classes that is not positive.
    """
    return MobileNetV2(width=width, classes=classes, dropout=dropout)
