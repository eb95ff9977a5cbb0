"""Fast-SCNN (Poudel et al., 2019, arXiv:1902.04502): two branches that share their first layers.

Names say what may be pruned: ``downsample`` and ``global_features`` are the paper's "learning to downsample" and
"global feature extractor", ``fusion`` adds both branches, ``classifier`` answers; depthwise convolutions are the first
layer of each separable one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressors.architectures.enlarging import enlarged
from compressors.architectures.mobilenetv2 import ConvBnRelu6, InvertedResidual, check_sizes

BINS = (1, 2, 3, 6)
# (output channels, repeats, stride of the first) of the bottlenecks, and their expansion: table 1 of the paper.
EXPANSION = 6
BOTTLENECKS = ((64, 3, 2), (96, 3, 2), (128, 3, 1))


class ConvBnRelu(ConvBnRelu6):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups, nn.ReLU)


class Separable(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(ConvBnRelu(inputs, inputs, 3, stride, groups=inputs), ConvBnRelu(inputs, outputs))


class PyramidPooling(nn.Module):
    """Means over grids of 1, 2, 3 and 6 cells beside the features themselves, mixed by one convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        each = max(1, inputs // len(BINS))
        self.reduce = nn.ModuleList([ConvBnRelu(inputs, each) for _ in BINS])
        self.mix = ConvBnRelu(inputs + each * len(BINS), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        parts = [x]
        for bins, reduce in zip(BINS, self.reduce, strict=True):
            grid = reduce(grid_mean(x, bins))
            parts.append(nn.functional.interpolate(grid, size=x.shape[2:], mode="bilinear", align_corners=False))
        result: Tensor = self.mix(torch.cat(parts, 1))
        return result


def grid_mean(x: Tensor, bins: int) -> Tensor:
    """(N, C, H, W) to the means of ``bins`` x ``bins`` cells, or as many as there are pixels.

    The runtimes of phones pool with one kernel everywhere, so where H is no multiple of the grid, cells are a little
    larger than their stride and overlap; torch's adaptive pooling has cells of several sizes instead.
    """
    sides = [min(bins, side) for side in x.shape[2:]]
    strides = [side // cells for side, cells in zip(x.shape[2:], sides, strict=True)]
    kernels = [side - (cells - 1) * stride for side, cells, stride in zip(x.shape[2:], sides, strides, strict=True)]
    if bins == 1:
        return nn.functional.adaptive_avg_pool2d(x, (1, 1))
    return nn.functional.avg_pool2d(x, kernels, strides)


class FastSCNN(nn.Module):
    """(N, in_channels, H, W) to (N, classes, H, W) logits of each pixel."""

    def __init__(self, classes: int, width: float, in_channels: int) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes, in_channels=in_channels)

        def wide(base: int) -> int:
            return max(1, round(base * width))

        self.downsample = nn.Sequential(
            ConvBnRelu(in_channels, wide(32), 3, 2),
            Separable(wide(32), wide(48), 2),
            Separable(wide(48), wide(64), 2),
        )
        layers: list[nn.Module] = []
        channels = wide(64)
        for base, repeats, stride in BOTTLENECKS:
            for index in range(repeats):
                layers.append(
                    InvertedResidual(channels, wide(base), stride if index == 0 else 1, EXPANSION * channels, nn.ReLU)
                )
                channels = wide(base)
        layers.append(PyramidPooling(channels, channels))
        self.global_features = nn.Sequential(*layers)
        fused = wide(128)
        self.fusion_fine = nn.Sequential(nn.Conv2d(wide(64), fused, 1, bias=False), nn.BatchNorm2d(fused))
        self.fusion_coarse = nn.Sequential(
            ConvBnRelu(channels, channels, 3, groups=channels),
            nn.Conv2d(channels, fused, 1, bias=False),
            nn.BatchNorm2d(fused),
        )
        self.classifier = nn.Sequential(
            Separable(fused, fused), Separable(fused, fused), nn.Dropout(0.1), nn.Conv2d(fused, classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        fine = self.downsample(x)
        coarse = self.global_features(fine)
        up = enlarged(coarse, fine.shape[2:])
        fused = torch.relu(self.fusion_fine(fine) + self.fusion_coarse(up))
        return enlarged(self.classifier(fused), x.shape[2:])


def fastscnn(classes: int = 19, width: float = 1.0, in_channels: int = 3) -> torch.nn.Module:
    """Fast-SCNN.

    Args:
        classes: of a pixel: 19 for Cityscapes.
        width: multiplies the channels.
        in_channels: of the image, 1 for grey.

    Raises:
        ValueError: a size that is not positive.
    """
    return FastSCNN(classes, width, in_channels)
