"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381), with torchvision's parameter names so its checkpoints load.

The classes and their order inside each Sequential fix the names: ``features.N.conv.M...`` and ``classifier.1...``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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


def check_sizes(*, classes: int, in_channels: int, width: float = 1.0) -> None:
    """What every factory asks of its numbers.

    Raises:
        ValueError: one that is not positive.
    """
    if width <= 0 or classes < 1 or in_channels < 1:
        raise ValueError(
            f"width must be above 0, classes and in_channels at least 1, found {width}, {classes} and {in_channels}"
        )


class ConvBnRelu6(nn.Sequential):
    """Convolution without bias, batch norm, ReLU6 or another activation; padded so that stride 1 keeps the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU6,
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            activation(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Expand 1x1 to ``hidden``, depthwise 3x3, project 1x1 without activation; a shortcut where shapes allow it.

    ``hidden`` None: the depthwise convolution takes the input as it is.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        hidden: int | None,
        activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU6,
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if hidden is not None:
            layers.append(ConvBnRelu6(inputs, hidden, kernel=1, activation=activation))
        inside = inputs if hidden is None else hidden
        layers += [
            ConvBnRelu6(inside, inside, stride=stride, groups=inside, activation=activation),
            nn.Conv2d(inside, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.shortcut else out


def published_channels(width: float) -> list[int]:
    """The channels of a width: the stem's, the first block's output, (expanded, output) of each other, the last's."""
    outputs = [round_channels(base * width) for _, base, repeats, _ in BLOCKS for _ in range(repeats)]
    expansions = [expansion for expansion, _, repeats, _ in BLOCKS for _ in range(repeats)]
    found = [round_channels(32 * width), outputs[0]]
    for expansion, before, after in zip(expansions[1:], outputs, outputs[1:], strict=False):
        found += [expansion * before, after]
    # The last convolution never gets narrower than 1280: the paper keeps it for widths below 1.
    return [*found, round_channels(1280 * max(1.0, width))]


class MobileNetV2(nn.Module):
    """(N, in_channels, H, W) to (N, classes) logits; H and W should be multiples of 32, of 16 for small inputs."""

    def __init__(
        self,
        width: float = 1.0,
        classes: int = 1000,
        dropout: float = 0.2,
        channels: Sequence[int] | None = None,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)
        strides = [stride if index == 0 else 1 for *_, repeats, stride in BLOCKS for index in range(repeats)]
        sizes = list(channels) if channels else published_channels(width)
        if len(sizes) != 2 * len(strides) + 1 or min(sizes) < 1:
            raise ValueError(
                f"channels must be {2 * len(strides) + 1} numbers of 1 or more: the stem's, the first block's output, "
                "expanded and output of each other block, the last convolution's"
            )
        stem, inputs, *pairs, last = sizes
        layers: list[nn.Module] = [ConvBnRelu6(in_channels, stem, stride=1 if small_input else 2)]
        layers.append(InvertedResidual(stem, inputs, strides[0], None))
        for hidden, outputs, stride in zip(pairs[::2], pairs[1::2], strides[1:], strict=True):
            layers.append(InvertedResidual(inputs, outputs, stride, hidden))
            inputs = outputs
        layers.append(ConvBnRelu6(inputs, last, kernel=1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) float32 to (N, classes) logits."""
        # Not mean((2, 3)): without the two axes of size 1 the exported file gets a TRANSPOSE of the largest features.
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def from_flat_names(name: str) -> str:
    """torchvision's name for one of a checkpoint whose blocks are flat, as AMC's and many older ones are.

    There ``features.N.conv`` is one row of layers: convolution, batch norm, activation and so on, activations counted.
    Names of other networks come back as they are.
    """
    found = re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(.+)", name)
    if found is None:
        return name
    block, place, rest = int(found[1]), int(found[2]), found[3]
    groups = 1 if block == 1 else 2  # of convolution, batch norm and activation; the projection has no activation
    where = f"{place // 3}.{place % 3}" if place < 3 * groups else f"{place - 2 * groups}"
    return f"features.{block}.conv.{where}.{rest}"


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)


def mobilenetv2(
    width: float = 1.0,
    classes: int = 1000,
    dropout: float = 0.2,
    channels: Sequence[int] | None = None,
    in_channels: int = 3,
    small_input: bool = False,
) -> torch.nn.Module:
    """MobileNetV2 with a width multiplier, or with the channels of each layer (a pruned one).

    Args:
        width: multiplies the paper's channels, rounded to multiples of 8; not used where ``channels`` are given.
        classes: of the last layer.
        dropout: before it.
        channels: 35 numbers in the order of :func:`published_channels`.
        in_channels: of the image, 1 for grey.
        small_input: for images of about 32 pixels: the stem keeps their size.

    Raises:
        ValueError: a size that is not positive, or not 35 channels.
    """
    return MobileNetV2(width, classes, dropout, channels, in_channels, small_input)
