"""Batches: a data set in a deterministic order, augmented and normalised.

Everything random depends on (seed, epoch, index of the image in its whole set) and on nothing else: not on what was
read before, on the number of threads or on how the work is divided. So a training that is resumed in the middle of an
epoch, or done by two processes instead of one, sees the same pixels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressors.data.dataset import Arrays, Dataset, Pixels, whole_of
from compressors.data.dense import Scenes
from compressors.data.moving import prepared, stacked
from compressors.data.preprocessing import Array, cut_centre, cut_random, normalise
from zoo.artifact import Preprocessing

if TYPE_CHECKING:
    from compressors.sections import Augment

AHEAD = 2  # batches of photos that are decoded before they are asked for
# One stream of random numbers for each purpose, so that one more draw in one changes nothing in the others.
ORDER, SHIFT, CROP, PLACE = 1, 2, 3, 4
Made = TypeVar("Made")


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied.

    ``crop-flip`` shifts by up to ``padding`` pixels (black comes in) and mirrors half of the images: what CIFAR
    networks are trained with (He et al., 2016, section 4.2). ``random-resized-crop`` cuts a part with a share of
    the area within ``scale`` and mirrors: ImageNet's. ``flip`` turns mirroring off, as digits need it. The others are
    for images with boxes or masks: :mod:`compressors.data.moving`; so is ``distort``, which varies the colours of any.
    """

    kind: Augment = "none"
    padding: int = 4
    flip: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    distort: bool = False


@dataclass(frozen=True)
class Batch:
    """``images`` (n, H, W, C) float32, ``labels``, and ``indices`` (n,) of the images in their whole set.

    ``labels`` are (n,) classes, (n, H, W) masks or (n, most, 6) boxes: see :mod:`compressors.data.moving`.

    Torch takes ``torch.from_numpy(batch.images).permute(0, 3, 1, 2)``: the same memory, channels last.
    """

    images: Array
    labels: NDArray[Any]
    indices: NDArray[np.int64]


@dataclass(frozen=True)
class Loader:
    """A data set, batch by batch.

    Args:
        dataset: what to read.
        how: how an image becomes the model's input.
        batch: images in one batch of one process.
        seed: of order and augmentation.
        augmentation: none for evaluation.
        shuffle: a new order every epoch; else that of the data set.
        drop_last: leave out the rest that does not fill a batch.
        process: the number of this process of ``processes``. Together they see the batches of ``batch x processes``
            images that one process alone would see.
        threads: that decode photos; 0: as many as there are processors.
    """

    dataset: Dataset
    how: Preprocessing
    batch: int
    seed: int = 0
    augmentation: Augmentation = Augmentation()
    shuffle: bool = False
    drop_last: bool = False
    process: int = 0
    processes: int = 1
    threads: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 <= self.process < self.processes:
            raise ValueError(f"batch {self.batch}, process {self.process} of {self.processes}")
        if self.processes > 1 and not self.drop_last:
            raise ValueError("several processes need drop_last: one of them would get a smaller last batch or none")

    def __len__(self) -> int:
        """Batches in an epoch."""
        together = self.batch * self.processes
        images = len(self.dataset.labels)
        return images // together if self.drop_last else -(-images // together)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number ``start`` on; skipping costs nothing.

        Raises:
            BadInput: a photo that cannot be decoded, with its path.
        """
        whole, members = whole_of(self.dataset)
        labels = whole.labels
        order = members
        if self.shuffle:
            order = members[np.random.default_rng([self.seed, epoch, ORDER]).permutation(len(members))]
        if isinstance(whole, Scenes):
            yield from self._scenes(whole, list(self._chunks(order, start)), epoch)
            return
        shifts = self._shifts(epoch, len(labels))
        for indices, pixels in self._read(whole, list(self._chunks(order, start)), epoch):
            if shifts is not None:
                pixels = _shifted(pixels, self.augmentation.padding, *(drawn[indices] for drawn in shifts))  # noqa: PLW2901
            yield Batch(normalise(pixels, self.how), labels[indices], indices)

    def _chunks(self, order: NDArray[np.int64], start: int) -> Iterator[NDArray[np.int64]]:
        together = self.batch * self.processes
        for number in range(start, len(self)):
            first = number * together + self.process * self.batch
            yield order[first : first + self.batch]

    def _shifts(self, epoch: int, images: int) -> tuple[NDArray[np.int64], ...] | None:
        """Rows, columns and mirroring of every image of the whole set; None where nothing is shifted."""
        if self.augmentation.kind != "crop-flip":
            return None
        random = np.random.default_rng([self.seed, epoch, SHIFT])
        width = 2 * self.augmentation.padding + 1
        tops, lefts, flips = (random.integers(0, most, images) for most in (width, width, 2))
        return tops, lefts, flips if self.augmentation.flip else np.zeros_like(flips)

    def _read(
        self, whole: Dataset, chunks: list[NDArray[np.int64]], epoch: int
    ) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
        cropped = self.augmentation.kind == "random-resized-crop"
        as_it_is = self.how.resize is None and not cropped
        if as_it_is and isinstance(whole, Arrays) and whole.images.shape[3] == self.how.channels:
            for chunk in chunks:
                yield chunk, _padded(whole.images[chunk], self.how.crop)
            return

        def one(index: int) -> Pixels:
            if not cropped:
                return cut_centre(whole.get(index), self.how)
            random = np.random.default_rng([self.seed, epoch, CROP, index])
            return cut_random(whole.get(index), self.how, random, self.augmentation.scale, self.augmentation.flip)

        for chunk, pixels in self._ahead(chunks, one):
            yield chunk, np.stack(pixels)

    def _scenes(self, whole: Scenes, chunks: list[NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        def one(index: int) -> Any:
            random = np.random.default_rng([self.seed, epoch, PLACE, index])
            return prepared(whole, index, self.how, self.augmentation, random)

        for chunk, made in self._ahead(chunks, one):
            images = np.stack([image for image, _ in made])
            yield Batch(normalise(images, self.how), stacked([target for _, target in made]), chunk)

    def _ahead(
        self, chunks: list[NDArray[np.int64]], one: Callable[[int], Made]
    ) -> Iterator[tuple[NDArray[np.int64], list[Made]]]:
        """What ``one`` makes of each index, a few chunks ahead of where they are asked for."""
        # Threads are enough: the decoder and the resizer work outside Python's lock.
        pool = ThreadPoolExecutor(self.threads or len(os.sched_getaffinity(0)))
        ahead: deque[tuple[NDArray[np.int64], list[Future[Made]]]] = deque()
        try:
            for chunk in chunks:
                ahead.append((chunk, [pool.submit(one, int(index)) for index in chunk]))
                if len(ahead) > AHEAD:
                    done, futures = ahead.popleft()
                    yield done, [future.result() for future in futures]
            while ahead:
                done, futures = ahead.popleft()
                yield done, [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


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
