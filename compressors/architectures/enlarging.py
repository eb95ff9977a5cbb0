"""Features brought to the size of finer ones, so that float and integer files agree where each pixel lies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, h, w) to (N, C, H, W), bilinear.

    Strided convolutions give a photo of n x s + 1 pixels n + 1 cells, the first and the last of which lie on its first
    and last pixel: corners are laid on corners, as the authors of DeepLab do for their 769 = 48 x 16 + 1 (Chen et al.,
    2017, arXiv:1706.05587). A photo of n x s pixels has n cells, whose areas are laid on areas. Either way the step
    between two pixels is 1/s of a cell, which fixed-point kernels hold exactly. With another one TFLite's own int8
    kernel, which keeps ten bits of it, drifts by up to 0.2 cells along 769 pixels (docs/decisions/0344).

    Args:
        x: coarse features.
        size: height and width of the finer ones.
    """
    sides = list(zip(x.shape[2:], size, strict=True))
    corners = all(few > 1 and (many - 1) % (few - 1) == 0 for few, many in sides)
    return nn.functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=corners)
