"""Masks: a class for each pixel, and how much of it was told right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IGNORED = 255  # Cityscapes' and Pascal's label of pixels that count neither way

Counts = NDArray[np.int64]


def confusion(truth: NDArray[np.uint8], told: NDArray[np.integer], classes: int) -> Counts:
    """How many pixels of each class were told to be which: (classes, classes), true classes along the rows.

    Args:
        truth: (H, W), :data:`IGNORED` where nothing counts.
        told: (H, W), each below ``classes``.
        classes: how many there are.

    Raises:
        ValueError: other shapes, or a label that is no class.
    """
    if truth.shape != told.shape:
        raise ValueError(f"a mask of {truth.shape} beside an answer of {told.shape}")
    counted = truth != IGNORED
    true, said = truth[counted].astype(np.int64), told[counted].astype(np.int64)
    for what, values in (("mask", true), ("answer", said)):
        if len(values) and (values.min() < 0 or values.max() >= classes):
            raise ValueError(f"the {what} has the label {int(values.max())}, and there are {classes} classes")
    found: Counts = np.bincount(true * classes + said, minlength=classes * classes).reshape(classes, classes)
    return found


def intersection_over_union(counts: Counts) -> list[float | None]:
    """Of each class in percent; None for one that neither the masks nor the answers have."""
    right = np.diag(counts)
    either = counts.sum(0) + counts.sum(1) - right
    return [100 * float(r) / float(e) if e else None for r, e in zip(right, either, strict=True)]


def mean_iou(counts: Counts) -> float:
    """mIoU in percent: the mean over the classes that there are.

    Raises:
        ValueError: no pixel counted.
    """
    known = [value for value in intersection_over_union(counts) if value is not None]
    if not known:
        raise ValueError("no pixel of any mask counts")
    return float(np.mean(known))
