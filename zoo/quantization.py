"""How a network is quantized, from the dtypes of its weighted layers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """A layer with weights: its operator, how the weights are stored, the dtype it computes on, and how many scales."""

    operator: str
    weights: str
    activations: str
    scales: int


def quantization_text(layers: Iterable[Layer]) -> str | None:
    """The scheme in words, e.g. ``int8 weights (per channel) and int8 activations in 52 layers``.

    Float weights that computing takes as they are need no word; None where there are no layers with weights.
    """
    counts: Counter[str] = Counter(_scheme(layer) for layer in layers)
    if not counts:
        return None
    parts = [f"{scheme} in {n} layer{'s' if n > 1 else ''}" for scheme, n in counts.most_common()]
    return "; ".join(parts)


def _scheme(layer: Layer) -> str:
    if layer.weights.startswith(("float", "bfloat")):
        if layer.weights == layer.activations:
            return layer.weights
        return f"{layer.weights} weights, {layer.activations} activations"
    spread = "per channel" if layer.scales > 1 else "per tensor" if layer.scales else "no scale"
    if layer.activations.startswith("float"):
        return f"{layer.weights} weights ({spread}), {layer.activations} activations (dynamic range)"
    return f"{layer.weights} weights ({spread}) and {layer.activations} activations"
