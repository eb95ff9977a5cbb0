"""Scenes that are made, not photographed: every box and every pixel's class is known exactly.

Shapes for detection: filled circles, squares, triangles and so on, of any colour and turned by any angle, on crops of
photos. Items for segmentation: pictures of Fashion-MNIST on such crops, enlarged and beside or over each other. Scene
N of a seed is the same on every machine and whatever was drawn before it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressors.data.dataset import Dataset, Pixels
from compressors.data.photos import open_photo
from compressors.dense.precision import Truth
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file

SHAPES = ("circle", "square", "triangle", "pentagon", "star", "cross")
FINER = 4  # shapes are drawn this many times as large and averaged down, so that edges are smooth
BACKGROUND = "background"

_SCENE = 2  # of the seeds that this file draws from


@dataclass(frozen=True)
class Backgrounds:
    """Crops of photos; without photos smooth colours, so that scenes can be made anywhere."""

    photos: tuple[Path, ...] = ()

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the photos' contents."""
        digest = hashlib.sha256()
        for photo in self.photos:
            digest.update(sha256_file(photo).encode())
        return digest.hexdigest()

    def get(self, random: np.random.Generator, size: int) -> Pixels:
        """(size, size, 3)."""
        from PIL import Image

        if not self.photos:
            corners = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            return np.asarray(Image.fromarray(corners).resize((size, size), Image.Resampling.BICUBIC))
        photo = open_photo(self.photos[int(random.integers(len(self.photos)))])
        side = int(min(photo.size) * random.uniform(0.4, 1.0))
        left, top = (int(random.integers(0, length - side + 1)) for length in photo.size)
        return np.asarray(photo.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side)))


@dataclass(frozen=True)
class ShapeScenes:
    """``count`` scenes of (size, size, 3) with one to ``most`` shapes each, which never hide each other's centres."""

    count: int
    size: int
    seed: int
    backgrounds: Backgrounds = Backgrounds()
    most: int = 4

    def __post_init__(self) -> None:
        if self.count < 1 or self.size < 32 or self.most < 1:
            raise BadInput(
                f"{self.count} scenes of {self.size} pixels with {self.most} shapes",
                hint="at least one scene of 32 pixels with one shape",
            )

    def __len__(self) -> int:
        return self.count

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the shapes."""
        return SHAPES

    @property
    def identity(self) -> str:
        """Says which scenes these are."""
        parts = f"shapes {self.count} {self.size} {self.seed} {self.most} {self.backgrounds.identity}"
        return f"sha256:{hashlib.sha256(parts.encode()).hexdigest()}"

    def get(self, index: int) -> tuple[Pixels, Truth]:
        """A scene and what is in it: boxes touch the outermost pixels of each shape."""
        from PIL import Image, ImageDraw

        random = np.random.default_rng([self.seed, _SCENE, index])
        image = self.backgrounds.get(random, self.size).copy()
        boxes: list[tuple[float, ...]] = []
        labels: list[int] = []
        for _ in range(int(random.integers(1, self.most + 1))):
            label = int(random.integers(len(SHAPES)))
            radius = self.size * random.uniform(0.07, 0.22)
            centre = random.uniform(radius, self.size - radius, 2)
            outline = _outline(SHAPES[label], random.uniform(0, 2 * math.pi)) * radius + centre
            colour = random.integers(0, 256, 3)
            if any(
                math.dist(centre, ((x1 + x2) / 2, (y1 + y2) / 2)) < radius + (x2 - x1) / 2 for x1, y1, x2, y2 in boxes
            ):
                continue
            drawn = Image.new("L", (self.size * FINER, self.size * FINER))
            ImageDraw.Draw(drawn).polygon([tuple(point * FINER) for point in outline], fill=255)
            cover = np.asarray(drawn.reduce(FINER), np.float32)[..., None] / 255
            image = np.rint(image * (1 - cover) + colour * cover).astype(np.uint8)
            low, high = np.clip(outline.min(0), 0, self.size), np.clip(outline.max(0), 0, self.size)
            boxes.append((*low, *high))
            labels.append(label)
        truth = Truth(
            np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(labels, np.int64), np.zeros(len(labels), bool)
        )
        return image, truth


def _outline(shape: str, angle: float) -> NDArray[np.float64]:
    """(points, 2) on or in the unit circle."""
    if shape == "cross":
        arm = 0.3
        points = np.asarray(
            [(arm, 1), (arm, arm), (1, arm), (1, -arm), (arm, -arm), (arm, -1), (-arm, -1), (-arm, -arm), (-1, -arm),
             (-1, arm), (-arm, arm), (-arm, 1)]
        ) / math.hypot(1, arm)  # fmt: skip
    else:
        corners = {"circle": 48, "square": 4, "triangle": 3, "pentagon": 5, "star": 10}[shape]
        at = np.arange(corners) * 2 * math.pi / corners
        length = np.where(np.arange(corners) % 2, 0.4, 1.0) if shape == "star" else np.ones(corners)
        points = np.stack([np.cos(at) * length, np.sin(at) * length], 1)
    turn = np.asarray([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned: NDArray[np.float64] = points @ turn.T
    return turned


@dataclass(frozen=True)
class ItemScenes:
    """Scenes of (size, size, 3) with one to ``most`` grey pictures of a data set on each, and a class for each pixel.

    Class 0 is the background, N + 1 that of the pictures' class N. A picture's pixels are those above ``least``.
    """

    pictures: Dataset
    count: int
    size: int
    seed: int
    backgrounds: Backgrounds = Backgrounds()
    most: int = 3
    least: int = 24

    def __post_init__(self) -> None:
        if self.count < 1 or self.size < 64 or self.most < 1:
            raise BadInput(
                f"{self.count} scenes of {self.size} pixels with {self.most} items",
                hint="at least one scene of 64 pixels with one item",
            )

    def __len__(self) -> int:
        return self.count

    @property
    def classes(self) -> tuple[str, ...]:
        """The background, then the pictures' classes."""
        return (BACKGROUND, *self.pictures.classes)

    @property
    def identity(self) -> str:
        """Says which scenes these are."""
        parts: Sequence[object] = (
            "items", self.pictures.identity, self.count, self.size, self.seed, self.most, self.least,
            self.backgrounds.identity,
        )  # fmt: skip
        return f"sha256:{hashlib.sha256(repr(parts).encode()).hexdigest()}"

    def get(self, index: int) -> tuple[Pixels, NDArray[np.uint8]]:
        """A scene, and the class of each of its pixels (size, size)."""
        from PIL import Image

        random = np.random.default_rng([self.seed, _SCENE, index])
        image = self.backgrounds.get(random, self.size).copy()
        mask = np.zeros((self.size, self.size), np.uint8)
        for _ in range(int(random.integers(1, self.most + 1))):
            which = int(random.integers(len(self.pictures.labels)))
            side = int(random.integers(self.size // 3, self.size // 2 + 1))
            grey = Image.fromarray(self.pictures.get(which)[..., 0])
            picture = np.asarray(grey.resize((side, side), Image.Resampling.BILINEAR))
            top, left = (int(value) for value in random.integers(0, self.size - side + 1, 2))
            there = picture > self.least
            colour = random.uniform(0.5, 1.0, 3)
            place = (slice(top, top + side), slice(left, left + side))
            image[place][there] = np.rint(picture[there][:, None] * colour).astype(np.uint8)
            mask[place][there] = int(self.pictures.labels[which]) + 1
        return image, mask
