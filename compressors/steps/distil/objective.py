"""The loss of a network that another one teaches.

    hard    cross entropy with the labels
    soft    cross entropy between softmax(teacher / T) and softmax(student / T) (Hinton et al., 2015, arXiv:1503.02531)
    l2      mean square difference of the outputs before softmax (PaddleSlim's L2Distiller)
    fsp     mean square difference of F1 F2^T / (H W) of two layers' outputs (Yim et al., 2017; PaddleSlim's
            FSPDistiller); where F1 and F2 have different sizes, the larger is max-pooled, as the paper does

The teacher answers in evaluation mode, so an image's answers do not depend on its batch: where augmentation leaves the
images as they are, they are computed once and remembered by the image's content.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from compressors.distil_section import FspPair, Losses
from compressors.observing import observing, run_on_zeros
from compressors.train_section import Train
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.names import did_you_mean

REMEMBERED = 1 << 29  # bytes of answers kept in memory


@dataclass(frozen=True)
class Answers:
    """Of some images: ``outputs`` (n, classes), and for each pair its FSP matrices (n, C1, C2)."""

    outputs: Tensor
    matrices: tuple[Tensor, ...]


def fsp_matrix(first: Tensor, second: Tensor) -> Tensor:
    """F1 F2^T / (H W).

    Args:
        first: (n, C1, H1, W1).
        second: (n, C2, H2, W2).

    Returns:
        (n, C1, C2).
    """
    height, width = (min(a, b) for a, b in zip(first.shape[2:], second.shape[2:], strict=True))
    pool = nn.functional.adaptive_max_pool2d
    if first.shape[2:] != (height, width):
        first = pool(first, (height, width))
    if second.shape[2:] != (height, width):
        second = pool(second, (height, width))
    return torch.einsum("nchw,ndhw->ncd", first, second) / (height * width)


class Objective:
    """The loss; an objective of :class:`compressors.train.task.Task`.

    Args:
        teacher: copied; takes the student's inputs.
        losses: what counts how much.
        train: of the student, for its label smoothing.
        remember: augmentation leaves the images as they are, so answers are worth keeping.
    """

    def __init__(self, teacher: nn.Module, losses: Losses, train: Train, *, remember: bool = False) -> None:
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
        self.losses, self.smoothing, self.remember = losses, train.label_smoothing, remember
        pairs = losses.fsp.pairs if losses.fsp is not None else []
        self.of_teacher = [tuple(pair.teacher) for pair in pairs]
        self.of_student = [tuple(pair.student) for pair in pairs]
        self.known: dict[bytes, tuple[Tensor, ...]] = {}
        self.room = REMEMBERED
        self.asked = 0  # images that the teacher was run on

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of one batch: inputs (n, C, H, W), labels (n,)."""
        how = self.losses
        found = answers(model, inputs, self.of_student)
        shown = self._shown(inputs)
        cross_entropy = nn.functional.cross_entropy
        # In the order of the parts, so that hard and soft alone are what they always were, to the last bit.
        loss = cross_entropy(found.outputs, labels, label_smoothing=self.smoothing)
        if how.hard != 1:
            loss = how.hard * loss
        if how.soft is not None:
            softened = (shown.outputs / how.soft.temperature).softmax(1)
            loss = loss + how.soft.weight * cross_entropy(found.outputs / how.soft.temperature, softened)
        if how.l2 is not None:
            loss = loss + how.l2 * nn.functional.mse_loss(found.outputs, shown.outputs)
        if how.fsp is not None:
            each = [nn.functional.mse_loss(a, b) for a, b in zip(found.matrices, shown.matrices, strict=True)]
            loss = loss + how.fsp.weight * torch.stack(each).sum()
        return loss

    def _shown(self, inputs: Tensor) -> Answers:
        if not self.remember:
            return self._ask(inputs)
        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in inputs.detach().cpu()]
        rows = [self.known.get(key) for key in keys]
        if all(row is not None for row in rows):
            columns = [torch.stack(column).to(inputs.device) for column in zip(*(r for r in rows if r), strict=True)]
            return Answers(columns[0], tuple(columns[1:]))
        asked = self._ask(inputs)
        parts = [part.cpu() for part in (asked.outputs, *asked.matrices)]
        for number, key in enumerate(keys):
            row = tuple(part[number].clone() for part in parts)
            size = sum(4 * part.numel() for part in row)
            if key not in self.known and self.room >= size:
                self.known[key] = row
                self.room -= size
        return asked

    def _ask(self, inputs: Tensor) -> Answers:
        self.asked += len(inputs)
        with torch.no_grad():
            return answers(self.teacher.to(inputs.device), inputs, self.of_teacher)


def answers(model: nn.Module, inputs: Tensor, pairs: Sequence[Sequence[str]]) -> Answers:
    """A network's outputs and the FSP matrices of pairs of its layers.

    Args:
        model: possibly inside a wrapper for several processes.
        inputs: (n, C, H, W).
        pairs: names of two layers each.
    """
    wanted = {name for pair in pairs for name in pair}
    inner: Any = getattr(model, "module", model) if isinstance(model, nn.parallel.DistributedDataParallel) else model
    with _watched(inner, wanted) as seen:
        outputs = model(inputs)
    return Answers(outputs, tuple(fsp_matrix(seen[first], seen[second]) for first, second in pairs))


@contextmanager
def _watched(model: nn.Module, names: set[str]) -> Iterator[dict[str, Tensor]]:
    """Collects what layers answer."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _taken: Any, given: Any) -> None:
        # A copy where the next layer works in place; a view of it would be changed under our hands.
        seen[name] = given.clone() if isinstance(given, Tensor) else given

    with observing(((name, model.get_submodule(name)) for name in names), keep):
        yield seen


def check(student: nn.Module, teacher: nn.Module, shape: Sequence[int], losses: Losses, names: tuple[str, str]) -> None:
    """See that a teacher can teach a student, before anything is trained.

    Args:
        student, teacher: take ``shape``; left in evaluation mode.
        shape: (1, C, H, W).
        losses: which layers are looked at.
        names: what to call student and teacher in errors.

    Raises:
        BadInput: other classes, layers that do not exist (with the nearest names), or whose outputs are no images or
            have other channels.
    """
    outputs = []
    for model, name in ((student, names[0]), (teacher, names[1])):
        try:
            found = _shapes(model, shape)
        except (RuntimeError, ValueError, TypeError) as error:
            raise BadInput(
                f"{name} cannot take the student's images of {shape[1]} x {shape[2]} x {shape[3]}",
                detail=(str(error).splitlines()[0][:200] if str(error) else type(error).__name__,),
                hint="a teacher for the same preprocessing",
            ) from error
        outputs.append(found)
    mine, theirs = (found[""] for found in outputs)
    if mine != theirs:
        raise BadInput(
            f"the teacher {names[1]} answers with {_told(theirs)}, the student {names[0]} with {_told(mine)}: both "
            "must know the same classes",
            hint="a teacher that was trained on the same classes",
        )
    for number, pair in enumerate(losses.fsp.pairs if losses.fsp is not None else ()):
        _check_pair(number, pair, outputs[0], outputs[1], names)


def _check_pair(
    number: int,
    pair: FspPair,
    mine: dict[str, tuple[int, ...]],
    theirs: dict[str, tuple[int, ...]],
    names: tuple[str, str],
) -> None:
    for side, layers, shapes, name in (
        ("student", pair.student, mine, names[0]),
        ("teacher", pair.teacher, theirs, names[1]),
    ):
        for layer in layers:
            if layer not in shapes or not layer:
                close = did_you_mean(layer, [known for known in shapes if known])
                raise BadInput(
                    f"fsp.pairs.{number}.{side} names a layer that {name} does not have: {layer!r}",
                    detail=(close or f"layers: {', '.join(known for known in shapes if known)}"[:300],),
                )
            if len(shapes[layer]) != 4:
                raise BadInput(
                    f"fsp.pairs.{number}.{side}: {layer} of {name} answers with {_told(shapes[layer])}, and an FSP "
                    "matrix is of channels x height x width",
                    hint="a convolution, or a block of them",
                )
    for student, teacher in zip(pair.student, pair.teacher, strict=True):
        channels = mine[student][1]
        if theirs[teacher][1] != channels:
            fitting = [name for name, found in theirs.items() if len(found) == 4 and found[1] == channels and name]
            raise BadInput(
                f"fsp.pairs.{number}: {student} of {names[0]} has {channels} channels and {teacher} of {names[1]} "
                f"{theirs[teacher][1]}; an FSP loss compares them one by one",
                detail=(
                    f"layers of {names[1]} with {channels}: {', '.join(fitting[:6])}"
                    if fitting
                    else f"no layer of {names[1]} has {channels} channels",
                ),
            )


def _shapes(model: nn.Module, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Layer -> the shape of its output, where it is one tensor; the whole network's under the empty name."""
    found: dict[str, tuple[int, ...]] = {}

    def keep(name: str, _module: nn.Module, _taken: Any, given: Any) -> None:
        if isinstance(given, Tensor):
            found[name] = tuple(given.shape)

    with observing(model.named_modules(), keep):
        run_on_zeros(model, shape)
    if "" not in found:
        raise WorkFailed("the network answers with more than one tensor, and a distillation compares one")
    return found


def _told(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} classes" if len(shape) == 2 else " x ".join(map(str, shape[1:]))
