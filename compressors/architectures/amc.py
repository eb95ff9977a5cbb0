"""The three networks AMC's authors published (He et al., 2018, arXiv:1802.03494): channels their agent kept.

Source of the channels: the authors' compressed models. By the counter of this project they come to 293.9, 274.0 and
210.6 million MACs; the authors' table says 285, 272 and 210. MobileNetV1 has ReLU there, not ReLU6.
"""

from __future__ import annotations

import torch

from compressors.architectures.mobilenetv1 import mobilenetv1
from compressors.architectures.mobilenetv2 import mobilenetv2

# MobileNetV1: the stem, then the output of each block.
HALF_FLOPS = (24, 48, 96, 80, 192, 200, 328, 352, 368, 360, 328, 400, 736, 752)
HALF_TIME = (16, 48, 88, 80, 192, 168, 336, 360, 360, 352, 352, 368, 768, 680)
# MobileNetV2: the stem, the first block, (expanded, output) of the others, the last convolution.
# fmt: off
V2_70_FLOPS = (
    24, 16,
    72, 24, 104, 24,
    104, 32, 136, 32, 136, 32,
    136, 64, 272, 64, 272, 64, 272, 64,
    272, 96, 408, 96, 400, 96,
    400, 160, 712, 160, 720, 160,
    712, 248,
    848,
)
# fmt: on


def mobilenetv1_half_flops(
    classes: int = 1000, dropout: float = 0.2, in_channels: int = 3, small_input: bool = False
) -> torch.nn.Module:
    """MobileNetV1 at half of its FLOPs; the arguments are :func:`mobilenetv1`'s.

    Raises:
        ValueError: a number of classes or channels that is not positive.
    """
    return mobilenetv1(1.0, classes, dropout, HALF_FLOPS, in_channels, small_input, "relu")


def mobilenetv1_half_time(
    classes: int = 1000, dropout: float = 0.2, in_channels: int = 3, small_input: bool = False
) -> torch.nn.Module:
    """MobileNetV1 at half of its time on a phone; the arguments are :func:`mobilenetv1`'s.

    Raises:
        ValueError: a number of classes or channels that is not positive.
    """
    return mobilenetv1(1.0, classes, dropout, HALF_TIME, in_channels, small_input, "relu")


def mobilenetv2_70_flops(
    classes: int = 1000, dropout: float = 0.2, in_channels: int = 3, small_input: bool = False
) -> torch.nn.Module:
    """MobileNetV2 at 70 % of its FLOPs; the arguments are :func:`mobilenetv2`'s.

    Raises:
        ValueError: a number of classes or channels that is not positive.
    """
    return mobilenetv2(1.0, classes, dropout, V2_70_FLOPS, in_channels, small_input)
