"""What a training is given and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

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


class Masking(Protocol):
    """Keeps some weights at exactly 0 while the others are trained. What it keeps goes into the checkpoint."""

    def begin(self, model: nn.Module, steps: int, state: dict[str, Tensor]) -> None:
        """Before the first step of ``steps``, or going on from what :meth:`state` gave (empty at the beginning)."""

    def after_backward(self, model: nn.Module) -> None:
        """Take the gradients of the weights that are 0 away, before the optimizer's step."""

    def after_step(self, model: nn.Module, optimizer: Optimizer, step: int) -> bool:
        """The optimizer made step number ``step`` (from 1). Whether the network is as sparse as it is to be."""

    def state(self) -> dict[str, Tensor]:
        """All that is needed to go on."""


@dataclass(frozen=True)
class Task:
    """What to train on what.

    ``title`` is told to the user; ``seed`` decides order, augmentation and dropout; ``identity`` adds to the settings
    a checkpoint must agree with (which weights it began with). ``objective`` maps (network, inputs, labels) to the
    loss; by default that of ``kind``, what the network is for. ``regulariser`` changes gradients, ``masking`` keeps
    weights at 0; they and ``objective`` must be told apart by ``identity``. Epochs before the masking says that the
    network is as sparse as it is to be are never kept.
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
    masking: Masking | None = None

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
