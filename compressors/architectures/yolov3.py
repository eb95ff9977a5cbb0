"""YOLOv3 (Redmon & Farhadi, 2018, arXiv:1804.02767) on MobileNetV1 or ResNet-34, as PaddleDetection has it.

Three detection blocks work on the features of strides 32, 16 and 8, the coarse ones handed down by nearest-neighbour
upsampling. Names say what may be pruned: ``blocks.N`` are the detection blocks ("yolo blocks"), ``heads.N`` the 1x1
convolutions that answer, ``backbone`` everything before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compressors.architectures.mobilenetv1 import MobileNetV1
from compressors.architectures.mobilenetv2 import check_sizes
from compressors.architectures.resnet import BasicBlock, ResNet

STRIDES = (32, 16, 8)
# Width and height in pixels of 416- to 608-pixel images, for the strides above: k-means over COCO, table of the paper.
ANCHORS = (
    ((116, 90), (156, 198), (373, 326)),
    ((30, 61), (62, 45), (59, 119)),
    ((10, 13), (16, 30), (33, 23)),
)
INSIDE = (512, 256, 128)  # channels of each detection block

Decode = Literal["outside", "inside"]


class ConvLeaky(nn.Sequential):
    """Convolution without bias, batch norm, leaky ReLU (0.1)."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.1),
        )


class DetectionBlock(nn.Module):
    """1x1, 3x3, 1x1, 3x3, 1x1 on the way to the next finer block, and one 3x3 more on the way to the answer."""

    def __init__(self, inputs: int, inside: int) -> None:
        super().__init__()
        self.route = nn.Sequential(
            ConvLeaky(inputs, inside, 1),
            ConvLeaky(inside, 2 * inside, 3),
            ConvLeaky(2 * inside, inside, 1),
            ConvLeaky(inside, 2 * inside, 3),
            ConvLeaky(2 * inside, inside, 1),
        )
        self.tip = ConvLeaky(inside, 2 * inside, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, inputs, H, W) to the route (N, inside, H, W) and the tip (N, 2 x inside, H, W)."""
        route: Tensor = self.route(x)
        return route, self.tip(route)


class MobileNetV1Features(nn.Module):
    """MobileNetV1 without its classifier: (N, C, H, W) to features of strides 8, 16 and 32."""

    ENDS = (4, 10, 12)  # the last block of each stride

    def __init__(self, width: float, in_channels: int) -> None:
        super().__init__()
        whole = MobileNetV1(width=width, in_channels=in_channels, activation="relu")
        self.conv1, self.features = whole.conv1, whole.features
        blocks: list[Any] = list(whole.features)
        self.channels = tuple(blocks[end][3].out_channels for end in self.ENDS)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """To three tensors, the finest first."""
        x = self.conv1(x)
        found = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in self.ENDS:
                found.append(x)
        return tuple(found)


class ResNet34Features(nn.Module):
    """ResNet-34 without its classifier: (N, C, H, W) to features of strides 8, 16 and 32."""

    def __init__(self, width: float, in_channels: int) -> None:
        super().__init__()
        whole = ResNet(BasicBlock, (3, 4, 6, 3), in_channels=in_channels, width=width)
        self.conv1, self.bn1, self.relu, self.maxpool = whole.conv1, whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        self.channels = tuple(max(1, round(size * width)) for size in (128, 256, 512))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """To three tensors, the finest first."""
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        fine = self.layer2(x)
        middle = self.layer3(fine)
        return fine, middle, self.layer4(middle)


class YoloV3(nn.Module):
    """(N, in_channels, H, W), H and W multiples of 32, to what each of three anchors in each cell says.

    ``decode`` outside: three tensors (N, H/s, W/s, 3, 5 + classes) for the strides s of 32, 16 and 8, as the last
    convolutions give them: :func:`decoded` makes boxes of them. Inside: one tensor (N, boxes, 5 + classes) with
    centre x, centre y, width and height in pixels, objectness and class scores from 0 to 1; while training it answers
    as outside, which is what is learnt from.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        head_width: float = 1.0,
        anchors: Sequence[Sequence[Sequence[float]]] = ANCHORS,
        decode: Decode = "outside",
        prior: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < prior < 1:
            raise ValueError(f"prior is how sure an untaught anchor is of a thing, above 0 and below 1, found {prior}")
        if decode not in ("outside", "inside"):
            raise ValueError(f"decode must be outside or inside, found {decode!r}")
        if len(anchors) != len(STRIDES) or any(len(pair) != 2 for row in anchors for pair in row):
            raise ValueError(f"anchors must be {len(STRIDES)} rows of (width, height), for strides {STRIDES}")
        self.backbone = backbone
        self.classes, self.decode = classes, decode
        self.anchors = tuple(tuple((float(w), float(h)) for w, h in row) for row in anchors)
        given: tuple[int, ...] = backbone.channels  # type: ignore[assignment]
        blocks, heads, transitions = [], [], []
        below = 0
        for index, features in enumerate(reversed(given)):
            inside = max(1, round(INSIDE[index] * head_width))
            blocks.append(DetectionBlock(features + below, inside))
            heads.append(nn.Conv2d(2 * inside, len(self.anchors[index]) * (5 + classes), 1))
            if index < len(STRIDES) - 1:
                below = max(1, inside // 2)
                transitions.append(ConvLeaky(inside, below, 1))
        self.blocks, self.heads = nn.ModuleList(blocks), nn.ModuleList(heads)
        self.transitions = nn.ModuleList(transitions)
        for part in (self.blocks, self.transitions):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, a=0.1, mode="fan_out", nonlinearity="leaky_relu")
        for head in heads:
            nn.init.normal_(head.weight, 0, 0.01)
            bias = head.get_parameter("bias")
            nn.init.zeros_(bias)
            with torch.no_grad():
                bias.view(-1, 5 + classes)[:, 4] = math.log(prior / (1 - prior))

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        """See the class."""
        found = []
        below: Tensor | None = None
        for index, features in enumerate(reversed(self.backbone(x))):
            taken = features if below is None else torch.cat((below, features), 1)
            route, tip = self.blocks[index](taken)
            answer: Tensor = self.heads[index](tip)
            count, _, height, width = answer.shape
            found.append(answer.permute(0, 2, 3, 1).reshape(count, height, width, -1, 5 + self.classes))
            if index < len(self.transitions):
                below = nn.functional.interpolate(self.transitions[index](route), scale_factor=2.0, mode="nearest")
        if self.decode == "outside" or self.training:
            return tuple(found)
        boxes = [decoded(one, row, stride) for one, row, stride in zip(found, self.anchors, STRIDES, strict=True)]
        return torch.cat(boxes, 1)


def decoded(answer: Tensor, anchors: Sequence[Sequence[float]], stride: int) -> Tensor:
    """Boxes in pixels and scores from 0 to 1.

    Args:
        answer: (N, H, W, anchors, 5 + classes), as the network gives it.
        anchors: (width, height) in pixels of each.
        stride: pixels from one cell to the next.

    Returns:
        (N, H x W x anchors, 5 + classes): centre x and y, width, height, objectness, class scores.
    """
    count, height, width, each, values = answer.shape
    columns = torch.arange(width, dtype=answer.dtype, device=answer.device).view(1, 1, width, 1, 1)
    rows = torch.arange(height, dtype=answer.dtype, device=answer.device).view(1, height, 1, 1, 1)
    sizes = torch.tensor([list(pair) for pair in anchors], dtype=answer.dtype, device=answer.device)
    x = (torch.sigmoid(answer[..., 0:1]) + columns) * stride
    y = (torch.sigmoid(answer[..., 1:2]) + rows) * stride
    size = torch.exp(answer[..., 2:4]) * sizes.view(1, 1, 1, each, 2)
    scores = torch.sigmoid(answer[..., 4:])
    return torch.cat((x, y, size, scores), -1).reshape(count, height * width * each, values)


def mobilenetv1_yolov3(
    classes: int = 80,
    width: float = 1.0,
    head_width: float = 1.0,
    in_channels: int = 3,
    decode: Decode = "outside",
    anchors: Sequence[Sequence[Sequence[float]]] = ANCHORS,
    prior: float = 0.5,
) -> torch.nn.Module:
    """YOLOv3 on MobileNetV1.

    Args:
        classes: to tell apart: 80 for COCO, 20 for Pascal VOC.
        width: of the backbone.
        head_width: of the detection blocks.
        in_channels: of the image, 1 for grey.
        decode: see :class:`YoloV3`.
        anchors: three (width, height) in pixels for each of the strides 32, 16 and 8.
        prior: how sure each anchor is of a thing before training. One half is YOLOv3's; a hundredth, about as many as
            there are, saves the many steps in which a network learns that most anchors hold nothing (Lin et al., 2017,
            arXiv:1708.02002, section 4.1).

    Raises:
        ValueError: a size that is not positive, or anchors of another shape.
    """
    check_sizes(width=min(width, head_width), classes=classes, in_channels=in_channels)
    return YoloV3(MobileNetV1Features(width, in_channels), classes, head_width, anchors, decode, prior)


def resnet34_yolov3(
    classes: int = 80,
    width: float = 1.0,
    head_width: float = 1.0,
    in_channels: int = 3,
    decode: Decode = "outside",
    anchors: Sequence[Sequence[Sequence[float]]] = ANCHORS,
    prior: float = 0.5,
) -> torch.nn.Module:
    """YOLOv3 on ResNet-34; arguments and errors like :func:`mobilenetv1_yolov3`."""
    check_sizes(width=min(width, head_width), classes=classes, in_channels=in_channels)
    return YoloV3(ResNet34Features(width, in_channels), classes, head_width, anchors, decode, prior)
