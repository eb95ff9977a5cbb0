"""What a training reads: labelled examples by number, and their order in each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Batch = tuple[NDArray[np.float32], Indices]


class Examples(Protocol):
    """Labelled examples, ready for the model."""

    @property
    def classes(self) -> int:
        """Labels are 0 to ``classes`` - 1."""

    @property
    def identity(self) -> str:
        """Which examples these are, by content: it is part of what a training depends on."""

    def __len__(self) -> int: ...

    def batch(self, indices: Indices, epoch: int | None = None) -> Batch:
        """Some examples.

        Args:
            indices: which, in this order.
            epoch: augment, by (seed, epoch, index) alone, so that a resumed training sees the same; None: as
                evaluation prepares them.

        Returns:
            Inputs (n, C, H, W) float32, normalised, and labels (n,).
        """


def order(count: int, seed: int, epoch: int) -> Indices:
    """The order of an epoch's examples: by seed and epoch alone."""
    shuffled: Indices = np.random.default_rng([seed, epoch, 0x0BDE]).permutation(count).astype(np.int64)
    return shuffled


def steps_of(count: int, batch: int) -> int:
    """Steps of an epoch. The last examples that fill no batch wait for another epoch's order to bring them earlier."""
    return max(1, count // batch)


def batches(indices: Indices, size: int) -> Iterator[Indices]:
    """Consecutive parts of ``size``; the last may be smaller."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
