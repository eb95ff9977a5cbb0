"""How something is trained: the section that every training of a recipe has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pocketzoo.yamlfile import Section


class Train(Section):
    """A training: optimizer, schedule, budget and what is kept.

    ``lr`` is the learning rate after ``warmup_epochs`` of linear growth; ``cosine`` brings it to 0, ``step``
    multiplies it by ``gamma`` after each of ``milestones`` (epochs), ``poly`` brings it to 0 as (1 - share)^0.9,
    ``constant`` keeps it. ``batch`` counts the
    images of one step on all devices together. ``keep: best`` takes the epoch with the best held-out accuracy, ``last``
    the last one. ``early_stop`` ends after that many epochs without a better one. ``ema`` averages the weights.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch: Annotated[int, Field(ge=1)] = 256
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["cosine", "step", "poly", "constant"] = "cosine"
    milestones: list[Annotated[float, Field(gt=0)]] = Field(default_factory=list)
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    keep: Literal["best", "last"] = "best"
    early_stop: Annotated[int, Field(ge=1)] | None = None
    checkpoint_steps: Annotated[int, Field(ge=1)] = 500

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if self.schedule == "step" and not self.milestones:
            raise ValueError("schedule step needs milestones, such as [30, 60, 90]")
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must grow, found {self.milestones}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warm-up of {self.warmup_epochs:g} epochs in a training of {self.epochs}")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov is for sgd with momentum")
        return self
