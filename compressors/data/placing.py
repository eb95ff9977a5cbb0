"""Where a photo comes to lie in a network's input, and its boxes and mask with it.

A classifier needs no more than :mod:`compressors.data.preprocessing`. What answers for places in the image has to move
boxes and pixels' classes as the photo is moved, and bring its answers back to the photo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compressors.data.dataset import Pixels
from compressors.dense.boxes import Floats
from compressors.dense.masks import IGNORED
from compressors.dense.precision import Truth
from zoo.artifact import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

SEEN = 0.5  # share of a box that has to be left in the input; below, it counts neither way


@dataclass(frozen=True)
class Placement:
    """A photo scaled by (``wide``, ``high``), its corner put at (``left``, ``top``), then mirrored or not.

    ``flip`` mirrors left and right, ``upside_down`` top and bottom; after both ``turned`` makes rows of columns.
    """

    wide: float
    high: float
    left: float = 0.0
    top: float = 0.0
    flip: bool = False
    upside_down: bool = False
    turned: bool = False

    def shown(self, canvas: Pixels) -> Pixels:
        """A square (size, size, channels) as it is seen after mirroring and turning."""
        seen = canvas[:, ::-1] if self.flip else canvas
        seen = seen[::-1] if self.upside_down else seen
        return np.ascontiguousarray(seen.swapaxes(0, 1) if self.turned else seen)


def central(width: int, height: int, how: Preprocessing) -> Placement:
    """As evaluation has it: stretched to the input, or its shorter side resized and its centre cut out."""
    if how.fit == "stretch":
        return Placement(how.crop / width, how.crop / height)
    scale = 1.0 if how.resize is None else how.resize / min(width, height)
    left, top = (round((how.crop - side * scale) / 2) for side in (width, height))
    return Placement(scale, scale, left, top)


def placed(photo: Image, where: Placement, how: Preprocessing) -> Pixels:
    """The input (crop, crop, channels); black where the photo does not reach."""
    from PIL import Image as images

    mode = "L" if how.channels == 1 else "RGB"
    photo = photo if photo.mode == mode else photo.convert(mode)
    filtered = {"bilinear": images.Resampling.BILINEAR, "bicubic": images.Resampling.BICUBIC}[how.interpolation]
    canvas = np.zeros((how.crop, how.crop, how.channels), np.uint8)
    _put(canvas, photo, where, filtered)
    return where.shown(canvas)


def mask_placed(mask: Pixels, where: Placement, size: int) -> Pixels:
    """The classes (size, size) of the input's pixels, nearest ones; :data:`IGNORED` where the photo does not reach."""
    from PIL import Image as images

    canvas = np.full((size, size, 1), IGNORED, np.uint8)
    _put(canvas, images.fromarray(mask), where, images.Resampling.NEAREST)
    return where.shown(canvas)[..., 0]


def _put(canvas: Pixels, image: Image, where: Placement, filtered: int) -> None:
    size = canvas.shape[0]
    spans = []
    for start, scale, side in ((where.left, where.wide, image.width), (where.top, where.high, image.height)):
        first, end = max(0, round(start)), min(size, round(start + side * scale))
        # Where the part that is seen begins and ends in the photo; rounding must not lead out of it.
        low, high = max(0.0, (first - start) / scale), min(float(side), (end - start) / scale)
        spans.append((first, end, low, high))
    (x1, x2, left, right), (y1, y2, top, bottom) = spans
    if x2 <= x1 or y2 <= y1:
        return
    part = image.resize((x2 - x1, y2 - y1), filtered, (left, top, right, bottom))
    pixels = np.asarray(part)
    canvas[y1:y2, x1:x2] = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def truth_placed(truth: Truth, where: Placement, size: int) -> Truth:
    """The boxes in pixels of the input, cut to it.

    One that is outside is gone; one of which less than :data:`SEEN` is left is ignored.
    """
    boxes = truth.boxes * np.asarray([where.wide, where.high] * 2, np.float32)
    boxes = boxes + np.asarray([where.left, where.top] * 2, np.float32)
    if where.flip:
        boxes = np.stack([size - boxes[:, 2], boxes[:, 1], size - boxes[:, 0], boxes[:, 3]], 1)
    if where.upside_down:
        boxes = np.stack([boxes[:, 0], size - boxes[:, 3], boxes[:, 2], size - boxes[:, 1]], 1)
    if where.turned:
        boxes = boxes[:, [1, 0, 3, 2]]
    cut = np.clip(boxes, 0, size)
    areas, left = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, cut))
    there = left > 0
    small = left < SEEN * areas
    return Truth(
        boxes=cut[there].astype(np.float32),
        labels=truth.labels[there],
        ignored=(truth.ignored | small)[there],
    )


def back(boxes: Floats, where: Placement, width: int, height: int) -> Floats:
    """Boxes (N, 4) of the input as boxes of the photo, cut to it."""
    moved = (boxes - np.asarray([where.left, where.top] * 2)) / np.asarray([where.wide, where.high] * 2)
    found: Floats = np.clip(moved, 0, [width, height, width, height]).astype(np.float32)
    return found
