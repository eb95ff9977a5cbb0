"""The `distil` step of a recipe, and what else may be taught: what may be written, and what is checked before anything
slow begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from compressors.train_section import Train
from pocketzoo.yamlfile import Section

Weight = Annotated[float, Field(gt=0, le=1e6)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class Soft(Section):
    """Cross entropy between the two networks' answers, both softened by ``temperature`` (Hinton et al., 2015,
    arXiv:1503.02531; PocketFlow's numbers)."""

    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    weight: Weight = 4.0


class FspPair(Section):
    """Two layers of each network, by name, whose outputs have the same channels in both."""

    teacher: Pair
    student: Pair


class Fsp(Section):
    """Mean square difference of FSP matrices F1 F2^T / (H W) (Yim et al., 2017, "A Gift from Knowledge Distillation").

    Each pair names two layers of the teacher and two of the student; the larger output of two is max-pooled to the
    size of the smaller.
    """

    weight: Weight = 1.0
    pairs: Annotated[list[FspPair], Field(min_length=1, max_length=64)]


class Losses(Section):
    """What is learnt: ``hard`` x cross entropy with the labels, plus what is given of ``soft``, ``l2`` (its weight;
    mean square difference of the outputs before softmax) and ``fsp``."""

    hard: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    soft: Soft | None = None
    l2: Weight | None = None
    fsp: Fsp | None = None


class Teacher(Section):
    """Which network teaches: that of a ``recipe``, or an ``architecture`` with ``options``.

    ``weights``: its checkpoint, a file or ``zoo:REF``; without, the recipe's own training is run (or found in the
    cache) on the student's data and seed, so that neither saw the student's held-out images. ``settings``: of that
    recipe, as ``--set`` has them: ``{train: {epochs: 30}}``.
    """

    recipe: str | None = None
    architecture: str | None = None
    options: dict[str, bool | int | float | str | list[int]] = Field(default_factory=dict)
    weights: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one(self) -> Teacher:
        if (self.recipe is None) == (self.architecture is None):
            raise ValueError("a teacher is a recipe, or an architecture with its weights: give one of the two")
        if self.architecture is not None and self.weights is None:
            raise ValueError("a teacher given by its architecture needs weights: FILE or zoo:REF")
        if self.recipe is None and self.settings:
            raise ValueError("settings are those of the teacher's recipe, and there is none")
        if self.recipe is not None and self.options:
            raise ValueError("options belong to an architecture; a recipe has its own: settings.model.options")
        return self


class Taught(Losses):
    """How another network teaches during a training; without a ``teacher`` it is the network before the step. Without
    any of ``soft``, ``l2`` and ``fsp`` it is ``soft`` with PocketFlow's numbers."""

    teacher: Teacher | None = None

    @model_validator(mode="before")
    @classmethod
    def _something(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and all(value.get(key) is None for key in ("soft", "l2", "fsp")):
            return {**value, "soft": {}}
        return value


class Distillation(Taught):
    """The network is trained with a teacher. ``scratch``: it begins with the weights its seed gives it, not with
    trained ones, as the published distillations do."""

    kind: Literal["distil"]
    scratch: bool = False
    train: Train

    @property
    def trains(self) -> bool:
        """It always does."""
        return True

    @model_validator(mode="after")
    def _has_teacher(self) -> Distillation:
        if self.teacher is None:
            raise ValueError("distil needs a teacher: {recipe: NAME} or {architecture: NAME, weights: FILE or zoo:REF}")
        return self
