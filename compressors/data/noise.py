"""Images of nothing: smooth noise in place of photos, where a network's answers do not matter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from compressors.data.preprocessing import centre
from zoo.artifact import Preprocessing

COARSE = 8  # cells on each side: white noise averages out in a convolution, and later layers would see next to nothing


def noise_images(how: Preprocessing, count: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Random colours on a coarse grid, smoothly enlarged, prepared as photos are.

    Args:
        how: ``crop`` is the size of the result.
        count: how many.
        seed: decides them, each by its place.

    Returns:
        Each (1, crop, crop, channels) float32, normalised, or channels first where ``how`` says so.
    """
    from PIL.Image import Resampling, fromarray

    for index in range(count):
        random = np.random.default_rng([seed, index])
        coarse = random.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8)
        yield centre(fromarray(coarse).resize((how.crop, how.crop), Resampling.BICUBIC), how)
