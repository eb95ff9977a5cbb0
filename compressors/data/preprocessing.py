"""From photo to tensor, as torchvision does it, so that its weights see what they were trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compressors.data.photos import open_photo
from zoo.artifact import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[np.float32]


def centre(image: Image, how: Preprocessing) -> Array:
    """Resize the shorter side, crop the centre, normalise: what evaluation and phones do.

    Returns:
        (1, crop, crop, 3) float32, or (1, 3, crop, crop) where the layout says NCHW.
    """
    if how.resize is not None:
        width, height = image.size
        short, long = how.resize, int(how.resize * max(width, height) / min(width, height))
        image = image.resize((short, long) if width <= height else (long, short), _filter(how))
    width, height = image.size
    left, top = round((width - how.crop) / 2), round((height - how.crop) / 2)
    # A photo smaller than the crop is padded with black, as torchvision's CenterCrop does.
    return _normalise(image.crop((left, top, left + how.crop, top + how.crop)), how)


def random_crop(
    image: Image, how: Preprocessing, random: np.random.Generator, scale: tuple[float, float] = (0.08, 1.0)
) -> Array:
    """A random resized crop, mirrored half of the time: the augmentation ImageNet models are trained with.

    Source: torchvision's RandomResizedCrop; aspect ratio log-uniform in 3/4..4/3, ten tries, then the whole photo
    at the nearest allowed ratio.

    Args:
        image: RGB.
        how: its ``crop`` is the size of the result; ``resize`` is not used.
        random: where the choices come from.
        scale: the share of the photo's area a crop may have.

    Returns:
        Like :func:`centre`.
    """
    width, height = image.size
    for _ in range(10):
        area = width * height * random.uniform(*scale)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
            break
    else:
        ratio = min(max(width / height, 3 / 4), 4 / 3)
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        left, top = (width - w) // 2, (height - h) // 2
    cut = image.crop((left, top, left + w, top + h)).resize((how.crop, how.crop), _filter(how))
    if random.random() < 0.5:
        from PIL.Image import Transpose

        cut = cut.transpose(Transpose.FLIP_LEFT_RIGHT)
    return _normalise(cut, how)


def calibration_samples(
    photos: Sequence[Path], how: Preprocessing, *, crops: int, scale: tuple[float, float], seed: int
) -> Iterator[Array]:
    """``crops`` random crops of each photo, or its centre where ``crops`` is 0, one at a time.

    The choices depend on the seed and the photo's place in the list alone, so that they are the same in every run.
    """
    for index, path in enumerate(photos):
        image = open_photo(path)
        if crops == 0:
            yield centre(image, how)
        random = np.random.default_rng([seed, index])
        for _ in range(crops):
            yield random_crop(image, how, random, scale)


def _filter(how: Preprocessing) -> int:
    from PIL.Image import Resampling

    return {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}[how.interpolation]


def _normalise(image: Image, how: Preprocessing) -> Array:
    scaled: Array = np.asarray(image, dtype=np.float32) / np.float32(255)
    pixels: Array = ((scaled - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)).astype(np.float32)
    if how.layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[np.newaxis])
