"""DeepLabv3 on MobileNetV2 (Chen et al., 2017, arXiv:1706.05587; Sandler et al., 2018, section 6.3).

PaddleX's DeepLabv3-MobileNetv2 of 7.4 MB has neither the pyramid (ASPP) nor a decoder: MobileNetV2 at an output stride
of 16 without its last convolution, one 1x1 convolution to the classes, and bilinear upsampling. Both parts can be had
by option. Parameter names of the backbone are torchvision's (``backbone.features.N...``).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from compressors.architectures.enlarging import enlarged
from compressors.architectures.mobilenetv2 import ConvBnRelu6, MobileNetV2, check_sizes

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}  # of the pyramid's dilated convolutions, by output stride
INSIDE = 256
LOW_LEVEL = 3  # the last block of stride 4, whose features the decoder takes


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1, each with batch norm and ReLU6."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, 1, dilation, dilation, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the image's mean, concatenated and mixed."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvBnRelu6(inputs, outputs, kernel=1))
        self.branches = nn.ModuleList(
            [ConvBnRelu6(inputs, outputs, kernel=1), *(SeparableConv(inputs, outputs, rate) for rate in rates)]
        )
        self.mixed = nn.Sequential(ConvBnRelu6((2 + len(rates)) * outputs, outputs, kernel=1), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        # Not expand(): its BROADCAST_TO keeps the order of axes of torch, and the runtime refuses it.
        mean = nn.functional.interpolate(self.pooled(x), size=x.shape[2:], mode="bilinear", align_corners=False)
        result: Tensor = self.mixed(torch.cat([mean, *(branch(x) for branch in self.branches)], 1))
        return result


class Decoder(nn.Module):
    """DeepLabv3+'s: the coarse features upsampled beside 48 channels of stride 4, two separable convolutions."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.reduce = ConvBnRelu6(fine, 48, kernel=1)
        self.mix = nn.Sequential(SeparableConv(coarse + 48, outputs), SeparableConv(outputs, outputs))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, coarse, h, w) and (N, fine, H, W) to (N, outputs, H, W)."""
        up = enlarged(coarse, fine.shape[2:])
        result: Tensor = self.mix(torch.cat((up, self.reduce(fine)), 1))
        return result


class DeepLabV3(nn.Module):
    """(N, in_channels, H, W) to (N, classes, H, W) logits of each pixel."""

    def __init__(
        self, classes: int, width: float, output_stride: Literal[8, 16], aspp: bool, decoder: bool, in_channels: int
    ) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)
        if output_stride not in RATES:
            raise ValueError(f"output_stride must be 8 or 16, found {output_stride}")
        whole = MobileNetV2(width=width, in_channels=in_channels)
        features = nn.Sequential(*list(whole.features)[:-1])
        dilate(features, output_stride)
        self.backbone = nn.ModuleDict({"features": features})
        coarse = _outputs(features[-1])
        fine = _outputs(features[LOW_LEVEL])
        self.encoder = Pyramid(coarse, INSIDE, RATES[output_stride]) if aspp else None
        coarse = INSIDE if aspp else coarse
        self.decoder = Decoder(coarse, fine, INSIDE) if decoder else None
        self.logits = nn.Conv2d(INSIDE if decoder else coarse, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        size = x.shape[2:]
        fine = x
        features: Any = self.backbone["features"]
        for index, block in enumerate(features):
            x = block(x)
            if index == LOW_LEVEL:
                fine = x
        if self.encoder is not None:
            x = self.encoder(x)
        if self.decoder is not None:
            x = self.decoder(x, fine)
        return enlarged(self.logits(x), size)


def dilate(features: nn.Sequential, output_stride: int) -> None:
    """Take strides out of the last blocks and dilate their depthwise convolutions instead, in place.

    Weights keep their shapes, so ImageNet's fit. Source: section 3.1 of arXiv:1706.05587.
    """
    stride, dilation = 1, 1
    for block in features:
        for module in block.modules():
            if not isinstance(module, nn.Conv2d) or module.kernel_size != (3, 3):
                continue
            if module.stride != (1, 1):
                if stride * 2 > output_stride:
                    module.stride = (1, 1)
                    dilation *= 2
                    continue
                stride *= 2
            if dilation > 1:
                module.dilation = (dilation, dilation)
                module.padding = (dilation, dilation)


def _outputs(block: nn.Module) -> int:
    last = [module for module in block.modules() if isinstance(module, nn.Conv2d)][-1]
    return last.out_channels


def deeplabv3_mobilenetv2(
    classes: int = 19,
    width: float = 1.0,
    output_stride: Literal[8, 16] = 16,
    aspp: bool = False,
    decoder: bool = False,
    in_channels: int = 3,
) -> torch.nn.Module:
    """DeepLabv3 on MobileNetV2.

    Args:
        classes: of a pixel: 19 for Cityscapes.
        width: of the backbone.
        output_stride: pixels of the input for one of the last features.
        aspp: with the pyramid.
        decoder: with DeepLabv3+'s decoder.
        in_channels: of the image, 1 for grey.

    Raises:
        ValueError: a size that is not positive, or another output stride.
    """
    return DeepLabV3(classes, width, output_stride, aspp, decoder, in_channels)
