"""One class for the whole image: cross entropy, judged by top-1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from compressors.data.dataset import Dataset
    from zoo.artifact import Preprocessing


class RightOnes:
    """How many labels were the largest answer, of how many."""

    def __init__(self) -> None:
        self.right: Tensor | None = None
        self.seen = 0

    def see(self, answers: Any, targets: Tensor) -> None:
        """Answers (n, classes), targets (n,)."""
        found = (answers.argmax(1) == targets).sum()
        # Summed where it is: to look at it would wait for the device.
        self.right = found if self.right is None else self.right + found
        self.seen += len(targets)

    def parts(self) -> tuple[int, int]:
        """Right ones, and all."""
        return (0 if self.right is None else int(self.right), self.seen)


class Classification:
    """See :class:`compressors.tasks.VisionTask`."""

    name = "image-classification"
    metric = "top-1"
    judged_at_once = 256
    image_outputs: tuple[int, ...] = ()

    def loss(self, answers: Any, targets: Tensor, label_smoothing: float) -> Tensor:
        """Cross entropy of (n, classes) with (n,) labels."""
        return nn.functional.cross_entropy(answers, targets, label_smoothing=label_smoothing)

    def tally(self) -> RightOnes:
        """A new count."""
        return RightOnes()

    def percent(self, parts: Sequence[Any]) -> float:
        """Top-1."""
        right, seen = (sum(int(each[place]) for each in parts) for place in (0, 1))
        return 100 * right / seen

    def judge(self, file: Path, images: Dataset, how: Preprocessing, on_image: Callable[[], None]) -> float:
        """A file's top-1."""
        from compressors.evaluate import answer

        found = answer(file, images, how, on_image)
        return 100 * found.right(1) / len(found.labels)
