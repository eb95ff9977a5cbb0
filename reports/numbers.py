"""How numbers are written, and the intervals of what is made of two of them. Pure."""

from __future__ import annotations

import math

MB = 1_000_000


def _decimals(ms: float) -> int:
    """Three decimals below 10 ms, two from there on; below 0.1 ms what three significant digits take."""
    size = abs(ms)
    if size >= 9.9995:
        return 2
    return 3 if size >= 0.1 or size == 0 else 2 - math.floor(math.log10(size))


def ms_text(value: float) -> str:
    """Milliseconds: 0.00412, 4.321, 12.35, 1282.81."""
    return f"{value:.{_decimals(value)}f}"


def half_width_text(value: float, half: float) -> str:
    """The half-width of an interval, with as many decimals as the value beside it has; never a false 0.00."""
    decimals = _decimals(value)
    text = f"{half:.{decimals}f}"
    if half > 0 and float(text) == 0:
        return f"<{10**-decimals:.{decimals}f}"
    return text


def size_text(size: int) -> str:
    """Bytes in MB (1 MB = 1,000,000 bytes): 14.01; small files keep three significant digits."""
    value = size / MB
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def ratio(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float] | None:
    """``a / b`` with the interval that follows from theirs, each given as (value, low, high); None if one is not > 0.

    The method of variance estimates recovery on logarithms (Donner and Zou, 2012, Statistical Methods in Medical
    Research 21), as :func:`difference` is on the values: it needs the two intervals and no samples.
    """
    if min(*a, *b) <= 0:
        return None
    (x, x_low, x_high), (y, y_low, y_high) = (tuple(map(math.log, ends)) for ends in (a, b))
    low, high = math.hypot(x - x_low, y_high - y), math.hypot(x_high - x, y - y_low)
    return a[0] / b[0], math.exp(x - y - low), math.exp(x - y + high)


def difference(new: tuple[float, float, float], old: tuple[float, float, float]) -> tuple[float, float, float]:
    """``new - old`` with Newcombe's interval, each given as (value, low, high).

    It treats the two as independent. Where both answered the same questions the true interval is narrower, so this
    one errs towards calling a difference unproven.
    """
    value = new[0] - old[0]
    low = value - math.hypot(new[0] - new[1], old[2] - old[0])
    high = value + math.hypot(new[2] - new[0], old[0] - old[1])
    return value, low, high
