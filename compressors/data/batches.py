"""Images as a training reads them: by number, augmented and normalised.

Everything random depends on (seed, epoch, index of the image in its whole set) and on nothing else: not on what was
read before, on the number of threads or on how the work is divided. So a training that is resumed in the middle of an
epoch, or done by two processes instead of one, sees the same pixels.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from compressors.data.dataset import Arrays, Dataset, Pixels, whole_of
from compressors.data.preprocessing import Array, cut_centre, cut_random, normalise
from zoo.artifact import Preprocessing

Indices = NDArray[np.int64]
# One stream of random numbers for each purpose, so that one more draw in one changes nothing in the other.
SHIFT, CROP = 1, 2


class Augmentation(msgspec.Struct, frozen=True, kw_only=True):
    """How training images are varied.

    ``crop-flip`` shifts by up to ``pad`` pixels (black comes in) and mirrors half of the images: what CIFAR networks
    are trained with (He et al., 2016, section 4.2). ``resized-crop`` cuts a part with a share of the area within
    ``scale`` and mirrors: ImageNet's. ``flip`` turns mirroring off, as digits need it.
    """

    kind: Literal["none", "crop-flip", "resized-crop"] = "none"
    pad: int = 4
    flip: bool = True
    scale: tuple[float, float] = (0.08, 1.0)


PLAIN = Augmentation()


@dataclass(frozen=True)
class ImageExamples:
    """A data set as :class:`compressors.train.examples.Examples`.

    Args:
        dataset: what to read.
        how: how an image becomes the model's input.
        seed: of the augmentation.
        augmentation: none for evaluation.
        threads: that decode photos; 0: as many as there are processors.
    """

    dataset: Dataset
    how: Preprocessing
    seed: int = 0
    augmentation: Augmentation = PLAIN
    threads: int = 0

    @property
    def classes(self) -> int:
        """Labels are 0 to ``classes`` - 1."""
        return len(self.dataset.classes)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the data set's identity, the preprocessing, the augmentation and, where it matters, the seed."""
        parts = [self.how, self.augmentation, self.seed if self.augmentation.kind != "none" else None]
        digest = hashlib.sha256(self.dataset.identity.encode())
        digest.update(msgspec.json.encode(parts, order="deterministic"))
        return f"sha256:{digest.hexdigest()}"

    def __len__(self) -> int:
        """Images."""
        return len(self.dataset.labels)

    def batch(self, indices: Indices, epoch: int | None = None) -> tuple[Array, Indices]:
        """Some images and their labels.

        Args:
            indices: which, in this order.
            epoch: decides, with the seed and each image's place, how it is varied; None: not at all.

        Returns:
            (n, C, H, W) float32, normalised, channels last in memory; and (n,) labels.

        Raises:
            BadInput: a photo that cannot be decoded, with its path.
        """
        whole, members = self._whole
        places = members[indices]
        kind = "none" if epoch is None else self.augmentation.kind
        pixels = self._read(whole, places, epoch if kind == "resized-crop" else None)
        if epoch is not None and kind == "crop-flip":
            pixels = _shifted(pixels, self.augmentation.pad, *(drawn[places] for drawn in self._shifts(epoch)))
        return normalise(pixels, self.how).transpose(0, 3, 1, 2), whole.labels[places]

    @cached_property
    def _whole(self) -> tuple[Dataset, Indices]:
        return whole_of(self.dataset)

    @cached_property
    def _drawn(self) -> dict[int, tuple[Indices, ...]]:
        return {}

    def _shifts(self, epoch: int) -> tuple[Indices, ...]:
        """Rows, columns and mirroring of every image of the whole set in an epoch; the last epoch's are kept."""
        found = self._drawn.get(epoch)
        if found is None:
            random = np.random.default_rng([self.seed, epoch, SHIFT])
            width, count = 2 * self.augmentation.pad + 1, len(self._whole[0].labels)
            tops, lefts, flips = (random.integers(0, most, count) for most in (width, width, 2))
            found = (tops, lefts, flips if self.augmentation.flip else np.zeros_like(flips))
            self._drawn.clear()
            self._drawn[epoch] = found
        return found

    def _read(self, whole: Dataset, places: Indices, cropped: int | None) -> Pixels:
        """(n, crop, crop, channels); random crops of the epoch ``cropped``, or the centres."""
        as_it_is = self.how.resize is None and cropped is None
        if as_it_is and isinstance(whole, Arrays) and whole.images.shape[3] == self.how.channels:
            return _padded(whole.images[places], self.how.crop)

        def one(place: int) -> Pixels:
            if cropped is None:
                return cut_centre(whole.get(place), self.how)
            random = np.random.default_rng([self.seed, cropped, CROP, place])
            return cut_random(whole.get(place), self.how, random, self.augmentation.scale, self.augmentation.flip)

        # Threads are enough: the decoder and the resizer work outside Python's lock.
        with ThreadPoolExecutor(self.threads or len(os.sched_getaffinity(0))) as pool:
            return np.stack(list(pool.map(one, map(int, places))))


def _padded(images: Pixels, size: int) -> Pixels:
    """(N, H, W, C) to (N, size, size, C): the centre, black around it; where :func:`cut_centre` would cut."""
    _, height, width, _ = images.shape
    if (height, width) == (size, size):
        return images
    out = np.zeros((len(images), size, size, images.shape[3]), np.uint8)
    (to_top, from_top, rows), (to_left, from_left, columns) = (_overlap(side, size) for side in (height, width))
    out[:, to_top : to_top + rows, to_left : to_left + columns] = images[
        :, from_top : from_top + rows, from_left : from_left + columns
    ]
    return out


def _overlap(side: int, size: int) -> tuple[int, int, int]:
    """Where the centre crop of a side begins in the result and in the image, and how much they share."""
    first = round((side - size) / 2)
    begin, end = max(0, first), min(side, first + size)
    return begin - first, begin, end - begin


def _shifted(
    images: Pixels, padding: int, tops: NDArray[np.int64], lefts: NDArray[np.int64], flips: NDArray[np.int64]
) -> Pixels:
    """Cut (H, W) out of the images with a black border of ``padding``, at each image's own place, mirrored or not."""
    count, height, width, _ = images.shape
    bordered = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows = tops[:, np.newaxis] + np.arange(height)
    straight = np.arange(width)
    columns = lefts[:, np.newaxis] + np.where(flips[:, np.newaxis] == 1, straight[::-1], straight)
    cut: Pixels = bordered[np.arange(count)[:, np.newaxis, np.newaxis], rows[:, :, np.newaxis], columns[:, np.newaxis]]
    return cut
