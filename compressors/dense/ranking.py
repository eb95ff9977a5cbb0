"""Answers sorted by how sure they are, so that average precision can be taken again and again with other weights.

Which answer is right does not depend on how often its image is counted, only on the image. So it is decided once, and
a bootstrap is sums over a sorted list.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressors.dense.boxes import Detections
from compressors.dense.precision import Truth, coco_judged, voc_right

Points = Literal["11", "all", "101"]
_LEAST = 1e-9  # a recall of 3/10 is one of 0.3, whatever the last bit says


@dataclass(frozen=True)
class OfClass:
    """A class's answers, the surest first: their image (A,), whether each counts and is right at each overlap (T, A).

    ``wanted`` (images,) is how many boxes of it there are to find.
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    wanted: NDArray[np.int64]


@dataclass(frozen=True)
class Ranked:
    """All classes."""

    classes: tuple[OfClass, ...]

    def mean(self, points: Points, weights: NDArray[np.int64] | None = None) -> float:
        """Mean average precision in percent over classes and overlaps, an image counted as often as its weight says.

        Args:
            points: 11 or 101 points of recall, or the whole curve.
            weights: (images,); each once by default.
        """
        found = [average_precision(one, points, weights) for one in self.classes]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if known else 0.0


def average_precision(one: OfClass, points: Points, weights: NDArray[np.int64] | None = None) -> float | None:
    """Of one class in percent, the mean over overlaps; None where there is nothing to find."""
    times = np.ones(len(one.wanted), np.int64) if weights is None else weights
    wanted = int(times @ one.wanted)
    if not wanted:
        return None
    each = times[one.image]
    total = 0.0
    for right, counts in zip(one.right, one.counts, strict=True):
        hits, all_of = np.cumsum(each * (right & counts)), np.cumsum(each * counts)
        recall, precision = hits / wanted, hits / np.maximum(all_of, 1)
        # At each recall the best precision from there on.
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        if points == "all":
            total += float((np.diff(np.concatenate([[0.0], recall])) * falling).sum())
            continue
        at = np.linspace(0, 1, int(points))
        places = np.searchsorted(recall, at - (_LEAST if points == "11" else 0.0), side="left")
        total += float(np.append(falling, 0.0)[np.minimum(places, len(falling))].mean())
    return 100 * total / len(one.right)


def ranked_voc(found: Sequence[Detections], truths: Sequence[Truth], classes: int, overlap: float = 0.5) -> Ranked:
    """By Pascal VOC's rules: see :mod:`compressors.dense.precision`."""
    each = []
    for label in range(classes):
        image, scores, right = voc_right(found, truths, label, overlap)
        order = np.argsort(-scores, kind="stable")
        wanted = np.asarray([int(((t.labels == label) & ~t.ignored).sum()) for t in truths], np.int64)
        each.append(OfClass(image[order], right[order][None], np.ones((1, len(order)), bool), wanted))
    return Ranked(tuple(each))


def ranked_coco(found: Sequence[Detections], truths: Sequence[Truth], classes: int) -> Ranked:
    """By COCO's rules, as its authors' code matched them: all areas, at most 100 answers of an image."""
    with contextlib.redirect_stdout(io.StringIO()):
        judged: Any = coco_judged(found, truths, classes)
    overlaps = 10
    rows: list[list[Any]] = [[] for _ in range(classes)]
    wanted = np.zeros((classes, len(truths)), np.int64)
    for entry in judged.evalImgs[:] if judged is not None else []:
        if entry is None or entry["aRng"] != judged.params.areaRng[0]:
            continue
        label, image = entry["category_id"] - 1, entry["image_id"] - 1
        wanted[label, image] = int((np.asarray(entry["gtIgnore"]) == 0).sum())
        rows[label].append((image, entry))
    if judged is None:
        for image, truth in enumerate(truths):
            for label in truth.labels[~truth.ignored]:
                wanted[label, image] += 1
    each = []
    for label in range(classes):
        images = np.concatenate([[], *(np.full(len(e["dtScores"]), i) for i, e in rows[label])]).astype(np.int64)
        scores = np.concatenate([[], *(e["dtScores"] for _, e in rows[label])])
        empty = np.zeros((overlaps, 0))
        right = np.concatenate([empty, *(np.asarray(e["dtMatches"]) for _, e in rows[label])], 1) > 0
        ignored = np.concatenate([empty, *(np.asarray(e["dtIgnore"]) for _, e in rows[label])], 1) > 0
        order = np.argsort(-scores, kind="mergesort")  # as COCO's own code sorts, so that ties fall alike
        each.append(OfClass(images[order], right[:, order], ~ignored[:, order], wanted[label]))
    return Ranked(tuple(each))
