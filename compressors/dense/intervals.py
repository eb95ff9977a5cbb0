"""How sure a figure is that is no share of images: images drawn again and again, with replacement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SEED = 0xB007


def bootstrapped(
    figure: Callable[[NDArray[np.int64]], float], images: int, draws: int, seed: int = SEED
) -> tuple[float, float]:
    """The 95 % percentile interval of a figure over images (Efron & Tibshirani, 1993, chapter 13).

    Args:
        figure: of how often each image is counted, (images,) integers that sum to ``images``.
        images: how many there are.
        draws: how often they are drawn.
        seed: of the draws, so that the same answers have the same interval.
    """
    random = np.random.default_rng(seed)
    even = np.full(images, 1 / images)
    found = [figure(random.multinomial(images, even)) for _ in range(draws)]
    low, high = np.percentile(found, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)
