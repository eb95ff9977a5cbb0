"""An accuracy gate: the most sensitive layers stay in float until the file loses no more than was allowed.

Sensitivity of a layer: the file with this layer alone quantized, against the float file; mean square difference of the
outputs over their mean square, on probe samples. Layers are kept in float in that order, and as few as hold the gate:
their number is doubled until it holds, then bisected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.evaluate import FileModel
from compressors.sections import Quantize
from compressors.steps.quantize import graph
from compressors.steps.quantize.check import check
from compressors.steps.quantize.post_training import Ranges, make
from pocketzoo.errors import WorkFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN = 5


@dataclass(frozen=True)
class Gated:
    """What the gate came to: accuracies in percent on the held-out split, the layers kept in float, most sensitive
    first, and each layer's sensitivity (empty where the gate held at once)."""

    float_accuracy: float
    accuracy: float
    kept: tuple[str, ...]
    sensitivity: dict[str, float]
    metric: str = "top-1"


def gated(
    source: Path,
    target: Path,
    step: Quantize,
    ranges: Ranges | None,
    nodes: Mapping[str, graph.Node],
    judge: Callable[[Path], float],
    probes: Sequence[NDArray[np.float32]],
    say: Callable[[str], None],
    *,
    exact_file: Path | None = None,
    symmetric: bool = False,
    inspect: Callable[[Path, tuple[str, ...]], None] | None = None,
    metric: str = "top-1",
) -> Gated:
    """Quantize so that the gate holds.

    Args:
        source: the float file.
        target: where to write.
        step: with ``max_drop``.
        ranges: calibrated, for static schemes.
        nodes: layer name -> operator, from :func:`compressors.steps.quantize.graph.match`.
        judge: a file's metric in percent, on images that are neither trained nor evaluated on.
        probes: inputs that sensitivity is measured on.
        say: told about each try.
        exact_file: what ``max_drop`` counts from; by default the float file itself.
        symmetric: activations have zero point 0.
        metric: what ``judge`` gives, for words.
        inspect: looks at each try's file and the layers it keeps in float, and raises where something is not right.

    Raises:
        WorkFailed: not even all but the least sensitive layer in float are enough.
    """
    if step.max_drop is None:
        raise ValueError("the step has no gate")
    allowed, exact = step.max_drop, judge(exact_file or source)
    sensitivity: dict[str, float] = {}
    order: list[str] = []

    def attempt(count: int) -> float:
        kept = order[:count]
        outputs = [nodes[name].outputs[0] for name in kept]
        make(source, target, step, ranges, symmetric=symmetric, keep_float=outputs)
        check(source, target, step, kept=count)
        if inspect is not None:
            inspect(target, tuple(kept))
        found = judge(target)
        say(f"{count} layers in float: {metric} {found:.2f} %, float {exact:.2f} %")
        return found

    accuracy = attempt(0)
    if exact - accuracy <= allowed:
        return Gated(exact, accuracy, (), {}, metric)
    sensitivity = sensitivities(source, target, step, ranges, nodes, probes, symmetric=symmetric)
    order = sorted(sensitivity, key=lambda name: -sensitivity[name])
    tried: dict[int, float] = {0: accuracy}
    fails, holds = 0, 0
    most = len(order) - 1
    while not holds:
        count = min(most, max(1, 2 * fails))
        tried[count] = attempt(count)
        if exact - tried[count] <= allowed:
            holds = count
        elif count >= most:
            raise WorkFailed(
                f"{metric} falls by more than {allowed:g} points, however many layers stay in float",
                detail=tuple(f"{n} of {len(order)} layers in float: {exact - a:.2f} points" for n, a in tried.items()),
                hint="another scheme (static-int8x16), other ranges, quantization-aware training, or a larger max_drop",
            )
        else:
            fails = count
    while holds - fails > 1:
        middle = (holds + fails) // 2
        tried[middle] = attempt(middle)
        if exact - tried[middle] <= allowed:
            holds = middle
        else:
            fails = middle
    if next(reversed(tried)) != holds:
        attempt(holds)  # the file is that of the last try
    return Gated(exact, tried[holds], tuple(order[:holds]), sensitivity, metric)


def sensitivities(
    source: Path,
    scratch: Path,
    step: Quantize,
    ranges: Ranges | None,
    nodes: Mapping[str, graph.Node],
    probes: Sequence[NDArray[np.float32]],
    *,
    symmetric: bool = False,
) -> dict[str, float]:
    """Layer -> what quantizing it alone does to the output; 0 is nothing, 1 as large as the output itself."""
    import numpy as np

    def answers(file: Path) -> NDArray[np.float32]:
        model = FileModel(file, many=True)
        return np.concatenate([output.ravel() for probe in probes for output in model.outputs(probe)])

    exact = answers(source)
    size = float(np.mean(exact**2)) or 1.0
    found = {}
    for name, node in nodes.items():
        make(source, scratch, step, ranges, symmetric=symmetric, only=node.outputs[0])
        outputs = answers(scratch)
        found[name] = float(np.mean((outputs - exact) ** 2)) / size
    if not any(found.values()):
        raise WorkFailed("no layer changes the output when it is quantized alone; sensitivity cannot be told")
    return found


def told(found: Gated, of: int) -> str:
    """For notes: the gate's result in one sentence."""
    drop = found.float_accuracy - found.accuracy
    if not found.kept:
        return (
            f"gate: {found.metric} {found.accuracy:.2f} % on the held-out split, {drop:+.2f} points below float; "
            "all in int8"
        )
    names = ", ".join(found.kept[:SHOWN]) + (f" and {len(found.kept) - SHOWN} more" if len(found.kept) > SHOWN else "")
    return (
        f"gate: {found.metric} {found.accuracy:.2f} % on the held-out split, {drop:.2f} points below float, with "
        f"{len(found.kept)} of {of} layers in float: {names}"
    )
