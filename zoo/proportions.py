"""Shares of right answers against each other. Pure."""

from __future__ import annotations

import math

Z95 = 1.959963984540054


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927); honest also for small numbers and for all or none right.

    Raises:
        ValueError: no samples, or more right than there are.
    """
    if of < 1 or not 0 <= right <= of:
        raise ValueError(f"{right} of {of}: a share needs samples, and not more right than there are")
    share = right / of
    middle = (share + Z95**2 / (2 * of)) / (1 + Z95**2 / of)
    half = Z95 / (1 + Z95**2 / of) * math.sqrt(share * (1 - share) / of + Z95**2 / (4 * of**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def difference(right_a: int, of_a: int, right_b: int, of_b: int) -> tuple[float, float, float]:
    """Share b minus share a with its 95% interval (Newcombe 1998, method 10: from both Wilson intervals).

    For independent samples. Where both answered the same questions the interval is wider than it need be.

    Raises:
        ValueError: as :func:`wilson`.
    """
    a, b = right_a / of_a if of_a else 0.0, right_b / of_b if of_b else 0.0
    (low_a, high_a), (low_b, high_b) = wilson(right_a, of_a), wilson(right_b, of_b)
    change = b - a
    low = change - math.sqrt((b - low_b) ** 2 + (high_a - a) ** 2)
    high = change + math.sqrt((high_b - b) ** 2 + (a - low_a) ** 2)
    return change, low, high
