"""Activation ranges that weigh clipping against resolution, from a sample of each activation's values.

mse    of 40 shares of the range from 20 to 100 %, the one whose rounding and clipping err least (mean square).
octav  the clipping value s that the iteration of Sakr et al., 2022 (arXiv:2206.06501, equation 6) settles on:
       s <- sum(|x|, |x| > s) / (4^-b / 3 * count(|x| <= s) + count(|x| > s)).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PER_SAMPLE = 1024  # values of each tensor and sample that are kept, evenly spread over it
KEPT = 1 << 16  # of each tensor in all
SHARES = np.linspace(0.2, 1.0, 40)


class Watcher:
    """Looks at every activation of a float file while calibration samples pass."""

    def __init__(self, source: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._runtime = Interpreter(
            model_path=str(source),
            experimental_preserve_all_tensors=True,
            num_threads=len(os.sched_getaffinity(0)),
        )
        self._runtime.allocate_tensors()
        self._input = self._runtime.get_input_details()[0]["index"]
        self._values: dict[str, list[NDArray[np.float32]]] = {}
        self._count: dict[str, int] = {}

    def see(self, sample: NDArray[np.float32]) -> None:
        """Run one sample and keep some values of every activation."""
        self._runtime.set_tensor(self._input, sample)
        self._runtime.invoke()
        for detail in self._runtime.get_tensor_details():
            name = detail["name"]
            if detail["dtype"] != np.float32 or self._count.get(name, 0) >= KEPT:
                continue
            try:
                values = self._runtime.get_tensor(detail["index"]).ravel()
            except ValueError:  # folded away: the runtime computes it no more
                continue
            part = values[:: max(1, values.size // PER_SAMPLE)].copy()
            self._values.setdefault(name, []).append(part)
            self._count[name] = self._count.get(name, 0) + part.size

    def clip(self, ranges: dict[str, dict[str, Any]], how: str, bits: int) -> dict[str, dict[str, Any]]:
        """The ranges, each clipped as ``how`` (mse or octav) says; those without values stay."""
        clipped = dict(ranges)
        for name, found in ranges.items():
            if name not in self._values:
                continue
            values = np.concatenate(self._values[name])
            low, high = float(np.min(found["min"])), float(np.max(found["max"]))
            if how == "mse":
                low, high = least_squares(values, low, high, bits)
            else:
                s = octav(values, bits)
                low, high = max(low, -s), min(high, s)
            shape = np.shape(found["min"])
            clipped[name] = {**found, "min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}
        return clipped


def least_squares(values: NDArray[np.float32], low: float, high: float, bits: int) -> tuple[float, float]:
    """The share of [low, high] that quantizes the values with the least mean square error."""
    best, chosen = np.inf, (low, high)
    for share in SHARES[::-1]:
        bottom, top = low * share, high * share
        step = max((max(top, 0) - min(bottom, 0)) / (2**bits - 1), 1e-12)
        rounded = np.round(np.clip(values, bottom, top) / step) * step
        error = float(np.mean((values - rounded) ** 2))
        if error < best:
            best, chosen = error, (bottom, top)
    return chosen


def octav(values: NDArray[np.float32], bits: int) -> float:
    """OCTAV's clipping value."""
    size = np.abs(values.astype(np.float64))
    s = float(size.mean()) or 1e-8
    for _ in range(50):
        above = size > s
        inside = size.size - int(above.sum())
        after = float(size[above].sum()) / (4.0**-bits / 3 * inside + int(above.sum()) or 1.0)
        if after <= 0 or abs(after - s) <= 1e-6 * s:
            break
        s = after
    return s
