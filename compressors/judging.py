"""Networks judged on the held-out split, and images of the training split, for searches that ask often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compressors.stages import Stages
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    import torch


class HeldOut:
    """The task's metric of a torch network on the held-out split, whose images are prepared once where they fit."""

    FITS = 1 << 29  # bytes of prepared images kept in memory

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self._batches: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def __call__(self, model: torch.nn.Module, images: int | None = None) -> float:
        """Judge a network.

        Args:
            model: on any device; put into evaluation mode.
            images: at most that many of the split, every class alike; all by default.

        Raises:
            BadInput: the recipe has no training data.
        """
        import torch

        model.eval()
        device = next(model.parameters()).device
        tally = self.stages.task.tally()
        with torch.inference_mode():
            for inputs, labels in self._images(images):
                tally.see(model(inputs.to(device)), labels.to(device))
        return self.stages.task.percent([tally.parts()])

    def _images(self, number: int | None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        from compressors.data.dataset import drawn

        held_out = self.stages.inputs.held_out
        if held_out is None:
            raise BadInput(
                f"{self.stages.recipe.name} judges candidates on held-out images, but has no training data",
                hint="--set data.training.folder=FOLDER",
            )
        count = min(number or len(held_out.labels), len(held_out.labels))
        if count in self._batches:
            yield from self._batches[count]
            return
        shown = held_out if count == len(held_out.labels) else drawn(held_out, count, self.stages.recipe.seed)
        _, channels, height, width = self.stages.shape
        keep = 4 * count * channels * height * width <= self.FITS
        made = []
        for batch in _prepared(self.stages, shown, self.stages.task.judged_at_once):
            if keep:
                made.append(batch)
            yield batch
        if keep:
            self._batches[count] = made


def training_batches(stages: Stages, size: int, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """``count`` batches of training images as evaluation prepares them, drawn by the recipe's seed, every class alike.

    Raises:
        BadInput: the recipe has no training data.
    """
    from compressors.data.dataset import drawn

    training = stages.inputs.training
    if training is None:
        raise BadInput(
            f"{stages.recipe.name} looks at training images, and has none", hint="--set data.training.folder=FOLDER"
        )
    some = drawn(training, min(size * count, len(training.labels)), stages.recipe.seed)
    return _prepared(stages, some, size)


def _prepared(stages: Stages, images: Any, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    import torch

    from compressors.data.batches import Loader

    for batch in Loader(images, stages.recipe.preprocessing.record(), size).epoch(0):
        yield torch.from_numpy(batch.images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(batch.labels)
