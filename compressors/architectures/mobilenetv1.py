"""MobileNetV1 (Howard et al., 2017, arXiv:1704.04861): a stem, 13 depthwise-separable blocks, one linear layer.

Parameter names: ``features.0`` is the stem, ``features.N.0`` and ``features.N.1`` the depthwise and pointwise
convolutions of block N, each with ``.0`` the convolution and ``.1`` its batch norm; ``classifier.1`` the linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compressors.architectures.mobilenetv2 import ConvBnRelu6, check_sizes, round_channels

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
    ) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)
        widths = list(channels or (round_channels(base * width) for base in (32, *(base for base, _ in BLOCKS))))
        if len(widths) != 1 + len(BLOCKS) or min(widths) < 1:
            raise ValueError(f"channels must be {1 + len(BLOCKS)} numbers of 1 or more, the stem's first")
        inputs = widths[0]
        layers: list[nn.Module] = [ConvBnRelu6(in_channels, inputs, stride=1 if small_input else 2)]
        for outputs, (_, stride) in zip(widths[1:], BLOCKS, strict=True):
            layers.append(
                nn.Sequential(
                    ConvBnRelu6(inputs, inputs, stride=stride, groups=inputs),
                    ConvBnRelu6(inputs, outputs, kernel=1),
                )
            )
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) float32 to (N, classes) logits."""
        # Not mean((2, 3)): without the two axes of size 1 the exported file gets a TRANSPOSE of the largest features.
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def mobilenetv1(
    width: float = 1.0,
    classes: int = 1000,
    dropout: float = 0.001,
    channels: Sequence[int] | None = None,
    in_channels: int = 3,
    small_input: bool = False,
) -> torch.nn.Module:
    """MobileNetV1 with a width multiplier, or with the channels of each layer (a pruned one).

    Args:
        width: multiplies the paper's channels, rounded to multiples of 8; not used where ``channels`` are given.
        classes: of the last layer.
        dropout: before it.
        channels: of the stem and of each block's output, 14 numbers.
        in_channels: of the image, 1 for grey.
        small_input: for images of about 32 pixels: the stem keeps their size.

    Raises:
        ValueError: a size that is not positive, or not 14 channels.
    """
    return MobileNetV1(width, classes, dropout, channels, in_channels, small_input)
