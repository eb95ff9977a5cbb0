"""Which layers of a network lose weights: convolutions and linear layers, but neither depthwise ones nor the stem.

For MobileNets these are PocketFlow's: the pointwise convolutions and the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from compressors.observing import observing, run_on_zeros
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.names import did_you_mean

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


def sparse_layers(model: nn.Module, shape: Sequence[int], keep: Sequence[str] = ()) -> dict[str, int]:
    """The layers that lose weights, in the order of execution, and how many weights each has.

    Args:
        model: takes ``shape``; left in evaluation mode.
        shape: (1, C, H, W).
        keep: names, or patterns such as ``features.0.*``, of further layers that stay dense.

    Raises:
        BadInput: a name or pattern in ``keep`` that no layer has; no layer is left.
        WorkFailed: two layers share one weight, or a layer runs twice: which zeros would be whose cannot be told.
    """
    order = executed(model, shape)
    for pattern in keep:
        if not any(fnmatchcase(name, pattern) for name in order):
            close = did_you_mean(pattern, order)
            raise BadInput(
                f"steps.keep names a layer that the network does not have: {pattern!r}",
                detail=(close or f"layers: {', '.join(order)}"[:300],),
            )
    found: dict[str, int] = {}
    owners: dict[int, str] = {}
    for number, (name, layer) in enumerate(order.items()):
        weight = layer.get_parameter("weight")
        if id(weight) in owners:
            raise WorkFailed(
                f"layers {owners[id(weight)]!r} and {name!r} share their weights",
                hint="--set steps.N.keep=[...] leaves both dense",
            )
        owners[id(weight)] = name
        if number == 0 or _depthwise(layer) or any(fnmatchcase(name, pattern) for pattern in keep):
            continue
        found[name] = weight.numel()
    if not found:
        raise BadInput(
            "no layer is left to sparsify: the first and depthwise layers stay dense",
            hint="fewer layers in keep",
        )
    return found


def executed(model: nn.Module, shape: Sequence[int]) -> dict[str, nn.Module]:
    """Convolutions and linear layers by name, in the order they run in."""
    order: dict[str, nn.Module] = {}

    def seen(name: str, module: nn.Module, _taken: Any, _given: Any) -> None:
        order.setdefault(name, module)

    weighted = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, WEIGHTED))
    with observing(weighted, seen):
        run_on_zeros(model, shape)
    return order


def _depthwise(layer: Any) -> bool:
    return getattr(layer, "groups", 1) > 1


def weight_of(model: nn.Module, name: str) -> Tensor:
    """A layer's weight, also where fake quantization is wrapped around the layer."""
    layer: Any = model.get_submodule(name)
    inner = getattr(layer, "layer", None)
    return (inner if isinstance(inner, WEIGHTED) else layer).get_parameter("weight")


def zeros(model: nn.Module, layers: Sequence[str]) -> tuple[int, int]:
    """How many weights of these layers are exactly 0, and how many there are."""
    weights = [weight_of(model, name) for name in layers]
    return sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)
