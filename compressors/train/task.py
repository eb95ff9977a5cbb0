"""What a training is given and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from compressors.data.batches import Augmentation
from compressors.data.dataset import Dataset
from compressors.tasks import VisionTask
from compressors.tasks.classification import Classification
from compressors.train_section import Train
from pocketzoo.files import sha256_json
from zoo.artifact import Preprocessing

NONE = Augmentation()
Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Regulariser(Protocol):
    """Pushes weights somewhere while they are trained. What it keeps goes into the checkpoint."""

    def after_backward(self, model: nn.Module) -> None:
        """Add to the gradients, before the optimizer's step."""

    def after_epoch(self, model: nn.Module) -> None:
        """An epoch is over."""

    def state(self) -> dict[str, Tensor]:
        """All that is needed to go on."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave."""


@dataclass(frozen=True)
class Task:
    """What to train on what.

    ``title`` is told to the user; ``seed`` decides order, augmentation and dropout; ``identity`` adds to the settings
    a checkpoint must agree with (which weights it began with). ``objective`` maps (network, inputs, labels) to the
    loss; by default that of ``kind``, what the network is for. ``regulariser`` changes gradients; both it and
    ``objective`` must be told apart by ``identity``.
    """

    title: str
    training: Dataset
    held_out: Dataset
    preprocessing: Preprocessing
    how: Train
    seed: int
    augmentation: Augmentation = NONE
    identity: str = ""
    objective: Objective | None = None
    regulariser: Regulariser | None = None
    kind: VisionTask = field(default_factory=Classification)

    @property
    def settings(self) -> str:
        """Digest of all that decides the result."""
        parts = {
            "how": self.how.model_dump(exclude={"checkpoint_steps"}),
            "seed": self.seed,
            "preprocessing": repr(self.preprocessing),
            "augmentation": repr(self.augmentation),
            "training": self.training.identity,
            "held_out": self.held_out.identity,
            "identity": self.identity,
        }
        return sha256_json(parts)


@dataclass(frozen=True)
class Outcome:
    """A finished training: ``kept`` is the epoch (from 1) whose weights the network has now; accuracies in percent."""

    epochs: int
    steps: int
    kept: int
    accuracy: float
    last_accuracy: float
    loss: float
    resumed_at: int | None
