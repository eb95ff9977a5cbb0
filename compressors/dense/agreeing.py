"""How alike two files answer, image by image, whoever is right: what quantization did needs no truth to be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressors.dense.boxes import Detections, overlaps

SURE = 0.5  # score from which an answer counts: more likely right than not
OVERLAP = 0.5  # of two boxes, from which they are of one thing; VOC's

Counts = NDArray[np.int64]


def boxes_alike(
    found: Sequence[Detections], others: Sequence[Detections], sure: float = SURE, overlap: float = OVERLAP
) -> tuple[Counts, Counts]:
    """Boxes that two detectors both found, and boxes they found between them.

    Each box of the first, the surest first, takes the one of its class in the second that overlaps it most and is not
    taken yet. Twice the first count over the second is Dice's coefficient (1945): 1 where both found the same.

    Args:
        found: of each image.
        others: of each image, in the same order.
        sure: score below which a box is nobody's answer.
        overlap: intersection over union from which two boxes are of one thing.

    Returns:
        (images,) boxes that both have, and (images,) boxes of the first and of the second together.
    """
    both, together = [], []
    for mine, theirs in zip(found, others, strict=True):
        mine, theirs = _sure(mine, sure), _sure(theirs, sure)  # noqa: PLW2901
        shared = overlaps(mine.boxes, theirs.boxes)
        shared[mine.labels[:, np.newaxis] != theirs.labels[np.newaxis]] = 0
        pairs = 0
        for row in np.argsort(-mine.scores, kind="stable"):
            best = int(shared[row].argmax()) if len(theirs.labels) else -1
            if best >= 0 and shared[row, best] >= overlap:
                shared[:, best] = 0
                pairs += 1
        both.append(pairs)
        together.append(len(mine.labels) + len(theirs.labels))
    return np.asarray(both, np.int64), np.asarray(together, np.int64)


def _sure(one: Detections, sure: float) -> Detections:
    kept = one.scores >= sure
    return Detections(one.boxes[kept], one.labels[kept], one.scores[kept])
