"""The file of a quantization-aware training: the learnt ranges become its scales."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.sections import Quantize
from compressors.steps.quantize import graph
from compressors.steps.quantize.check import check, check_learnt
from compressors.steps.quantize.gate import Gated, gated
from compressors.steps.quantize.post_training import Ranges, calibrate, make, with_learnt
from pocketzoo.errors import WorkFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Range = tuple[float, float]
SAME = 1e-6  # relative difference of two ranges that are one


@dataclass(frozen=True)
class Gate:
    """What a gate is judged by: see :func:`compressors.steps.quantize.gate.gated`.

    ``exact_file`` is the float file of the network before it was trained with fake quantization.
    """

    exact_file: Path
    judge: Callable[[Path], float]
    probes: Sequence[NDArray[np.float32]]
    say: Callable[[str], None]
    metric: str = "top-1"


@dataclass(frozen=True)
class Told:
    """What became of the learnt ranges: tensors that carry one, those that were calibrated, those that were widened.

    A widened one is shared by layers that learnt different ranges for one scale, such as before and after a pooling;
    the file has the widest, and no narrower one than what a pooling or resizing reads. ``gate`` says what was kept in
    float, where the step has a gate.
    """

    learnt: int
    calibrated: int
    widened: int
    gate: Gated | None = None


def quantize_learnt(
    source: Path,
    target: Path,
    step: Quantize,
    learnt: Mapping[str, Range],
    weights: Mapping[str, NDArray[np.float32]],
    samples: Iterable[NDArray[np.float32]],
    on_sample: Callable[[], None] = lambda: None,
    gate: Gate | None = None,
) -> Told:
    """Quantize the float file of a network that was trained for it.

    Args:
        source: the float file, exported after fake quantization was taken out.
        target: where to write.
        step: with its ``qat`` section.
        learnt: layer -> range of its input; empty for dynamic activations.
        weights: layer -> weight as torch has it; tells which operator is which layer.
        samples: for the tensors no layer reads (inputs of additions, the output): these ranges are calibrated.
        on_sample: called after each.
        gate: with ``max_drop``, what judges the file.

    Raises:
        WorkFailed: a layer that cannot be found in the file, a range that did not reach it, or a gate that cannot hold.
    """
    if step.qat is None:
        raise ValueError("the step has no qat section")
    found = graph.read(source)
    nodes = graph.match(found, weights, source)
    if not learnt:
        done = None
        if gate is None:
            make(source, target, step, None)
            check(source, target, step)
        else:
            done = gated(
                source, target, step, None, nodes, gate.judge, gate.probes, gate.say,
                exact_file=gate.exact_file, metric=gate.metric,
            )  # fmt: skip
        return Told(0, 0, 0, done)
    symmetric = step.qat.activations == "moving_average_abs_max"
    ranges = calibrate(source, step, samples, on_sample)
    by_tensor, widened = _by_tensor(found, nodes, learnt, ranges, symmetric=symmetric)
    calibrated = len(set(ranges) - set(by_tensor))
    ranges = with_learnt(ranges, by_tensor)

    def reached(file: Path, kept: tuple[str, ...]) -> None:
        # What a layer in float reads need not be quantized any more.
        floating = {tensor for name in kept for tensor in graph.upstream(found, graph.parts(nodes[name])[0])}
        check_learnt(file, by_tensor, symmetric=symmetric, floating=floating)

    if gate is None:
        make(source, target, step, ranges, symmetric=symmetric)
        check(source, target, step)
        reached(target, ())
        return Told(len(by_tensor), calibrated, widened)
    done = gated(
        source, target, step, ranges, nodes, gate.judge, gate.probes, gate.say,
        exact_file=gate.exact_file, symmetric=symmetric, inspect=reached, metric=gate.metric,
    )  # fmt: skip
    return Told(len(by_tensor), calibrated, widened, done)


def _by_tensor(
    found: graph.Graph,
    nodes: Mapping[str, graph.Node],
    learnt: Mapping[str, Range],
    calibrated: Ranges,
    *,
    symmetric: bool,
) -> tuple[dict[str, Range], int]:
    """Tensor -> its range: that of the layer that reads it, also for the tensors before it that have the same scale.

    Where these hold other values (what a pooling or a resizing reads), the range is as wide as they need it.
    """
    groups: dict[str, list[tuple[list[str], Range]]] = {}
    for layer, limits in learnt.items():
        if limits[1] - limits[0] <= 0:
            raise WorkFailed(
                f"layer {layer!r} learnt an empty range: it saw nothing but zeros",
                hint="train longer, or check the network: this layer's input is dead",
            )
        chain = graph.upstream(found, graph.parts(nodes[layer])[0])
        groups.setdefault(chain[-1], []).append((chain, limits))
    by_tensor: dict[str, Range] = {}
    widened = 0
    for root, members in groups.items():
        low, high = min(limits[0] for _, limits in members), max(limits[1] for _, limits in members)
        if root in calibrated and not all(graph.same_values(found, chain) for chain, _ in members):
            low, high = _covering((low, high), calibrated[root], symmetric=symmetric)
        size = high - low
        widened += any(abs(low - limits[0]) + abs(high - limits[1]) > SAME * size for _, limits in members)
        for chain, _ in members:
            by_tensor.update(dict.fromkeys(chain, (low, high)))
    return by_tensor, widened


def _covering(limits: Range, needed: Mapping[str, Any], *, symmetric: bool) -> Range:
    low, high = min(limits[0], float(needed["min"].min())), max(limits[1], float(needed["max"].max()))
    if symmetric:
        high = max(-low, high)
        low = -high
    return low, high
