"""The Mann-Whitney U test, for the few values that repeats are. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

ENUMERATED = 16
"""Up to so many values every arrangement is counted (12,870 for 8 and 8); beyond it the normal curve is near enough."""


def midranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p: how often a split into two groups would be at least as uneven if both came from one source.

    Mann & Whitney 1947; exact, ties by midranks, up to ENUMERATED values; else normal with corrections for ties and
    continuity (Lehmann 1975, section 1.4).

    Args:
        a: at least one value.
        b: at least one value.

    Raises:
        ValueError: one of them is empty.
    """
    if not a or not b:
        raise ValueError("a rank test needs values on both sides")
    ranks = midranks([*a, *b])
    expected = len(a) * (len(ranks) + 1) / 2
    found = abs(sum(ranks[: len(a)]) - expected)
    if len(ranks) <= ENUMERATED:
        sums = [abs(sum(chosen) - expected) for chosen in combinations(ranks, len(a))]
        return sum(one >= found - 1e-9 for one in sums) / len(sums)
    n = len(ranks)
    ties = sum(count**3 - count for count in (ranks.count(rank) for rank in set(ranks)))
    variance = len(a) * len(b) / 12 * ((n + 1) - ties / (n * (n - 1)))
    if variance <= 0:
        return 1.0
    return math.erfc(max(0.0, found - 0.5) / math.sqrt(2 * variance))


def smallest_p(a: int, b: int) -> float:
    """The smallest two-sided p that so many values on each side can give."""
    return 2 / math.comb(a + b, a)
