"""A training's state in one safetensors file: tensors by name, everything else as JSON in its header. No pickle.

    model.NAME        parameters and buffers, batch norm's counters and learnt ranges among them
    optimizer.N.NAME  the optimizer's tensors of parameter N
    ema.NAME, best.NAME   averaged weights, and the best epoch's
    more.NAME         what else the training keeps: a regulariser's strengths
    header "state"    JSON: step, epochs done, accuracies, the optimizer's plain numbers, the digest of the settings

The file appears by rename after it is on the disk, so a killed training leaves the previous one or this one, whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically

if TYPE_CHECKING:
    import torch

VERSION = "1"


@dataclass
class Position:
    """Where a training stands.

    ``step`` counts optimizer steps since the beginning, ``epoch`` finished epochs; ``accuracy`` has the held-out
    top-1 (percent) of each, ``best_epoch`` the number (from 1) of the best, 0 before the first.
    """

    settings: str
    step: int = 0
    epoch: int = 0
    best_epoch: int = 0
    accuracy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


Tensors = dict[str, "torch.Tensor"]


def save(
    path: Path,
    position: Position,
    model: Tensors,
    optimizer: Mapping[str, Any],
    ema: Tensors,
    best: Tensors,
    more: Tensors | None = None,
) -> None:
    """Write a checkpoint.

    Args:
        path: replaced when the new one is on the disk.
        position: where the training stands.
        model: the state dict.
        optimizer: its ``state_dict()``; the parameter groups are not kept, they follow from the recipe.
        ema: averaged weights; empty without.
        best: the best epoch's state dict; empty before the first.
        more: further tensors by name.
    """
    import torch
    from safetensors.torch import save as encode

    tensors: Tensors = {}
    numbers: dict[str, Any] = {}
    for number, slots in optimizer["state"].items():
        for name, value in slots.items():
            key = f"{number}.{name}"
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{key}"] = value
            else:
                numbers[key] = value
    for prefix, state in (("model", model), ("ema", ema), ("best", best), ("more", more or {})):
        tensors.update({f"{prefix}.{name}": value for name, value in state.items()})
    # Each tensor gets memory of its own: safetensors refuses two names for one piece of it.
    content = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {"version": VERSION, "state": json.dumps({"position": asdict(position), "optimizer": numbers})}
    write_atomically(path, encode(content, metadata=header))


Loaded = tuple[Position, Tensors, dict[int, dict[str, Any]], Tensors, Tensors, Tensors]


def load(path: Path, settings: str) -> Loaded | None:
    """Read a checkpoint; None where there is none.

    Returns:
        Position, model, optimizer state (without parameter groups), averaged weights, best weights,
        further tensors.

    Raises:
        BadInput: a damaged checkpoint, or one of a training with other settings.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
        record = json.loads(header["state"])
        position = Position(**record["position"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BadInput(
            "a damaged training checkpoint",
            where=str(path),
            detail=(str(error)[:200],),
            hint=f"rm {path}, and the training begins anew",
        ) from error
    if header.get("version") != VERSION or position.settings != settings:
        raise BadInput(
            "the checkpoint is of a training with other settings",
            where=str(path),
            hint=f"rm {path}, and the training begins anew",
        )
    parts: dict[str, Tensors] = {"model": {}, "ema": {}, "best": {}, "more": {}}
    slots: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        prefix, _, rest = name.partition(".")
        if prefix == "optimizer":
            number, _, slot = rest.partition(".")
            slots.setdefault(int(number), {})[slot] = value
        else:
            parts[prefix][rest] = value
    for key, number_value in record["optimizer"].items():
        number, _, slot = key.partition(".")
        slots.setdefault(int(number), {})[slot] = number_value
    return position, parts["model"], slots, parts["ema"], parts["best"], parts["more"]
