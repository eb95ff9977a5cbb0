"""The `prune` step of a recipe: what may be written in it, and what is checked before anything slow begins."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compressors.search.section import SearchSection
from compressors.train_section import Train
from pocketzoo.yamlfile import Section

Criterion = Literal["filter-l1", "l1", "l2", "bn-scale", "fpgm", "taylor", "group-sl", "random", "lasso"]
Percent = Annotated[float, Field(gt=0, lt=100)]
TRAIN_BETWEEN = ("iterative", "sensitivity-iterative", "sensitivity-stepwise", "ddpg-pocketflow-groups")
RUNS_DATA = ("sensitivity", "ddpg")  # protocols of these families evaluate candidates on the held-out split


class PruneTarget(Section):
    """What is to be reached, one of: percent of the MACs or of the parameters removed, or the speed-up in MACs."""

    macs: Percent | None = None
    parameters: Percent | None = None
    speed_up: Annotated[float, Field(gt=1, le=1e6)] | None = None

    @model_validator(mode="after")
    def _one(self) -> PruneTarget:
        if sum(value is not None for value in (self.macs, self.parameters, self.speed_up)) != 1:
            raise ValueError("give one of macs (percent removed), parameters (percent removed) or speed_up (such as 2)")
        return self

    @property
    def kind(self) -> Literal["macs", "parameters"]:
        """What is counted."""
        return "macs" if self.parameters is None else "parameters"

    @property
    def stays(self) -> float:
        """The share that may stay, between 0 and 1."""
        if self.speed_up is not None:
            return 1 / self.speed_up
        return 1 - (self.macs or self.parameters or 0) / 100


class Sparse(Section):
    """Sparse learning before pruning: a training in which channels are pushed towards zero.

    ``bn``: ``strength`` x sign(gamma) on batch norm's scales. ``greg``: ``strength`` x w, growing after each epoch by
    up to ``growth`` for the least important channels. ``group-sl``: ``strength`` x w x 2^(``alpha`` x how unimportant
    the channel is, from 0 to 1). Defaults are Torch-Pruning's.
    """

    regulariser: Literal["bn", "greg", "group-sl"]
    strength: Annotated[float, Field(gt=0)] | None = None
    growth: Annotated[float, Field(gt=0)] = 1e-5
    alpha: Annotated[float, Field(ge=0, le=16)] = 4.0
    train: Train

    @property
    def reg(self) -> float:
        """The strength, or Torch-Pruning's for this regulariser."""
        return self.strength or {"bn": 1e-5, "greg": 1e-4, "group-sl": 5e-4}[self.regulariser]


class Distil(Section):
    """While fine-tuning, the unpruned network teaches: cross entropy + ``weight`` x cross entropy with its answers,
    both softened by ``temperature`` (PocketFlow's)."""

    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    weight: Annotated[float, Field(gt=0)] = 4.0


class Prune(Section):
    """Channels are taken out of the network, which is then trained on.

    ``protocol`` says how many each group keeps (``channels``: as listed), ``criterion`` which; ``lasso`` (PocketFlow)
    also rebuilds by least squares what reads them. The target is held within 1 % of the network's cost. ``round_to``:
    what stays is a multiple of it. ``keep``: layers, or patterns of layers (``backbone.*``), whose channels stay,
    besides those of ``prunable``, an architecture's published set. ``iterations``: rounds of the iterative protocols.
    ``episodes``: of the searches, whose other settings are in ``search``; the ddpg protocols choose channels in their
    authors' way and take no criterion.
    """

    kind: Literal["prune"]
    protocol: Literal[
        "uniform",
        "global",
        "iterative",
        "sensitivity",
        "sensitivity-iterative",
        "sensitivity-stepwise",
        "ddpg-pocketflow",
        "ddpg-pocketflow-groups",
        "ddpg-amc",
        "channels",
    ] = "uniform"
    criterion: Criterion = "l1"
    target: PruneTarget | None = None
    channels: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    round_to: Annotated[int, Field(ge=1, le=1024)] = 1
    keep: list[str] = Field(default_factory=list)
    prunable: str | None = None
    iterations: Annotated[int, Field(ge=1, le=1000)] = 3
    episodes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    search: SearchSection = SearchSection()
    sparse: Sparse | None = None
    finetune: Train | None = None
    distil: Distil | None = None

    @property
    def trains(self) -> bool:
        """Whether it trains the network."""
        return self.finetune is not None or self.sparse is not None or self.search.between is not None

    @property
    def looks(self) -> bool:
        """Whether it looks at training images without training."""
        return self.criterion in ("taylor", "lasso") or self.protocol.startswith(RUNS_DATA)

    @property
    def rebuilds(self) -> bool:
        """Whether layers are rebuilt by least squares, which knows no zeros."""
        return self.criterion == "lasso" or self.protocol.startswith("ddpg")

    @model_validator(mode="after")
    def _consistent(self) -> Prune:
        if (self.protocol == "channels") != bool(self.channels):
            raise ValueError("`channels` (group name -> how many stay) and protocol: channels belong together")
        if (self.protocol == "channels") == (self.target is not None):
            raise ValueError(
                "protocol channels has no target: its channels say it all"
                if self.target is not None
                else f"protocol {self.protocol} needs a target: {{macs: 50}}, {{parameters: 50}} or {{speed_up: 2}}"
            )
        if self.criterion == "lasso" and self.protocol != "uniform":
            raise ValueError("criterion lasso goes with protocol uniform; the searches choose by it where it is theirs")
        if self.protocol in TRAIN_BETWEEN and self.finetune is None and self.search.between is None:
            raise ValueError(f"protocol {self.protocol} trains between its rounds and needs a finetune section")
        if self.search.between is not None and self.protocol not in ("sensitivity-iterative", "sensitivity-stepwise"):
            raise ValueError(f"search.between is for the protocols in sensitivity steps, not for {self.protocol}")
        if self.protocol.startswith("ddpg") and "criterion" in self.model_fields_set:
            raise ValueError(f"protocol {self.protocol} chooses channels in its authors' way: leave criterion out")
        if self.episodes is not None and not self.protocol.startswith("ddpg"):
            raise ValueError(f"episodes are for the ddpg protocols, not for {self.protocol}")
        if self.distil is not None and self.finetune is None:
            raise ValueError("distil says what teaches while fine-tuning, and this step has no finetune section")
        return self
