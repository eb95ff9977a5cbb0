"""The ``search`` part of a `prune` step: how the protocols that look for ratios do so."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compressors.train_section import Train
from pocketzoo.yamlfile import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class SearchSection(Section):
    """How ratios are searched for.

    ``images``: of the held-out split that judge a candidate; all by default. ``solver``: of sensitivity curves;
    ``fitted`` is PaddleSlim 1's, ``interpolated`` the later one's. ``each``: the share of what is left that a step of
    sensitivity-iterative (0.07) or sensitivity-stepwise (0.2) removes; ``between``: the training after each but the
    last, ``finetune`` by default. ``reward``: of the agents, accuracy within the budget or accuracy against cost.
    ``lowest``: the smallest share of a layer's input they keep, 0.2 for AMC, 0.1 for PocketFlow. ``batches`` of 50
    images are what layers are rebuilt from, 60 for AMC, 30 for PocketFlow. ``layers_at_once``, ``group_share`` (of the
    fine-tuning's epochs) and ``group_rate`` (Adam's): PocketFlow's group fine-tuning.
    """

    images: Annotated[int, Field(ge=1)] | None = None
    solver: Literal["fitted", "interpolated"] = "fitted"
    each: Share | None = None
    between: Train | None = None
    reward: Literal["accuracy", "accuracy-and-cost"] = "accuracy"
    lowest: Share | None = None
    batches: Annotated[int, Field(ge=1, le=100_000)] | None = None
    layers_at_once: Annotated[int, Field(ge=1)] = 4
    group_share: Share = 0.2
    group_rate: Annotated[float, Field(gt=0)] = 1e-4
