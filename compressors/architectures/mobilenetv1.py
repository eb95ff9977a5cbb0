"""MobileNetV1 (Howard et al., 2017, arXiv:1704.04861): a stem, 13 depthwise-separable blocks, one linear layer.

Parameter names are those of AMC's compressed models, so that these load: ``conv1.0`` is the stem's convolution and
``conv1.1`` its batch norm; block N (from 0) has ``features.N.0`` and ``.1`` depthwise, ``.3`` and ``.4`` pointwise;
``classifier.1`` is the linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from compressors.architectures.mobilenetv2 import check_sizes, round_channels

Activation = Literal["relu6", "relu"]

# (output channels, stride) of each block: table 1 of the paper. Its last block says stride 2 and means 1, as the
# sizes beside it and the authors' release have it.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


class MobileNetV1(nn.Module):
    """(N, in_channels, H, W) to (N, classes) logits; H and W should be multiples of 32, of 16 for small inputs."""

    def __init__(
        self,
        width: float = 1.0,
        classes: int = 1000,
        dropout: float = 0.001,
        channels: Sequence[int] | None = None,
        in_channels: int = 3,
        small_input: bool = False,
        activation: Activation = "relu6",
    ) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)
        widths = list(channels or (round_channels(base * width) for base in (32, *(base for base, _ in BLOCKS))))
        if len(widths) != 1 + len(BLOCKS) or min(widths) < 1:
            raise ValueError(f"channels must be {1 + len(BLOCKS)} numbers of 1 or more, the stem's first")
        if activation not in ("relu6", "relu"):
            raise ValueError(f"activation must be relu6 or relu, found {activation!r}")
        inputs = widths[0]
        self.conv1 = nn.Sequential(*_layers(in_channels, inputs, 3, 1 if small_input else 2, 1, activation))
        blocks: list[nn.Module] = []
        for outputs, (_, stride) in zip(widths[1:], BLOCKS, strict=True):
            depthwise = _layers(inputs, inputs, 3, stride, inputs, activation)
            blocks.append(nn.Sequential(*depthwise, *_layers(inputs, outputs, 1, 1, 1, activation)))
            inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) float32 to (N, classes) logits."""
        # Not mean((2, 3)): without the two axes of size 1 the exported file gets a TRANSPOSE of the largest features.
        pooled = nn.functional.adaptive_avg_pool2d(self.features(self.conv1(x)), (1, 1)).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def _layers(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int, activation: Activation
) -> list[nn.Module]:
    """A convolution, its batch norm and the activation; padded so that stride 1 keeps the size."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True) if activation == "relu6" else nn.ReLU(inplace=True),
    ]


def mobilenetv1(
    width: float = 1.0,
    classes: int = 1000,
    dropout: float = 0.001,
    channels: Sequence[int] | None = None,
    in_channels: int = 3,
    small_input: bool = False,
    activation: Activation = "relu6",
) -> torch.nn.Module:
    """MobileNetV1 with a width multiplier, or with the channels of each layer (a pruned one).

    Args:
        width: multiplies the paper's channels, rounded to multiples of 8; not used where ``channels`` are given.
        classes: of the last layer.
        dropout: before it.
        channels: of the stem and of each block's output, 14 numbers.
        in_channels: of the image, 1 for grey.
        small_input: for images of about 32 pixels: the stem keeps their size.
        activation: ReLU6 as the authors' release has it; AMC's networks were trained with ReLU.

    Raises:
        ValueError: a size that is not positive, not 14 channels, or another activation.
    """
    return MobileNetV1(width, classes, dropout, channels, in_channels, small_input, activation)
