"""What YOLOv3 learns from: which anchor answers for which box, and what its answer costs.

Sources: Redmon & Farhadi, 2018, arXiv:1804.02767, sections 2.1 and 2.2, and Darknet's release: each true box is one
anchor's, of all nine the one whose shape fits best, in the cell that holds its centre. Centres and class scores cost
binary cross entropy, sizes the absolute difference of logarithms, both weighted by 2 - area so that small boxes count;
objectness costs binary cross entropy everywhere but where an answer overlaps a true box well without being its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from compressors.architectures.yolov3 import ANCHORS, STRIDES, decoded

IGNORE = 0.7  # overlap with a true box from which an answer that is not its own costs nothing

Anchors = Sequence[Sequence[Sequence[float]]]


def yolo_loss(answers: Sequence[Tensor], boxes: Sequence[Tensor], anchors: Anchors = ANCHORS) -> Tensor:
    """The mean loss of an image.

    Args:
        answers: three (N, H/s, W/s, anchors, 5 + classes) tensors, as the network gives them.
        boxes: for each image (M, 5): x1, y1, x2, y2 in pixels of the input, and the class; M may be 0.
        anchors: widths and heights the network was made with.

    Raises:
        ValueError: answers without cells.
    """
    if 0 in answers[0].shape[1:3]:
        raise ValueError("answers without cells")
    total = answers[0].new_zeros(())
    targets = [_targets(answer, boxes, anchors, scale) for scale, answer in enumerate(answers)]
    for answer, row, stride, (mask, wanted, weight) in zip(answers, anchors, STRIDES, targets, strict=True):
        free = ~mask & ~_near(answer, row, stride, boxes)
        objectness = cross_entropy(answer[..., 4], mask.to(answer.dtype), reduction="none")
        total = total + objectness[mask | free].sum()
        if not bool(mask.any()):
            continue
        mine, theirs, scaled = answer[mask], wanted[mask], weight[mask][:, None]
        total = total + (scaled * cross_entropy(mine[:, :2], theirs[:, :2], reduction="none")).sum()
        total = total + (scaled * (mine[:, 2:4] - theirs[:, 2:4]).abs()).sum()
        total = total + cross_entropy(mine[:, 5:], theirs[:, 5:], reduction="sum")
    return total / len(boxes)


def _targets(answer: Tensor, boxes: Sequence[Tensor], anchors: Anchors, scale: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, H, W, A) which anchors answer for a box, (N, H, W, A, 5 + classes) what for, (N, H, W, A) its weight."""
    stride = STRIDES[scale]
    mask = torch.zeros(answer.shape[:-1], dtype=torch.bool, device=answer.device)
    wanted = torch.zeros_like(answer)
    weight = torch.zeros(answer.shape[:-1], dtype=answer.dtype, device=answer.device)
    every = torch.tensor([list(pair) for row in anchors for pair in row], dtype=answer.dtype, device=answer.device)
    first = sum(len(row) for row in anchors[:scale])
    rows, columns = answer.shape[1:3]
    area = float(rows * columns * stride * stride)
    for image, found in enumerate(boxes):
        if not len(found):
            continue
        centre, size = (found[:, :2] + found[:, 2:4]) / 2, found[:, 2:4] - found[:, :2]
        shared = torch.minimum(size[:, None], every[None]).prod(2)
        fits = shared / (size.prod(1)[:, None] + every.prod(1)[None] - shared)
        best = fits.argmax(1) - first
        for box in torch.nonzero((best >= 0) & (best < len(anchors[scale]))).flatten().tolist():
            x, y = (centre[box] / stride).tolist()
            column, row = min(int(x), columns - 1), min(int(y), rows - 1)
            place = (image, row, column, int(best[box]))
            mask[place] = True
            wanted[place] = 0
            wanted[place][0], wanted[place][1] = x - column, y - row
            wanted[place][2:4] = torch.log(size[box] / every[first + int(best[box])])
            wanted[place][4] = 1
            wanted[place][5 + int(found[box, 4])] = 1
            weight[place] = 2 - float(size[box].prod()) / area
    return mask, wanted, weight


def _near(answer: Tensor, row: Sequence[Sequence[float]], stride: int, boxes: Sequence[Tensor]) -> Tensor:
    """(N, H, W, A): answers that overlap a true box by more than :data:`IGNORE`."""
    with torch.no_grad():
        told = decoded(answer.detach(), row, stride)[..., :4]
        near = torch.zeros(told.shape[:2], dtype=torch.bool, device=answer.device)
        for image, found in enumerate(boxes):
            if len(found):
                half = told[image, :, 2:4] / 2
                corners = torch.cat((told[image, :, :2] - half, told[image, :, :2] + half), 1)
                near[image] = _overlaps(corners, found[:, :4]).amax(1) > IGNORE
    return near.view(answer.shape[:-1])


def _overlaps(first: Tensor, second: Tensor) -> Tensor:
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(2)
    areas = (first[:, 2:] - first[:, :2]).prod(1)[:, None] + (second[:, 2:] - second[:, :2]).prod(1)[None]
    return shared / (areas - shared).clamp_min(1e-9)
