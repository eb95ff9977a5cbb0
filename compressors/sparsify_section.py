"""The `sparsify` step of a recipe: what may be written in it, and what is checked before anything slow begins."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compressors.distil_section import Taught
from compressors.train_section import Train
from pocketzoo.yamlfile import Section

FEWEST_ZEROS = 2 / 3  # of a convolution: below this share XNNPACK computes densely


class Schedule(Section):
    """When weights become zero: s_t = s_f x (1 - (1 - (t - begin) / (end - begin)) ^ exponent).

    ``begin`` and ``end`` are shares of the training's steps; masks are chosen anew after ``every`` steps.
    """

    begin: Annotated[float, Field(ge=0, lt=1)] = 0.1
    end: Annotated[float, Field(gt=0, le=1)] = 0.5
    every: Annotated[int, Field(ge=1)] = 500
    exponent: Annotated[float, Field(gt=0, le=10)] = 3.0

    @model_validator(mode="after")
    def _in_order(self) -> Schedule:
        if self.begin >= self.end:
            raise ValueError(f"begin {self.begin:g} must be before end {self.end:g}")
        return self


class RatioSearch(Section):
    """PocketFlow's search for the ratios of ``ratios: rl``.

    Each of ``episodes`` roll-outs gives every layer a ratio, sets its smallest weights to zero, fits each layer's
    answers to those of the dense network (``regression_steps`` of Adam at ``regression_rate``), trains all of it for
    ``finetune_steps`` at ``finetune_rate`` with ``batch`` images each, and is judged on ``images`` of the held-out
    split (all by default).
    """

    episodes: Annotated[int, Field(ge=1, le=100_000)] = 200
    images: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] = 128
    regression_steps: Annotated[int, Field(ge=0, le=10_000)] = 20
    regression_rate: Annotated[float, Field(gt=0)] = 3e-2
    finetune_steps: Annotated[int, Field(ge=0, le=100_000)] = 400
    finetune_rate: Annotated[float, Field(gt=0)] = 3e-4


class Sparsify(Section):
    """Single weights are set to zero while the network is trained on (Zhu & Gupta, 2017; PocketFlow).

    ``sparsity``: percent of the weights of the layers it works on: convolutions and linear layers, but neither
    depthwise ones nor the first. ``ratios``: the same for every layer, by the logarithm of its weights (heuristic), or
    searched for (rl, with ``search``). ``keep``: further layers, or patterns of them, that stay dense. ``distil``: the
    dense network, or another one, teaches meanwhile. ``storage``: zeros are written like other weights, or 1x1
    convolutions with at least two thirds of zeros as sparse tensors, which makes the float file smaller and lets
    XNNPACK compute with its sparse kernels where it has them (docs/method.md).
    """

    kind: Literal["sparsify"]
    sparsity: Annotated[float, Field(gt=0, lt=100)]
    ratios: Literal["uniform", "heuristic", "rl"] = "uniform"
    schedule: Schedule = Schedule()
    search: RatioSearch | None = None
    keep: list[str] = Field(default_factory=list)
    distil: Taught | None = None
    storage: Literal["dense", "sparse"] = "dense"
    train: Train

    @property
    def trains(self) -> bool:
        """It always does."""
        return True

    @property
    def share(self) -> float:
        """The sparsity in 0..1."""
        return self.sparsity / 100

    @model_validator(mode="after")
    def _consistent(self) -> Sparsify:
        if self.train.ema is not None:
            raise ValueError(
                "train.ema averages weights over masks that change: the average would not be zero; leave it out"
            )
        if self.storage == "sparse" and self.ratios == "uniform" and self.share < FEWEST_ZEROS:
            raise ValueError(
                f"storage: sparse is for two thirds of zeros or more, where it is smaller and may be faster, and "
                f"sparsity is {self.sparsity:g}"
            )
        if self.search is not None and self.ratios != "rl":
            raise ValueError(f"search is for ratios: rl, not for {self.ratios}")
        return self
