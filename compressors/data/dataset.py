"""What a data set is, the two kinds there are (arrays and photos), and parts of one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compressors.data.photos import LabelledPhoto, open_photo
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file

Pixels = NDArray[np.uint8]
HASHED = 4 << 30  # bytes of photos whose contents are hashed; ImageNet's 140 GB would take longer than a recipe


class Dataset(Protocol):
    """Labelled images, numbered from 0."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of their labels."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class indices, each below ``len(classes)``."""

    @property
    def identity(self) -> str:
        """Says which data this is, wherever it lies: ``sha256:...`` of its contents."""

    def get(self, index: int) -> Pixels:
        """An image as (H, W, 1) grey or (H, W, 3) RGB."""


@dataclass(frozen=True)
class Arrays:
    """Images of one size, as the small sets are kept.

    ``images`` is (N, H, W, C) uint8, perhaps still on the disk (``numpy.memmap``); ``where`` names the files in
    errors.
    """

    images: Pixels
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    where: Path

    @cached_property
    def identity(self) -> str:
        """SHA-256 of shape, pixels and labels: the same from .gz files and from unpacked ones."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        for start in range(0, len(self.images), 4096):
            digest.update(np.ascontiguousarray(self.images[start : start + 4096]).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return f"sha256:{digest.hexdigest()}"

    def get(self, index: int) -> Pixels:
        """An image as (H, W, C)."""
        return np.asarray(self.images[index])


@dataclass(frozen=True)
class Photos:
    """Photos in files, each of its own size, decoded as RGB when they are asked for."""

    photos: tuple[LabelledPhoto, ...]
    classes: tuple[str, ...]
    where: Path

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class indices."""
        return np.asarray([photo.label for photo in self.photos], np.int64)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of names, labels and contents; of names, labels and sizes (``sizes:...``) beyond :data:`HASHED`."""
        digest, by_content = digest_of([(photo.path, f"\0{photo.label}") for photo in self.photos], self.where)
        return f"{'sha256' if by_content else 'sizes'}:{digest.hexdigest()}"

    def get(self, index: int) -> Pixels:
        """A photo as (H, W, 3).

        Raises:
            BadInput: a file that is no photo, or a damaged one; its path is named.
        """
        return np.asarray(open_photo(self.photos[index].path))


def digest_of(files: Sequence[tuple[Path, str]], where: Path) -> tuple[hashlib._Hash, bool]:
    """SHA-256 of the names of files, what is said of each, and contents; sizes beyond :data:`HASHED`.

    Returns:
        The digest, to which more may be added, and whether the contents are in it.
    """
    sizes = [path.stat().st_size for path, _ in files]
    by_content = sum(sizes) <= HASHED
    digest = hashlib.sha256()
    for (path, says), size in zip(files, sizes, strict=True):
        name = path.relative_to(where).as_posix()
        digest.update(f"{name}{says}\0{sha256_file(path) if by_content else size}\n".encode())
    return digest, by_content


class Whole(Dataset, Protocol):
    """A data set that knows where it lies, for errors."""

    @property
    def where(self) -> Path:
        """Its files."""


@dataclass(frozen=True)
class Subset:
    """Some images of a data set, in the order of ``indices``."""

    whole: Whole
    indices: NDArray[np.int64]

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the whole set, so that labels mean the same."""
        return self.whole.classes

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class indices."""
        return self.whole.labels[self.indices]

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the whole set's identity and the indices."""
        digest = hashlib.sha256(self.whole.identity.encode())
        digest.update(np.ascontiguousarray(self.indices).data)
        return f"sha256:{digest.hexdigest()}"

    def get(self, index: int) -> Pixels:
        """An image as (H, W, C)."""
        return self.whole.get(int(self.indices[index]))


def whole_of(dataset: Dataset) -> tuple[Dataset, NDArray[np.int64]]:
    """The set that images are read from, and the index in it of each image of ``dataset``."""
    if isinstance(dataset, Subset):
        return dataset.whole, dataset.indices
    return dataset, np.arange(len(dataset.labels))


def hold_out(dataset: Whole | Subset, share: float, seed: int) -> tuple[Subset, Subset]:
    """Split a training set into what a model learns from and what judges it while it learns.

    Each class gives the same share (at least one image), so a small held-out split has them all. The choice depends
    on the labels, the share and the seed alone.

    Returns:
        What to train on and what was held out, both in the order of the whole set.

    Raises:
        BadInput: a share that is not between 0 and 1, or that leaves a class with nothing to learn from.
    """
    if not 0 < share < 1:
        raise BadInput(f"the held-out share must lie between 0 and 1, found {share}")
    whole, places = _parts(dataset)
    random = np.random.default_rng([seed, 0x5EED])
    held = np.zeros(len(places), bool)
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if not len(members):
            continue
        wanted = max(1, round(share * len(members)))
        if wanted >= len(members):
            raise BadInput(
                f"holding out {share:g} leaves nothing to learn class {name!r} from: it has {len(members)} images",
                where=str(whole.where),
                hint="give more images of it, or a smaller held-out share",
            )
        held[random.permutation(members)[:wanted]] = True
    return Subset(whole, places[~held]), Subset(whole, places[held])


def drawn(dataset: Whole | Subset, count: int, seed: int) -> Subset:
    """``count`` images drawn at random, every class alike as far as it has images; in the order of the whole set.

    Raises:
        BadInput: more images than there are.
    """
    whole, places = _parts(dataset)
    if not 0 < count <= len(places):
        raise BadInput(f"{count} images of a set that has {len(places)}", where=str(whole.where))
    random = np.random.default_rng([seed, 0xF125])
    shuffled = random.permutation(len(places))
    # The n-th image of its class comes before every class's n+1-th: taking from the front takes from all alike.
    rank = np.empty(len(shuffled), np.int64)
    for label in range(len(dataset.classes)):
        members = np.flatnonzero(dataset.labels[shuffled] == label)
        rank[members] = np.arange(len(members))
    return Subset(whole, places[np.sort(shuffled[np.argsort(rank, kind="stable")[:count]])])


def _parts(dataset: Whole | Subset) -> tuple[Whole, NDArray[np.int64]]:
    if isinstance(dataset, Subset):
        return dataset.whole, dataset.indices
    return dataset, np.arange(len(dataset.labels))


def check_classes(dataset: Dataset, classes: int, where: Path) -> None:
    """A model's last layer against the data.

    Raises:
        BadInput: the data has more or fewer classes than the model.
    """
    found = len(dataset.classes)
    if found == classes:
        return
    raise BadInput(
        f"too {'few' if found < classes else 'many'} classes: the data has {found}, the model {classes}",
        where=str(where),
        detail=(f"in the data: {', '.join(dataset.classes[:6])}{', ...' if found > 6 else ''}",),
        hint=f"--set model.options.classes={found}, or give the whole data set",
    )


def checked_labels(labels: NDArray[np.int64], classes: Sequence[str], where: Path) -> NDArray[np.int64]:
    """The labels, if each is one of the classes.

    Raises:
        BadInput: no images, a label beyond the classes, or images of one class alone.
    """
    if not len(labels):
        raise BadInput("no images in the data set", where=str(where))
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise BadInput(
            f"image {wrong[0]} has label {labels[wrong[0]]}, but there are {len(classes)} classes "
            f"(0 to {len(classes) - 1})",
            where=str(where),
            detail=(f"{len(wrong)} of {len(labels)} labels are out of range",),
        )
    if len(classes) < 2 or (labels == labels[0]).all():
        raise BadInput(
            f"too few classes: all {len(labels)} images are of class {classes[int(labels[0])]!r}",
            where=str(where),
            hint="a classifier needs two or more",
        )
    return labels
