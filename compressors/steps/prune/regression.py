"""LASSO and least squares from second moments: the arithmetic of :mod:`.reconstruct`, which knows no network."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pocketzoo.errors import WorkFailed

Matrix = NDArray[np.float64]

SWEEPS, HALVINGS = 200, 40


@dataclass
class Moments:
    """Of one layer: ``xx`` (inputs x area, inputs x area), ``xy`` (inputs x area, outputs), sums over ``rows`` rows."""

    inputs: int
    area: int
    outputs: int
    xx: Matrix = field(repr=False)
    xy: Matrix = field(repr=False)
    rows: int = 0


def contributions(moments: Moments, weight: Tensor) -> tuple[Matrix, Matrix]:
    """The Gram matrix (inputs, inputs) of the channels' contributions to the output, and their products with it.

    Args:
        moments: of the layer.
        weight: (outputs, inputs, ...).
    """
    c, a = moments.inputs, moments.area
    w = weight.detach().numpy().astype(np.float64).reshape(moments.outputs, c * a)
    products = moments.xx * (w.T @ w)
    return products.reshape(c, a, c, a).sum((1, 3)), (moments.xy * w.T).reshape(c, a, -1).sum((1, 2))


class Lasso:
    """argmin over b of b'Gb/2 - b'v + alpha |b|, by coordinate descent, for alphas that leave a given number.

    Solutions are remembered, so a search that asks for many numbers of one layer bisects only where it has not yet.
    """

    def __init__(self, gram: Matrix, products: Matrix) -> None:
        self.gram, self.products = gram, products
        self.scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
        self._solved: list[tuple[float, Matrix]] = []
        self._chosen: dict[int, NDArray[np.int64]] = {}

    def choose(self, count: int) -> NDArray[np.int64]:
        """The channels that are left when ``count`` are, ascending.

        Where no penalty leaves exactly as many (two enter at once), the strongest of the next larger set are taken.
        """
        if count not in self._chosen:
            self._chosen[count] = self._choose(count)
        return self._chosen[count]

    def _choose(self, count: int) -> NDArray[np.int64]:
        if count >= len(self.products):
            return np.arange(len(self.products))
        top = float(np.abs(self.products).max())
        if top <= 0:
            raise WorkFailed("no input channel contributes to the output: nothing tells which to keep")
        high = min((alpha for alpha, b in self._solved if np.count_nonzero(b) < count), default=top)
        low = max((alpha for alpha, b in self._solved if np.count_nonzero(b) > count), default=0.0)
        larger: Matrix | None = next((b for alpha, b in self._solved if alpha == low), None)
        for _, b in self._solved:
            if np.count_nonzero(b) == count:
                return np.flatnonzero(b)
        for _ in range(HALVINGS):
            alpha = np.sqrt(low * high) if low else high / 8
            b = self._solve(alpha)
            left = np.count_nonzero(b)
            if left == count:
                return np.flatnonzero(b)
            if left < count:
                high = alpha
            else:
                low, larger = alpha, b
            if alpha < top * 1e-12:
                break
        strength = self.scale * np.abs(larger if larger is not None else self._solve(top * 1e-12))
        order = np.lexsort((np.arange(len(strength)), -self.scale, -strength))
        return np.sort(order[:count])

    def _solve(self, alpha: float) -> Matrix:
        near = min(self._solved, key=lambda found: abs(np.log(found[0] / alpha)), default=None)
        b = near[1].copy() if near is not None else np.zeros_like(self.products)
        diagonal = np.diag(self.gram)
        residual = self.products - self.gram @ b  # v - Gb
        live = np.flatnonzero(diagonal > 1e-12 * max(float(diagonal.max()), 1e-300))
        among = live
        for _ in range(SWEEPS):
            moved = 0.0
            for place in among:
                before = b[place]
                pull = residual[place] + diagonal[place] * before
                after = np.sign(pull) * max(abs(pull) - alpha, 0.0) / diagonal[place]
                if after != before:
                    residual -= self.gram[:, place] * (after - before)
                    b[place] = after
                    moved = max(moved, abs(after - before) * self.scale[place])
            settled = moved <= 1e-7 * float((np.abs(b) * self.scale).max(initial=0.0)) + 1e-300
            if settled and among is live:
                break
            # Between two looks at all channels only those that are in move: most sweeps are short.
            among = live if settled else np.flatnonzero(b)
        self._solved.append((alpha, b))
        return b


def least_squares(moments: Moments, kept: NDArray[np.int64], weight: Tensor) -> Matrix:
    """(outputs, kept, area): the weights of the kept input channels that come nearest the outputs.

    A ridge of 1e-7 of the inputs' mean square pulls towards the weights as they were, so what the images say nothing
    about (channels that are always zero, copies of each other, fewer images than weights) stays.

    Args:
        moments: of the layer.
        kept: input channels, ascending.
        weight: (outputs, inputs, ...) as it was.
    """
    a = moments.area
    features = (kept[:, None] * a + np.arange(a)).reshape(-1)
    before = weight.detach().numpy().astype(np.float64).reshape(moments.outputs, -1)[:, features].T
    xx = moments.xx[np.ix_(features, features)]
    ridge = 1e-7 * max(float(np.trace(xx)) / len(features), 1e-300)
    missing = moments.xy[features] - xx @ before
    solved = before + np.linalg.solve(xx + ridge * np.eye(len(features)), missing)
    return np.asarray(solved.T.reshape(moments.outputs, len(kept), a))
