"""What a network is for: what its answers cost while it learns, how they are judged, and how its file is.

Training, pruning, quantization and evaluation ask a :class:`VisionTask` and know nothing of classes, boxes or masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from compressors.data.dataset import Dataset
    from compressors.sections import Recipe
    from zoo.artifact import Accuracy, Preprocessing


class Tally(Protocol):
    """Counts how well answers fit, batch by batch, perhaps in several processes."""

    def see(self, answers: Any, targets: Tensor) -> None:
        """One batch: what the network gave, in evaluation mode, and what is true, both on its device."""

    def parts(self) -> Any:
        """What was counted so far, on the CPU; can be pickled."""


class Judged(Protocol):
    """What a file answered to the images that judge it: as a stage keeps it, and as the artifact tells it."""

    def summary(self) -> str:
        """In a few words."""

    def accuracies(self, *, dataset: str, split: str, measured_on: str) -> tuple[Accuracy, ...]:
        """The metrics in percent with their 95 % intervals, the one a model is chosen by first."""

    def alike(self, other: Any) -> tuple[float, tuple[float, float]] | None:
        """The share of answers that another file gives to the same images, too, in percent with its 95 % interval.

        None where neither says anything that could be compared.
        """


class VisionTask(Protocol):
    """A kind of task.

    ``name`` is the artifact's; ``metric`` is what the held-out split is judged by, in percent; ``judged_at_once`` is
    how many images of it are judged together; ``image_outputs`` are those of the network's outputs that are
    (N, C, H, W), and (N, H, W, C) in the file.
    """

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def judged_at_once(self) -> int: ...

    @property
    def image_outputs(self) -> tuple[int, ...]: ...

    def loss(self, answers: Any, targets: Tensor, label_smoothing: float) -> Tensor:
        """The mean loss of a batch, of answers in training mode."""

    def tally(self) -> Tally:
        """A new count."""

    def percent(self, parts: Sequence[Any]) -> float:
        """The metric of what all processes counted."""

    def judge(self, file: Path, images: Dataset, how: Preprocessing, on_image: Callable[[], None]) -> float:
        """The metric of a file."""


def task_of(recipe: Recipe) -> VisionTask:
    """The task a recipe names."""
    if recipe.task == "object-detection":
        from compressors.tasks.detection import Detection

        return Detection.of(recipe)
    if recipe.task == "image-segmentation":
        from compressors.tasks.segmentation import Segmentation

        return Segmentation.of(recipe)
    from compressors.tasks.classification import Classification

    return Classification()
