"""How much accuracy each group of channels costs when it alone is pruned, and the ratios that follow.

Curves as PaddleSlim's SensitivePruneStrategy measures them (github.com/PaddlePaddle/PaddleSlim): every group alone, at
steps of 0.1, channels by their L1 norm, the drop of top-1. One common loss then decides all ratios:

- ``fitted``, PaddleSlim 1: a cubic through each curve; a group's ratio is where its cubic first reaches the loss.
- ``interpolated``, later PaddleSlim (``get_ratios_by_loss``): relative losses, straight lines between the points; a
  group's ratio is the largest whose loss is not above.

The loss is found by bisection. Where a curve never reaches it, the group is pruned as far as its curve was measured and
no further, so a target can be out of reach; that is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from compressors.progress import Progress
from compressors.search.budget import Budget, Counts, nearest
from compressors.search.evaluations import Evaluate, Remembered
from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically

RATIOS = tuple(step / 10 for step in range(1, 10))
EVALUATIONS = "sensitivity.jsonl"
CURVES = "sensitivity.json"
HALVINGS = 60  # of the common loss: to the last digit of a double

Solver = Literal["fitted", "interpolated"]


@dataclass(frozen=True)
class Curve:
    """Of one group: the shares of its channels that were removed (as rounded), and top-1 (0..1) without them."""

    group: str
    ratios: tuple[float, ...]
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class Sensitivity:
    """Top-1 (0..1) of the whole network, and the curve of each group."""

    baseline: float
    curves: tuple[Curve, ...]


def measure(
    channels: Mapping[str, int],
    evaluate: Evaluate,
    folder: Path,
    progress: Progress,
    *,
    identity: str,
    ratios: Sequence[float] = RATIOS,
    multiples: Mapping[str, int] | None = None,
) -> Sensitivity:
    """Measure the curves. Every point is written down when it is known, so a killed measurement goes on from there.

    Args:
        channels: of each group that may be pruned.
        evaluate: counts to top-1 in 0..1 on the held-out split.
        folder: gets ``sensitivity.jsonl``, the points as they come, and ``sensitivity.json``, the finished curves.
        progress: one advance for each point.
        identity: all that the points depend on.
        ratios: shares to remove.
        multiples: what a group's counts must be multiples of, where that is not 1 (grouped convolutions).

    Raises:
        BadInput: the folder holds points of another network.
    """
    remembered = Remembered(evaluate, folder / EVALUATIONS, identity)
    progress.begin("sensitivity curves", 1 + len(channels) * len(ratios))
    baseline = remembered(channels)
    progress.advance()
    curves = []
    for group, whole in channels.items():
        points: dict[int, float] = {}
        for ratio in ratios:
            unit = (multiples or {}).get(group, 1)
            kept = max(unit, round((1 - ratio) * whole / unit) * unit)
            if kept < whole and kept not in points:
                points[kept] = remembered({**channels, group: kept})
            progress.advance()
        shares = sorted((1 - kept / whole, accuracy) for kept, accuracy in points.items())
        curves.append(Curve(group, tuple(share for share, _ in shares), tuple(accuracy for _, accuracy in shares)))
    found = Sensitivity(baseline, tuple(curves))
    write_atomically(folder / CURVES, json.dumps(asdict(found), indent=1).encode())
    return found


def read(path: Path) -> Sensitivity:
    """Curves that were written by :func:`measure`.

    Raises:
        BadInput: a file that holds none.
    """
    try:
        found = json.loads(path.read_bytes())
        curves = tuple(
            Curve(curve["group"], tuple(map(float, curve["ratios"])), tuple(map(float, curve["accuracies"])))
            for curve in found["curves"]
        )
        return Sensitivity(float(found["baseline"]), curves)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput("no sensitivity curves", where=str(path), detail=(str(error)[:200],)) from error


def solve(found: Sensitivity, budget: Budget, solver: Solver) -> Counts:
    """The counts whose groups all lose the same, at the target.

    PaddleSlim stops when the FLOPs are within 0.02 of the target; here the loss is bisected until nothing changes and
    the rounding to whole channels is then made up for, so that the target is met within 1 %.

    Raises:
        BadInput: the target is out of reach of the curves, or cannot be met with the rounding.
    """
    budget.check()
    ratio_at = {curve.group: _ratio_at(curve, found.baseline, solver) for curve in found.curves if curve.ratios}

    def counts_at(loss: float) -> Counts:
        return {
            group: nearest(options, options[-1] * (1 - ratio_at[group](loss))) if group in ratio_at else options[-1]
            for group, options in budget.options.items()
        }

    losses = [loss for curve in found.curves for loss in _losses(curve, found.baseline, solver)]
    low, high = min([0.0, *losses]) - 1e-9, max([0.0, *losses]) + 1e-9
    furthest = counts_at(high)
    if budget.cost(furthest) > budget.target and not budget.reached(furthest):
        whole = budget.cost(budget.full)
        raise BadInput(
            f"the target leaves {budget.target / whole:.1%} of the whole cost; the curves reach "
            f"{budget.cost(furthest) / whole:.1%} when every group is pruned as far as it was measured",
            hint=f"a target of at most {100 * (1 - budget.cost(furthest) / whole):.1f} % removed",
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if budget.cost(counts_at(middle)) > budget.target:
            low = middle
        else:
            high = middle
    return budget.settle(counts_at(high))


def _losses(curve: Curve, baseline: float, solver: Solver) -> tuple[float, ...]:
    scale = baseline if solver == "interpolated" and baseline > 0 else 1.0
    return tuple((baseline - accuracy) / scale for accuracy in curve.accuracies)


def _ratio_at(curve: Curve, baseline: float, solver: Solver) -> Callable[[float], float]:
    """The ratio of a group for a common loss; never falls when the loss grows, never above what was measured."""
    losses = _losses(curve, baseline, solver)
    if solver == "interpolated":
        return lambda loss: _interpolated(curve.ratios, losses, loss)
    # The origin is a point, too: PaddleSlim counts it five times, so that the cubic passes near it.
    x = np.array([0.0] * 5 + list(curve.ratios))
    y = np.array([0.0] * 5 + list(losses))
    cubic = np.polyfit(x, y, min(3, len(curve.ratios)))
    return lambda loss: _root(cubic, loss, curve.ratios[-1])


def _root(cubic: np.ndarray[tuple[int], np.dtype[np.float64]], loss: float, furthest: float) -> float:
    """Where a cubic first reaches a loss in 0..furthest; furthest where it does not."""
    if np.polyval(cubic, 0.0) >= loss:
        return 0.0
    shifted = cubic.copy()
    shifted[-1] -= loss
    roots = [float(root.real) for root in np.roots(shifted) if abs(root.imag) < 1e-9 and 0 < root.real < furthest]
    return min(roots, default=furthest)


def _interpolated(ratios: Sequence[float], losses: Sequence[float], loss: float) -> float:
    """The largest ratio whose loss is not above, on straight lines between the points and the origin."""
    points = list(zip((0.0, *ratios), (0.0, *losses), strict=True))
    for place in reversed(range(len(points))):
        ratio, here = points[place]
        if here > loss:
            continue
        if place == len(points) - 1:
            return ratio
        further, above = points[place + 1]
        return ratio + (loss - here) * (further - ratio) / (above - here)
    return 0.0


def iterative_targets(removed: float, each: float) -> tuple[float, ...]:
    """The share of the whole cost that is removed after each of a row of equal steps.

    Each step removes the same share of what is left, 1 - (1 - removed)^(1/steps); as many steps as bring that
    nearest ``each`` (7 % of what is left: 10 steps for 50 %).

    Args:
        removed: in the end, in 0..1.
        each: about this share of what is left in one step, in 0..1.

    Raises:
        BadInput: shares that are not between 0 and 1.
    """
    if not 0 < removed < 1 or not 0 < each < 1:
        raise BadInput(f"steps of {each} to {removed}: both must be between 0 and 1")
    steps = max(1, round(np.log(1 - removed) / np.log(1 - each)))
    return tuple(1 - (1 - removed) ** (step / steps) for step in range(1, steps + 1))
