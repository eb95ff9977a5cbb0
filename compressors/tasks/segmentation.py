"""A class for each pixel: cross entropy, judged by mIoU.

A network's answer is (N, classes, H, W), as large as its input. Its file's is (1, H, W, classes), of any size: where it
is smaller than the input, each pixel takes the nearest answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.data.dataset import Pixels
from compressors.dense.masks import IGNORED, confusion, mean_iou
from compressors.tasks.dense import classes_of, scenes_of
from pocketzoo.errors import BadInput, WorkFailed

if TYPE_CHECKING:
    from compressors.data.dataset import Dataset
    from compressors.evaluate import FileModel
    from compressors.sections import Recipe
    from zoo.artifact import Accuracy, Preprocessing

Counts = NDArray[np.int64]
DRAWS = 2000  # of the bootstrap
GRID = 64  # points a side at which two files are compared; the masks of Cityscapes are a gigabyte


class Confusions:
    """Pixels of each class that were told to be which."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts: Tensor | None = None

    def see(self, answers: Any, targets: Tensor) -> None:
        """Answers (n, classes, H, W), targets (n, H, W)."""
        counted = targets != IGNORED
        told, true = answers.argmax(1)[counted], targets[counted].long()
        found = torch.bincount(true * self.classes + told, minlength=self.classes**2)
        self.counts = found if self.counts is None else self.counts + found

    def parts(self) -> Counts:
        """(classes, classes), true ones along the rows."""
        if self.counts is None:
            return np.zeros((self.classes, self.classes), np.int64)
        found: Counts = self.counts.cpu().numpy().reshape(self.classes, self.classes)
        return found


@dataclass(frozen=True)
class JudgedMasks:
    """For each image and class, pixels told right (N, classes), and pixels that either are or were told to be it.

    ``told`` (N, GRID, GRID) are the classes at points spread evenly over each image, whatever its size.
    """

    right: Counts
    either: Counts
    told: Pixels

    def summary(self) -> str:
        """The mIoU."""
        return f"mIoU {self.mean():.2f} % on {len(self.right)} images"

    def mean(self, weights: NDArray[np.int64] | None = None) -> float:
        """mIoU in percent, each image counted as often as its weight says."""
        times = np.ones(len(self.right), np.int64) if weights is None else weights
        right, either = times @ self.right, times @ self.either
        if not either.any():
            return 0.0
        return float(100 * (right[either > 0] / either[either > 0]).mean())

    def accuracies(self, *, dataset: str, split: str, measured_on: str) -> tuple[Accuracy, ...]:
        """mIoU with its interval: images drawn with replacement, percentiles 2.5 and 97.5 (Efron, 1979)."""
        from compressors.dense.intervals import bootstrapped
        from zoo.artifact import Accuracy

        interval = bootstrapped(self.mean, len(self.right), DRAWS)
        return (
            Accuracy(
                metric="mIoU", value=round(self.mean(), 4), dataset=dataset, split=split, samples=len(self.right),
                measured_on=measured_on, ci95=interval,
            ),
        )  # fmt: skip

    def alike(self, other: JudgedMasks) -> tuple[float, tuple[float, float]] | None:
        """The share of points that both give the same class, whatever is there."""
        from compressors.dense.intervals import bootstrapped

        same = (self.told == other.told).mean((1, 2))

        def share(times: NDArray[np.int64]) -> float:
            return float(100 * (times @ same) / times.sum())

        return share(np.ones(len(same), np.int64)), bootstrapped(share, len(same), DRAWS)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As a stage keeps it."""
        return {"right": self.right, "either": self.either, "told": self.told}


@dataclass(frozen=True)
class Segmentation:
    """See :class:`compressors.tasks.VisionTask`."""

    classes: int
    name = "image-segmentation"
    metric = "mIoU"
    judged_at_once = 8
    image_outputs: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, recipe: Recipe) -> Segmentation:
        """For the classes the recipe's network has."""
        return cls(classes_of(recipe))

    def loss(self, answers: Any, targets: Tensor, label_smoothing: float) -> Tensor:
        """The mean cross entropy of the pixels that count; 0 where none does."""
        smoothed = label_smoothing
        wanted = targets.long()
        total = nn.functional.cross_entropy(
            answers, wanted, ignore_index=IGNORED, label_smoothing=smoothed, reduction="sum"
        )
        return total / (wanted != IGNORED).sum().clamp_min(1)

    def tally(self) -> Confusions:
        """A new count."""
        return Confusions(self.classes)

    def percent(self, parts: Sequence[Any]) -> float:
        """mIoU; 0 where no pixel counts."""
        counts = np.sum(np.stack(parts), 0)
        return mean_iou(counts) if counts.any() else 0.0

    def judge(self, file: Path, images: Dataset, how: Preprocessing, on_image: Callable[[], None]) -> float:
        """A file's mIoU."""
        return self.answers(file, images, how, on_image).mean()

    def answers(self, file: Path, images: Dataset, how: Preprocessing, on_image: Callable[[], None]) -> JudgedMasks:
        """Ask a file about images with masks; each is judged in its own pixels.

        Raises:
            BadInput: a broken image or mask, or a class the network has no answer for.
            WorkFailed: the runtime refuses the file, or its output is not (1, height, width, classes).
        """
        from compressors.evaluate import FileModel

        model = FileModel(file)
        right, either, told = [], [], []
        for pixels, mask in scenes_of(images):
            if isinstance(mask, np.ndarray):
                found = self._told(model, file, pixels, how)
                counts = confusion(mask, found, self.classes)
                told.append(_nearest(found, GRID, GRID).astype(np.uint8))
                right.append(np.diag(counts))
                either.append(counts.sum(0) + counts.sum(1) - np.diag(counts))
            on_image()
        if not right:
            raise BadInput("no image with a mask to judge by")
        return JudgedMasks(np.stack(right), np.stack(either), np.stack(told))

    @staticmethod
    def restored(arrays: dict[str, NDArray[Any]]) -> JudgedMasks:
        """From what a stage kept."""
        return JudgedMasks(arrays["right"], arrays["either"], arrays["told"])

    def _told(self, model: FileModel, file: Path, pixels: Pixels, how: Preprocessing) -> NDArray[np.int64]:
        """The class of each pixel of a photo: of windows that cover it, as it is resized for the network."""
        from compressors.data.preprocessing import normalise, resized

        photo = resized(pixels, how)
        height, width = photo.shape[:2]
        found = np.zeros((height, width), np.int64)
        for top, rows in windows(height, how.crop):
            for left, columns in windows(width, how.crop):
                window = photo[top : top + how.crop, left : left + how.crop]
                border = [(0, how.crop - side) for side in window.shape[:2]]
                answer = model(normalise(np.pad(window, [*border, (0, 0)])[np.newaxis], how))
                if answer.ndim != 4 or answer.shape[0] != 1 or answer.shape[3] != self.classes:
                    raise WorkFailed(
                        f"the file's output has shape {answer.shape}, not (1, height, width, {self.classes})",
                        where=str(file),
                    )
                best = _nearest(answer[0].argmax(2), how.crop, how.crop)
                found[rows, columns] = best[
                    rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
                ]
        return _nearest(found, *pixels.shape[:2])


def windows(length: int, size: int) -> Iterator[tuple[int, slice]]:
    """Windows of ``size`` that cover ``length`` evenly: where each begins, and the part it answers for.

    Where two overlap, each answers for the half that is nearer to its middle. One window where all fits in.
    """
    count = max(1, -(-length // size))
    starts = [round(number * (length - size) / (count - 1)) for number in range(count)] if count > 1 else [0]
    edges = [0, *((second + first + size) // 2 for first, second in pairwise(starts)), length]
    for start, (first, last) in zip(starts, pairwise(edges), strict=True):
        yield start, slice(first, last)


def _nearest(mask: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """A mask in another size, the class of the nearest pixel."""
    if mask.shape == (height, width):
        return mask
    rows, columns = (
        np.minimum(((np.arange(wanted) + 0.5) * there / wanted).astype(np.int64), there - 1)
        for wanted, there in zip((height, width), mask.shape, strict=True)
    )
    found: NDArray[np.int64] = mask[rows[:, np.newaxis], columns]
    return found
