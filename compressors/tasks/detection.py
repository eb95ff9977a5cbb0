"""Boxes with classes: YOLOv3's loss, judged by average precision.

A network's answer is three tensors (N, H/s, W/s, anchors, 5 + classes) for the strides of 32, 16 and 8; in evaluation
mode it may be one (N, boxes, 5 + classes) instead, decoded inside the graph: see
:class:`compressors.architectures.yolov3.YoloV3`. A file has the same outputs, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressors.architectures.yolov3 import ANCHORS, STRIDES, decoded
from compressors.data.moving import NONE, unstacked
from compressors.data.placing import back, central
from compressors.dense.boxes import Detections, Floats, detections
from compressors.dense.precision import Truth, mean_precision, voc_precision
from compressors.dense.yolo_loss import yolo_loss
from compressors.tasks.dense import classes_of, scenes_of
from pocketzoo.errors import BadInput, WorkFailed

if TYPE_CHECKING:
    from compressors.data.dataset import Dataset
    from compressors.sections import Recipe
    from zoo.artifact import Accuracy, Preprocessing

Anchors = tuple[tuple[tuple[float, float], ...], ...]
First = Literal["voc", "coco"]
VOC_DRAWS, COCO_DRAWS = 1000, 200  # of the bootstrap; COCO's figure is ten of VOC's


class Found:
    """What was found in each image, and what is there."""

    def __init__(self, task: Detection) -> None:
        self.task = task
        self.found: list[Detections] = []
        self.truths: list[Truth] = []

    def see(self, answers: Any, targets: Tensor) -> None:
        """Answers as the network gives them, targets (n, most, 6)."""
        boxes = self.task.boxes([one.float() for one in answers] if isinstance(answers, tuple) else answers.float())
        size = self.task.size
        for one in boxes.cpu().numpy():
            self.found.append(detections(one, size=(size, size)))
        self.truths += unstacked(targets.cpu().numpy())

    def parts(self) -> tuple[list[Detections], list[Truth]]:
        """Both."""
        return self.found, self.truths


@dataclass(frozen=True)
class JudgedBoxes:
    """What a file found in each image, and what is there, both in pixels of the image."""

    found: tuple[Detections, ...]
    truths: tuple[Truth, ...]
    classes: int
    first: First

    def summary(self) -> str:
        """VOC's mAP."""
        return f"mAP {self.mean():.2f} % at an overlap of one half, on {len(self.truths)} images"

    def mean(self) -> float:
        """mAP as VOC has it since 2010, in percent; 0 where no box counts."""
        precisions = voc_precision(self.found, self.truths, self.classes)
        return mean_precision(precisions) if any(one is not None for one in precisions) else 0.0

    def accuracies(self, *, dataset: str, split: str, measured_on: str) -> tuple[Accuracy, ...]:
        """``mAP-voc07`` (eleven points), ``mAP-voc10`` (the whole curve), ``AP-coco`` and its parts.

        Intervals: images drawn with replacement, percentiles 2.5 and 97.5 (Efron, 1979).
        """
        from compressors.dense.intervals import bootstrapped
        from compressors.dense.precision import coco_precision
        from compressors.dense.ranking import ranked_coco, ranked_voc
        from zoo.artifact import Accuracy

        images = len(self.truths)
        voc, coco = (
            ranked_voc(self.found, self.truths, self.classes),
            ranked_coco(self.found, self.truths, self.classes),
        )
        figures: dict[str, tuple[float, tuple[float, float] | None]] = {}
        for name, points in (("mAP-voc07", "11"), ("mAP-voc10", "all")):
            value = voc.mean("11" if points == "11" else "all")
            interval = bootstrapped(lambda w, p=points: voc.mean(p, w), images, VOC_DRAWS)  # type: ignore[misc]
            figures[name] = (value, interval)
        official = coco_precision(self.found, self.truths, self.classes)
        of_coco: dict[str, tuple[float, tuple[float, float] | None]] = {
            f"{name}-coco": (value, None) for name, value in official.items()
        }
        of_coco["AP-coco"] = (official["AP"], bootstrapped(lambda w: coco.mean("101", w), images, COCO_DRAWS))
        both = {**of_coco, **figures} if self.first == "coco" else {**figures, **of_coco}
        return tuple(
            Accuracy(
                metric=name, value=round(value, 4), dataset=dataset, split=split, samples=images,
                measured_on=measured_on, ci95=interval,
            )
            for name, (value, interval) in both.items()
        )  # fmt: skip

    def alike(self, other: JudgedBoxes) -> tuple[float, tuple[float, float]] | None:
        """Dice's coefficient of what both found: :func:`compressors.dense.agreeing.boxes_alike`."""
        from compressors.dense.agreeing import boxes_alike
        from compressors.dense.intervals import bootstrapped

        both, together = boxes_alike(self.found, other.found)
        if not together.any():
            return None

        def share(times: NDArray[np.int64]) -> float:
            return 200 * int(times @ both) / max(1, int(times @ together))

        return share(np.ones(len(both), np.int64)), bootstrapped(share, len(both), VOC_DRAWS)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As a stage keeps it: rows of all images one after another, and how many each image has."""
        found, truths = self.found, self.truths
        return {
            "found": np.concatenate([np.column_stack([f.boxes, f.labels, f.scores]) for f in found]).astype(np.float32),
            "found_each": np.asarray([len(f.labels) for f in found], np.int64),
            "truth": np.concatenate(
                [np.column_stack([t.boxes, t.labels, t.ignored, t.sizes()]) for t in truths]
            ).astype(np.float32),
            "truth_each": np.asarray([len(t.labels) for t in truths], np.int64),
        }


@dataclass(frozen=True)
class Detection:
    """See :class:`compressors.tasks.VisionTask`. ``size`` is the input's, in pixels."""

    classes: int
    size: int
    anchors: Anchors
    first: First = "voc"
    name = "object-detection"
    metric = "mAP"
    judged_at_once = 8
    image_outputs: tuple[int, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe) -> Detection:
        """For the classes and anchors of the recipe's network.

        Raises:
            BadInput: an input that is no multiple of the coarsest stride.
        """
        size = recipe.preprocessing.crop
        if size % STRIDES[0]:
            raise BadInput(
                f"{recipe.name}: an input of {size} pixels; the network's cells are {STRIDES[0]} pixels wide",
                hint=f"--set preprocessing.crop={max(1, size // STRIDES[0]) * STRIDES[0]}",
            )
        given: Any = recipe.model.options.get("anchors", ANCHORS)
        anchors = tuple(tuple((float(width), float(height)) for width, height in row) for row in given)
        evaluation = recipe.data.evaluation
        first: First = "coco" if evaluation is not None and evaluation.kind == "coco" else "voc"
        return cls(classes_of(recipe), size, anchors, first)

    def loss(self, answers: Any, targets: Tensor, label_smoothing: float) -> Tensor:
        """The mean loss of an image: :func:`compressors.dense.yolo_loss.yolo_loss`; ignored boxes are left out."""
        if label_smoothing:
            raise ValueError("YOLOv3's loss has no smoothing of labels")
        if isinstance(answers, Tensor):
            raise ValueError("boxes decoded inside the graph cannot be learnt from")
        boxes = [rows[(rows[:, 4] != NONE) & (rows[:, 5] == 0)][:, :5] for rows in targets]
        return yolo_loss([answer.float() for answer in answers], boxes, self.anchors)

    def tally(self) -> Found:
        """A new count."""
        return Found(self)

    def percent(self, parts: Sequence[Any]) -> float:
        """mAP at an overlap of one half."""
        found = tuple(one for each, _ in parts for one in each)
        truths = tuple(one for _, each in parts for one in each)
        return JudgedBoxes(found, truths, self.classes, self.first).mean()

    def judge(self, file: Path, images: Dataset, how: Preprocessing, on_image: Callable[[], None]) -> float:
        """A file's mAP."""
        return self.answers(file, images, how, on_image).mean()

    def answers(self, file: Path, images: Dataset, how: Preprocessing, on_image: Callable[[], None]) -> JudgedBoxes:
        """Ask a file about images with boxes; each is judged in its own pixels.

        Raises:
            BadInput: a broken image or annotation, or a class the network has no answer for.
            WorkFailed: the runtime refuses the file, or its outputs are not a detector's.
        """
        from PIL import Image

        from compressors.data.placing import placed
        from compressors.data.preprocessing import normalise
        from compressors.evaluate import FileModel

        model = FileModel(file, many=True)
        found, truths = [], []
        for pixels, truth in scenes_of(images):
            if not isinstance(truth, Truth):
                raise BadInput("images with masks cannot judge a detector")
            if len(truth.labels) and int(truth.labels.max()) >= self.classes:
                raise BadInput(f"class {int(truth.labels.max())}, but the network has {self.classes} classes")
            height, width = pixels.shape[:2]
            where = central(width, height, how)
            sample = normalise(placed(Image.fromarray(pixels), where, how)[np.newaxis], how)
            answer = self.boxes(self._in_order(model.outputs(sample), file)).numpy()[0]
            seen = detections(answer, size=(how.crop, how.crop))
            found.append(Detections(back(seen.boxes, where, width, height), seen.labels, seen.scores))
            truths.append(truth)
            on_image()
        if not truths:
            raise BadInput("no image with boxes to judge by")
        return JudgedBoxes(tuple(found), tuple(truths), self.classes, self.first)

    def restored(self, arrays: dict[str, NDArray[Any]]) -> JudgedBoxes:
        """From what a stage kept."""
        found = np.split(arrays["found"], np.cumsum(arrays["found_each"])[:-1])
        truths = np.split(arrays["truth"], np.cumsum(arrays["truth_each"])[:-1])
        return JudgedBoxes(
            tuple(Detections(rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5]) for rows in found),
            tuple(Truth(rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5] > 0, rows[:, 6]) for rows in truths),
            self.classes,
            self.first,
        )

    def boxes(self, answers: Any) -> Tensor:
        """(N, boxes, 5 + classes): centre, width and height in pixels of the input, scores from 0 to 1."""
        if isinstance(answers, Tensor):
            return answers
        each = [decoded(a, row, s) for a, row, s in zip(answers, self.anchors, STRIDES, strict=True)]
        return torch.cat(each, 1)

    def _in_order(self, outputs: Sequence[Floats], file: Path) -> Any:
        values = 5 + self.classes
        if len(outputs) == 1 and outputs[0].ndim == 3 and outputs[0].shape[2] == values:
            return torch.from_numpy(outputs[0])
        wanted = [
            (1, self.size // stride, self.size // stride, len(row), values)
            for stride, row in zip(STRIDES, self.anchors, strict=True)
        ]
        by_shape = {output.shape: output for output in outputs}
        if set(by_shape) != set(wanted) or len(outputs) != len(wanted):
            raise WorkFailed(
                f"the file's outputs are {', '.join(str(output.shape) for output in outputs)}",
                where=str(file),
                detail=(f"expected: {', '.join(map(str, wanted))}, or one of (1, boxes, {values})",),
            )
        return [torch.from_numpy(by_shape[shape]) for shape in wanted]
