"""Images with a truth for places in them: boxes, or a class for each pixel.

They are data sets like others (:class:`compressors.data.dataset.Dataset`), so they are held out, drawn from and
calibrated on by the same code. Their ``labels`` only say how a set is divided evenly, and are all 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compressors.data.boxed import Boxed, BoxedSet
from compressors.data.dataset import Pixels, Whole, digest_of
from compressors.data.photos import MOST_PIXELS, open_photo
from compressors.data.scenes import ItemScenes, ShapeScenes
from compressors.dense.masks import IGNORED
from compressors.dense.precision import Truth
from pocketzoo.errors import BadInput

Target = Truth | Pixels
KEPT = 1 << 29  # bytes of made scenes that are kept: each is needed in every epoch


@runtime_checkable
class Scenes(Whole, Protocol):
    """A data set whose images (H, W, 3) come with boxes (:class:`Truth`) or masks (H, W) of classes.

    Its ``labels`` are (N,) zeros: what is in an image, its scene says.
    """

    def scene(self, index: int) -> tuple[Pixels, Target]:
        """An image (H, W, 3) and its boxes in pixels, or its mask (H, W)."""


@dataclass
class Made:
    """Scenes that are drawn when they are asked for first, and kept as far as there is room."""

    source: ShapeScenes | ItemScenes
    where: Path
    _kept: dict[int, tuple[Pixels, Target]] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the shapes, or of the items and the background."""
        return self.source.classes

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) zeros."""
        return np.zeros(len(self.source), np.int64)

    @cached_property
    def identity(self) -> str:
        """Which scenes these are."""
        return self.source.identity

    def get(self, index: int) -> Pixels:
        """(size, size, 3)."""
        return self.scene(index)[0]

    def scene(self, index: int) -> tuple[Pixels, Target]:
        """An image and its truth."""
        if index not in self._kept:
            made = self.source.get(index)
            if 4 * made[0].size * (len(self._kept) + 1) // 3 > KEPT:
                return made
            self._kept[index] = made
        return self._kept[index]


@dataclass(frozen=True)
class BoxedPhotos:
    """Photos with boxes; ``remarks`` are what an artifact made of them has to say of them."""

    photos: tuple[Boxed, ...]
    classes: tuple[str, ...]
    where: Path
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, sets: Sequence[BoxedSet], where: Path) -> BoxedPhotos:
        """Several sets with the same classes as one."""
        photos = tuple(photo for one in sets for photo in one.photos)
        return cls(photos, sets[0].classes, where, tuple(remark for one in sets for remark in one.remarks))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) zeros."""
        return np.zeros(len(self.photos), np.int64)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of names, contents (sizes where they are too many) and boxes."""
        digest, _ = digest_of([(photo.path, "") for photo in self.photos], self.where)
        for photo in self.photos:
            for values in (photo.truth.boxes, photo.truth.labels, photo.truth.ignored, photo.truth.areas):
                if values is not None:
                    digest.update(np.ascontiguousarray(values).data)
        return f"sha256:{digest.hexdigest()}"

    def get(self, index: int) -> Pixels:
        """(H, W, 3)."""
        return self.scene(index)[0]

    def scene(self, index: int) -> tuple[Pixels, Truth]:
        """A photo and its boxes.

        Raises:
            BadInput: it cannot be decoded, or is not as large as its annotation says.
        """
        photo = self.photos[index]
        pixels = np.asarray(open_photo(photo.path))
        if pixels.shape[:2] != (photo.height, photo.width):
            raise BadInput(
                f"a photo of {pixels.shape[1]} x {pixels.shape[0]} pixels whose annotation says "
                f"{photo.width} x {photo.height}",
                where=str(photo.path),
                hint="its boxes are of another photo; repair the annotation or remove both",
            )
        return pixels, photo.truth


@dataclass(frozen=True)
class MaskedPhotos:
    """Photos, each beside a picture with a number for each pixel, and the class that each number means.

    ``meaning`` has 256 entries: the class of each number, :data:`IGNORED` for those that count neither way, -1 for
    those that must not be there.
    """

    photos: tuple[tuple[Path, Path], ...]
    classes: tuple[str, ...]
    meaning: tuple[int, ...]
    where: Path

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) zeros."""
        return np.zeros(len(self.photos), np.int64)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of names, contents (sizes where they are too many) and the classes."""
        digest, _ = digest_of([(path, "") for pair in self.photos for path in pair], self.where)
        digest.update(repr(self.meaning).encode())
        return f"sha256:{digest.hexdigest()}"

    def get(self, index: int) -> Pixels:
        """(H, W, 3)."""
        return np.asarray(open_photo(self.photos[index][0]))

    def scene(self, index: int) -> tuple[Pixels, Pixels]:
        """A photo and its mask.

        Raises:
            BadInput: one of them cannot be decoded, they are not of one size, or the mask has a number that is no
                class.
        """
        photo, path = self.photos[index]
        pixels, numbers = np.asarray(open_photo(photo)), open_mask(path)
        if pixels.shape[:2] != numbers.shape:
            raise BadInput(
                f"a mask of {numbers.shape[1]} x {numbers.shape[0]} pixels for a photo of "
                f"{pixels.shape[1]} x {pixels.shape[0]}",
                where=str(path),
            )
        meaning = np.asarray(self.meaning, np.int16)
        found = meaning[numbers]
        if found.min(initial=0) < 0:
            number = int(numbers[found < 0][0])
            raise BadInput(
                f"the mask has the label {number}, which is no class",
                where=str(path),
                detail=(f"{len(self.classes)} classes: {', '.join(self.classes[:6])}; {IGNORED} is ignored",),
                hint="give the names of all classes in data.training.classes and data.evaluation.classes",
            )
        return pixels, found.astype(np.uint8)


def open_mask(path: Path) -> Pixels:
    """Decode a picture of one number for each pixel (H, W): grey, or a palette's indices.

    Raises:
        BadInput: no such file, not a picture, colours instead of numbers, or suspiciously large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BadInput(f"a mask of {image.width} x {image.height} pixels", where=str(path))
            if image.mode not in ("L", "P", "1"):
                raise BadInput(
                    f"a mask of mode {image.mode}, where each pixel's number is expected",
                    where=str(path),
                    hint="masks are grey or palette pictures whose values are classes",
                )
            return np.asarray(image).astype(np.uint8)
    except FileNotFoundError as error:
        raise BadInput("no mask for a photo", where=str(path)) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInput("a mask that cannot be decoded", where=str(path), detail=(str(error)[:200],)) from error
