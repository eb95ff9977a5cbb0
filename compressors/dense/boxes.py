"""Boxes as (x1, y1, x2, y2) in pixels: overlap, suppression of the same thing found twice, a network's answer as boxes.

Corners are edges of pixels: a box from 0 to 10 is ten pixels wide, as COCO has it. (Pascal VOC counts the last pixel,
which its reader turns into this.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
MOST = 1000  # candidates of one image that are compared with each other, the best first


@dataclass(frozen=True)
class Detections:
    """What was found in one image, the surest first: ``boxes`` (N, 4), ``labels`` (N,), ``scores`` (N,) from 0 to 1."""

    boxes: Floats
    labels: NDArray[np.int64]
    scores: Floats


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union of each box with each other.

    Args:
        first: (N, 4).
        second: (M, 4).

    Returns:
        (N, M), from 0 to 1; 0 where a box has no area.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    both = _areas(first)[:, None] + _areas(second)[None, :] - shared
    found: Floats = np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)
    return found


def _areas(boxes: Floats) -> Floats:
    sizes: Floats = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return sizes[:, 0] * sizes[:, 1]


def suppressed(boxes: Floats, scores: Floats, threshold: float) -> NDArray[np.int64]:
    """Non-maximum suppression: which boxes stay, the surest first.

    Args:
        boxes: (N, 4) of one class.
        scores: (N,).
        threshold: a box goes that overlaps a surer one by more than this.
    """
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[overlaps(boxes[best : best + 1], boxes[left])[0] <= threshold]
    return np.asarray(kept, np.int64)


def detections(
    answer: Floats, *, size: tuple[float, float], least: float = 0.01, threshold: float = 0.45, most: int = 100
) -> Detections:
    """The answer of a detector as what it found.

    Args:
        answer: (boxes, 5 + classes) of one image: centre x and y, width and height in pixels, objectness and class
            scores from 0 to 1.
        size: width and height of the image, which boxes are cut to.
        least: score below which a box is not looked at.
        threshold: of :func:`suppressed`, class by class.
        most: boxes of an image.
    """
    scores = answer[:, 4:5] * answer[:, 5:]
    rows, labels = np.nonzero(scores >= least)
    sure = scores[rows, labels]
    order = np.argsort(-sure, kind="stable")[: MOST * 10]
    rows, labels, sure = rows[order], labels[order], sure[order]
    centre, half = answer[rows, :2], answer[rows, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    boxes = np.clip(boxes, 0, np.asarray([*size, *size], np.float32))
    kept: list[int] = []
    for label in np.unique(labels):
        mine = np.nonzero(labels == label)[0][:MOST]
        kept += mine[suppressed(boxes[mine], sure[mine], threshold)].tolist()
    best = sorted(kept, key=lambda index: -sure[index])[:most]
    return Detections(boxes=boxes[best], labels=labels[best].astype(np.int64), scores=sure[best].astype(np.float32))


def outside(boxes: Sequence[Sequence[float]], width: int, height: int) -> list[int]:
    """Which boxes reach out of an image of this size, or have no area."""
    return [
        index for index, (x1, y1, x2, y2) in enumerate(boxes) if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height)
    ]
