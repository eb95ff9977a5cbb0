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

    from compressors.data.dataset import Dataset, Pixels

Array = NDArray[np.float32]


def centre(image: Image | Pixels, how: Preprocessing) -> Array:
    """Resize the shorter side and crop the centre (or stretch), normalise: what evaluation and phones do.

    Args:
        image: a photo, or (H, W, 1 or 3) pixels of a data set.
        how: with one channel the image is made grey, with three RGB.

    Returns:
        (1, crop, crop, channels) float32, or (1, channels, crop, crop) where the layout says NCHW.
    """
    return _laid_out(normalise(cut_centre(image, how)[np.newaxis], how), how)


def cut_centre(image: Image | Pixels, how: Preprocessing) -> Pixels:
    """:func:`centre` before it is normalised: (crop, crop, channels)."""
    image = _resized(_as_photo(image, how), how)
    width, height = image.size
    left, top = round((width - how.crop) / 2), round((height - how.crop) / 2)
    # A photo smaller than the crop is padded with black, as torchvision's CenterCrop does.
    return _pixels(image.crop((left, top, left + how.crop, top + how.crop)))


def resized(image: Image | Pixels, how: Preprocessing) -> Pixels:
    """The whole image (H, W, channels) as large as the network sees it, before anything is cut out of it."""
    return _pixels(_resized(_as_photo(image, how), how))


def _resized(image: Image, how: Preprocessing) -> Image:
    if how.fit == "stretch":
        return image.resize((how.crop, how.crop), _filter(how))
    if how.resize is not None:
        width, height = image.size
        short, long = how.resize, int(how.resize * max(width, height) / min(width, height))
        return image.resize((short, long) if width <= height else (long, short), _filter(how))
    return image


def random_crop(
    image: Image | Pixels, how: Preprocessing, random: np.random.Generator, scale: tuple[float, float] = (0.08, 1.0)
) -> Array:
    """:func:`cut_random`, normalised; in the shape of :func:`centre`."""
    return _laid_out(normalise(cut_random(image, how, random, scale)[np.newaxis], how), how)


def cut_random(
    image: Image | Pixels,
    how: Preprocessing,
    random: np.random.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: bool = True,
) -> Pixels:
    """A random resized crop, mirrored half of the time: the augmentation ImageNet models are trained with.

    Source: torchvision's RandomResizedCrop; aspect ratio log-uniform in 3/4..4/3, ten tries, then the whole photo
    at the nearest allowed ratio.

    Args:
        image: a photo, or (H, W, 1 or 3) pixels.
        how: its ``crop`` is the size of the result; ``resize`` is not used.
        random: where the choices come from.
        scale: the share of the photo's area a crop may have.
        flip: whether to mirror.

    Returns:
        (crop, crop, channels).
    """
    image = _as_photo(image, how)
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
    if flip and random.random() < 0.5:
        from PIL.Image import Transpose

        cut = cut.transpose(Transpose.FLIP_LEFT_RIGHT)
    return _pixels(cut)


def normalise(pixels: Pixels, how: Preprocessing) -> Array:
    """(N, H, W, channels) 0..255 to (x / 255 - mean) / std in float32."""
    out: Array = pixels.astype(np.float32)
    out /= np.float32(255)
    # Rows of pixels rather than single ones: numpy is ten times slower where the last axis has three elements.
    rows, width = out.reshape(math.prod(out.shape[:2]), -1), out.shape[2]
    rows -= np.tile(np.asarray(how.mean, np.float32), width)
    rows /= np.tile(np.asarray(how.std, np.float32), width)
    return out


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


def dataset_samples(dataset: Dataset, how: Preprocessing) -> Iterator[Array]:
    """Each image of a data set in order, as evaluation sees it, one at a time; see :func:`centre`."""
    for index in range(len(dataset.labels)):
        yield centre(dataset.get(index), how)


def _as_photo(image: Image | Pixels, how: Preprocessing) -> Image:
    from PIL import Image as images

    if isinstance(image, np.ndarray):
        image = images.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
    mode = "L" if how.channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _pixels(image: Image) -> Pixels:
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _laid_out(batch: Array, how: Preprocessing) -> Array:
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if how.layout == "NCHW" else batch


def _filter(how: Preprocessing) -> int:
    from PIL.Image import Resampling

    return {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}[how.interpolation]
