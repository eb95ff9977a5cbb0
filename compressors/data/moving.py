"""Training images with boxes or masks, varied, and their truth moved along.

    crop-flip            shifts by up to ``padding`` pixels and mirrors
    crop-turn            shifts, and shows one of the eight sides of a square: what looks alike from everywhere, as the
                         ground does from above
    scale-crop-flip      scales by 0.5 to 2, cuts the input out at random, mirrors: what DeepLab and Fast-SCNN are
                         trained with (Chen et al., 2017, arXiv:1706.05587, section 4.1)
    distort-expand-crop  brightness, contrast, saturation and hue; the photo on a larger canvas (half of the time, up to
                         4 times as wide); a part that overlaps the boxes well; mirrored: SSD's (Liu et al., 2016,
                         arXiv:1512.02325, section 2.2), which PaddleDetection's YOLOv3 has taken over

With ``distort`` any of them varies brightness, contrast, saturation and hue, too: photos of another day and camera.

Boxes of a batch are (n, most, 6): x1, y1, x2, y2, class, and 1 where the box counts neither way; the rows that a
shorter list leaves have class -1. Masks are (n, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compressors.data.dataset import Pixels
from compressors.data.dense import Scenes, Target
from compressors.data.placing import Placement, central, mask_placed, placed, truth_placed
from compressors.dense.boxes import Floats
from compressors.dense.precision import Truth
from zoo.artifact import Preprocessing

if TYPE_CHECKING:
    from compressors.data.batches import Augmentation

SCALES = (0.5, 2.0)
LARGEST_CANVAS = 4.0
OVERLAPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9)  # of a cut part with some box at least; None: the whole photo
TRIES = 50
NONE = -1  # class of a row without a box


def prepared(
    whole: Scenes, index: int, how: Preprocessing, augmentation: Augmentation, random: np.random.Generator
) -> tuple[Pixels, Target]:
    """One image as the network takes it, 0..255, and its truth in pixels of that input.

    Args:
        whole: where it is.
        index: which.
        how: size and channels of the input.
        augmentation: how it is varied.
        random: what decides.

    Raises:
        BadInput: a broken photo or truth, with its path.
    """
    from PIL import Image

    pixels, target = whole.scene(index)
    if augmentation.distort or augmentation.kind == "distort-expand-crop":
        pixels = _distorted(pixels, random)
    height, width = pixels.shape[:2]
    photo = Image.fromarray(pixels)
    where = _varied(central(width, height, how), (width, height), target, how, augmentation, random)
    image = placed(photo, where, how)
    if isinstance(target, Truth):
        return image, truth_placed(target, where, how.crop)
    return image, mask_placed(target, where, how.crop)


def stacked(targets: Sequence[Target]) -> NDArray[np.uint8] | Floats:
    """The truths of a batch as one array; see the top of this module."""
    truths = [target for target in targets if isinstance(target, Truth)]
    if not truths:
        return np.stack([target for target in targets if not isinstance(target, Truth)])
    rows = np.zeros((len(truths), max(1, *(len(truth.labels) for truth in truths)), 6), np.float32)
    rows[..., 4] = NONE
    for row, truth in zip(rows, truths, strict=True):
        count = len(truth.labels)
        row[:count, :4], row[:count, 4], row[:count, 5] = truth.boxes, truth.labels, truth.ignored
    return rows


def unstacked(rows: Floats) -> list[Truth]:
    """The boxes of each image of a batch: what :func:`stacked` made of them."""
    found = []
    for row in rows:
        there = row[row[:, 4] != NONE]
        found.append(Truth(there[:, :4].astype(np.float32), there[:, 4].astype(np.int64), there[:, 5] > 0))
    return found


def _varied(
    plain: Placement,
    size: tuple[int, int],
    target: Target,
    how: Preprocessing,
    augmentation: Augmentation,
    random: np.random.Generator,
) -> Placement:
    kind = augmentation.kind
    if kind not in ("crop-flip", "crop-turn", "scale-crop-flip", "distort-expand-crop"):
        return plain
    flip = augmentation.flip and bool(random.random() < 0.5)
    if kind in ("crop-flip", "crop-turn"):
        left, top = random.integers(-augmentation.padding, augmentation.padding + 1, 2)
        moved = Placement(plain.wide, plain.high, plain.left + int(left), plain.top + int(top), flip)
        if kind == "crop-flip":
            return moved
        upside_down, turned = random.random(2) < 0.5
        return replace(moved, upside_down=bool(upside_down), turned=bool(turned))
    if kind == "scale-crop-flip":
        scale = float(np.exp(random.uniform(*np.log(SCALES))))
        wide, high = plain.wide * scale, plain.high * scale
        # Anywhere that leaves no border the photo could fill; a smaller photo anywhere inside.
        spare = [how.crop - side * factor for side, factor in zip(size, (wide, high), strict=True)]
        left, top = (round(random.uniform(min(0.0, room), max(0.0, room))) for room in spare)
        return Placement(wide, high, left, top, flip)
    x1, y1, x2, y2 = _window(size, target, random)
    wide, high = how.crop / (x2 - x1), how.crop / (y2 - y1)
    return Placement(wide, high, -x1 * wide, -y1 * high, flip)


def _window(size: tuple[int, int], target: Target, random: np.random.Generator) -> tuple[float, float, float, float]:
    """The part of the photo's plane that becomes the input: larger than the photo, a part of it, or the photo."""
    width, height = size
    if random.random() < 0.5:
        times = random.uniform(1, LARGEST_CANVAS)
        left, top = (-random.uniform(0, side * (times - 1)) for side in size)
        return left, top, left + width * times, top + height * times
    least = OVERLAPS[int(random.integers(len(OVERLAPS)))]
    if least is None or not isinstance(target, Truth) or not len(target.boxes):
        return 0.0, 0.0, float(width), float(height)
    from compressors.dense.boxes import overlaps

    for _ in range(TRIES):
        wide, high = random.uniform(0.3, 1, 2)
        if not 0.5 <= wide * width / (high * height) <= 2:
            continue
        left, top = random.uniform(0, 1 - wide) * width, random.uniform(0, 1 - high) * height
        window = (float(left), float(top), float(left + wide * width), float(top + high * height))
        centres = (target.boxes[:, :2] + target.boxes[:, 2:]) / 2
        kept = ((centres > window[:2]) & (centres < window[2:])).all(1)
        if kept.any() and overlaps(np.asarray([window], np.float32), target.boxes[kept]).max() >= least:
            return window
    return 0.0, 0.0, float(width), float(height)


def _distorted(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Each of the four half of the time, in a random order, within SSD's bounds."""
    from PIL import Image, ImageEnhance

    photo = Image.fromarray(pixels)
    for which in random.permutation(4):
        often, amount = random.random(), random.uniform(-1, 1)
        if often < 0.5:
            continue
        if which == 0:
            photo = ImageEnhance.Brightness(photo).enhance(1 + amount / 8)
        elif which == 3:
            hue, saturation, value = photo.convert("HSV").split()
            turn = round(amount * 18 * 256 / 360)
            turned = hue.point([(level + turn) % 256 for level in range(256)])
            photo = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
        else:
            kind = ImageEnhance.Contrast if which == 1 else ImageEnhance.Color
            photo = kind(photo).enhance(1 + amount / 2)
    return np.asarray(photo)
