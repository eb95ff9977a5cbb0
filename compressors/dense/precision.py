"""Average precision of boxes, by the two definitions the field has.

Pascal VOC: a box is right that overlaps a true one of its class by at least one half; precision over recall at eleven
points (VOC 2007) or under the whole curve (VOC 2010 and later). Boxes marked difficult count neither way.
COCO: the mean over overlaps 0.50, 0.55, ... 0.95, precision at 101 points of recall, by the authors' own code
(pycocotools); crowds count neither way.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressors.dense.boxes import Detections, Floats, overlaps

Points = Literal["11", "all"]


@dataclass(frozen=True)
class Truth:
    """What is in one image: ``boxes`` (N, 4), ``labels`` (N,), ``ignored`` (N,): difficult ones, crowds.

    ``areas`` (N,) are of what is in the boxes, in pixels: COCO calls a thing small by its outline. None: of the boxes.
    """

    boxes: Floats
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas: Floats | None = None

    def sizes(self) -> Floats:
        """(N,) areas, those of the boxes where nothing else is known."""
        whole: Floats = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1)
        return whole if self.areas is None else self.areas


def voc_precision(
    found: Sequence[Detections],
    truths: Sequence[Truth],
    classes: int,
    *,
    overlap: float = 0.5,
    points: Points = "all",
) -> list[float | None]:
    """Average precision of each class in percent; None for a class that no image has.

    Args:
        found: of each image.
        truths: of each image, in the same order.
        classes: how many there are.
        overlap: with a true box, from which a box is right.
        points: ``11`` as VOC 2007, ``all`` as later years.
    """
    return [_of_class(found, truths, label, overlap, points) for label in range(classes)]


def voc_right(
    found: Sequence[Detections], truths: Sequence[Truth], label: int, overlap: float = 0.5
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """The answers of one class that count: (A,) the image of each, how sure it is, whether it is right."""
    images: list[int] = []
    scores: list[float] = []
    right: list[bool] = []
    for image, (seen, truth) in enumerate(zip(found, truths, strict=True)):
        mine = truth.labels == label
        boxes, ignored = truth.boxes[mine], truth.ignored[mine]
        taken = np.zeros(len(boxes), bool)
        for index in np.nonzero(seen.labels == label)[0]:
            shared = overlaps(seen.boxes[index : index + 1], boxes)[0] if len(boxes) else np.zeros(0, np.float32)
            best = int(shared.argmax()) if len(shared) else -1
            hit = best >= 0 and bool(shared[best] >= overlap)
            if hit and ignored[best]:
                continue
            images.append(image)
            scores.append(float(seen.scores[index]))
            right.append(hit and not taken[best])
            if hit:
                taken[best] = True
    return np.asarray(images, np.int64), np.asarray(scores, np.float64), np.asarray(right, bool)


def _of_class(
    found: Sequence[Detections], truths: Sequence[Truth], label: int, overlap: float, points: Points
) -> float | None:
    wanted = sum(int(((truth.labels == label) & ~truth.ignored).sum()) for truth in truths)
    if not wanted:
        return None
    _, scores, right = voc_right(found, truths, label, overlap)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    recall = hits / wanted
    precision = hits / np.arange(1, len(hits) + 1)
    if points == "11":
        # A recall of 3/10 is one of 0.3, whatever the last bit says.
        at = [precision[recall >= t - 1e-9].max(initial=0.0) for t in np.linspace(0, 1, 11)]
        return 100 * float(np.mean(at))
    # The curve made to fall: at each recall the best precision from there on.
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall]))
    return 100 * float((steps * falling).sum())


def mean_precision(values: Sequence[float | None]) -> float:
    """The mean over the classes that there are.

    Raises:
        ValueError: there is none.
    """
    known = [value for value in values if value is not None]
    if not known:
        raise ValueError("no image has a box that counts")
    return float(np.mean(known))


def coco_precision(found: Sequence[Detections], truths: Sequence[Truth], classes: int) -> dict[str, float]:
    """COCO's figures in percent: ``AP``, ``AP50``, ``AP75``, ``APsmall``, ``APmedium``, ``APlarge``.

    Figures that no image decides (there is no large box) are left out.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        judged: Any = coco_judged(found, truths, classes)
        if judged is None:
            return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
        judged.accumulate()
        judged.summarize()
    names = ("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge")
    return {name: 100 * float(value) for name, value in zip(names, judged.stats[:6], strict=True) if value >= 0}


def coco_judged(found: Sequence[Detections], truths: Sequence[Truth], classes: int) -> Any:
    """COCO's own judge after it matched answers with boxes; None where nothing was found. It prints."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations: list[dict[str, Any]] = []
    for image, truth in enumerate(truths, 1):
        for box, label, ignored, area in zip(truth.boxes, truth.labels, truth.ignored, truth.sizes(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": int(label) + 1,
                    "bbox": _corner_and_size(box), "area": float(area), "iscrowd": int(ignored),
                }
            )  # fmt: skip
    results = [
        {"image_id": image, "category_id": int(label) + 1, "bbox": _corner_and_size(box), "score": float(score)}
        for image, seen in enumerate(found, 1)
        for box, label, score in zip(seen.boxes, seen.labels, seen.scores, strict=True)
    ]
    truth_set: Any = COCO()
    truth_set.dataset = {
        "images": [{"id": image} for image in range(1, len(truths) + 1)],
        "annotations": annotations,
        "categories": [{"id": label + 1} for label in range(classes)],
        "info": {},
    }
    truth_set.createIndex()
    if not results:
        return None
    judged: Any = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
    judged.evaluate()
    return judged


def _corner_and_size(box: Floats) -> list[float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]
