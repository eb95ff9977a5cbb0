"""The rules of gradual magnitude pruning (Zhu & Gupta, 2017, arXiv:1710.01878) as PocketFlow's WeightSparseLearner
has them: how sparse at which step, and how many weights of each layer stay.

Nothing here looks at a network; layers are names and numbers of weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pocketzoo.errors import BadInput

Weights = Mapping[str, int]  # layer -> how many weights it has
DENSEST = 0.99  # the share of a layer that logarithmic ratios set to zero at most, unless all of it is asked for


def share_done(step: int, steps: int, *, begin: float, end: float, exponent: float) -> float:
    """The share of its final sparsity that a layer has at a step: 1 - (1 - (t - tb) / (te - tb)) ^ exponent.

    Args:
        step: from 1.
        steps: of the whole training.
        begin, end: tb and te as shares of ``steps``.
        exponent: 3 is the cubic schedule.

    Returns:
        0 before tb, 1 from te on.
    """
    if step >= last_growth(steps, end):
        return 1.0
    passed = (step - begin * steps) / ((end - begin) * steps)
    return float(1 - (1 - min(max(passed, 0.0), 1.0)) ** exponent)


def last_growth(steps: int, end: float) -> int:
    """The step with which the final sparsity is reached."""
    return max(1, min(steps, math.ceil(end * steps)))


def updates(step: int, steps: int, every: int, end: float) -> bool:
    """Whether the masks are chosen anew after a step: every so many steps, and where the final sparsity is due."""
    return step % every == 0 or step == last_growth(steps, end)


def kept_of(weights: Weights, sparsity: float) -> int:
    """How many weights of all layers together stay."""
    return sum(weights.values()) - round(sparsity * sum(weights.values()))


def uniform(weights: Weights, sparsity: float) -> dict[str, int]:
    """Every layer keeps the same share of its weights; what rounding takes too much or too little, the largest give.

    Args:
        weights: of the layers.
        sparsity: the share of all weights that becomes zero, in 0..1.

    Returns:
        Layer -> weights kept; their sum is that of :func:`kept_of`.
    """
    return settled({name: (1 - sparsity) * count for name, count in weights.items()}, weights, sparsity)


def heuristic(weights: Weights, sparsity: float) -> dict[str, int]:
    """PocketFlow's heuristic ratios: the share that becomes zero is alpha x log(weights), so large layers lose more.

    alpha is chosen so that the whole has the sparsity that is asked for; no layer loses more than 99 %, or half of
    what is left between the whole's sparsity and 100 % where that is more.

    Args:
        weights: of the layers.
        sparsity: the share of all weights that becomes zero, in 0..1.
    """
    most = max(DENSEST, (1 + sparsity) / 2)
    total = sum(weights.values())

    def ratios(alpha: float) -> dict[str, float]:
        return {name: min(most, alpha * math.log(max(2, count))) for name, count in weights.items()}

    low, high = 0.0, most / math.log(2)
    for _ in range(60):
        alpha = (low + high) / 2
        if sum(weights[name] * ratio for name, ratio in ratios(alpha).items()) < sparsity * total:
            low = alpha
        else:
            high = alpha
    return settled({name: (1 - ratio) * weights[name] for name, ratio in ratios(high).items()}, weights, sparsity)


def settled(
    kept: Mapping[str, float], most: Weights, sparsity: float, weights: Weights | None = None
) -> dict[str, int]:
    """Counts as near the given ones as they can be whose sum is exactly what the sparsity leaves.

    Too few: every layer goes the same share of its way to ``most``; too many: of its way to one weight.

    Args:
        kept: weights that stay, of each layer; need not be whole numbers.
        most: that may stay, of each layer.
        sparsity: the share of all weights that becomes zero, in 0..1.
        weights: of each layer, all of which ``sparsity`` is a share of; ``most`` by default.

    Raises:
        BadInput: fewer weights may stay than the sparsity leaves, or it leaves less than one for each layer.
    """
    total = kept_of(weights or most, sparsity)
    if sum(most.values()) < total or total < len(most):
        raise BadInput(
            f"a sparsity of {100 * sparsity:g} % leaves {total} weights for {len(most)} layers, of which "
            f"{sum(most.values())} may stay",
            hint="another sparsity, or fewer layers in keep",
        )
    start = {name: min(max(1.0, kept[name]), float(most[name])) for name in most}
    growing = sum(start.values()) < total
    end = {name: float(most[name]) if growing else 1.0 for name in most}
    way = sum(end.values()) - sum(start.values())
    share = (total - sum(start.values())) / way if way else 0.0
    exact = {name: start[name] + share * (end[name] - start[name]) for name in most}
    counts = {name: max(1, min(most[name], math.floor(exact[name] + 1e-9))) for name in most}
    # What rounding down left, one weight each, to those that lost most by it.
    order = sorted(most, key=lambda name: (counts[name] - exact[name], -most[name], name))
    left = total - sum(counts.values())
    while left:
        for name in order:
            step = 1 if left > 0 else -1
            if left and 1 <= counts[name] + step <= most[name]:
                counts[name] += step
                left -= step
    return counts
