"""IDX files, the format of MNIST and its successors, packed with gzip or not.

Source: http://yann.lecun.com/exdb/mnist: two zero bytes, the type of the elements (8: unsigned byte), the number of
dimensions, each dimension as four bytes with the largest first, then the elements, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from compressors.data.dataset import Arrays, Pixels, checked_labels
from pocketzoo.errors import BadInput

LARGEST = 4 << 30  # bytes of one file's elements
DEFLATE = 1032  # the most bytes that one byte of deflate can stand for
PREFIX = {"train": "train", "test": "t10k"}
DIGITS = tuple("0123456789")
CLASSES = {
    "mnist": DIGITS,
    "fashion-mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}


def read_idx(path: Path) -> Pixels:
    """One IDX file of unsigned bytes, in the shape its header says.

    An unpacked file is mapped, so that only what is looked at takes memory; a ``.gz`` is unpacked into memory.

    Raises:
        BadInput: not IDX, other elements than unsigned bytes, or more or fewer of them than the header says.
    """
    try:
        if path.suffix == ".gz":
            return _packed(path)
        return _plain(path)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            "a damaged gzip file", where=str(path), detail=(str(error)[:200],), hint="get the file again"
        ) from error


def _plain(path: Path) -> Pixels:
    with path.open("rb") as file:
        shape, start = _header(file.read(4 + 4 * 255), path)
    size, wanted = path.stat().st_size - start, math.prod(shape)
    if size != wanted:
        raise _another_size(path, shape, size)
    if not wanted:
        return np.zeros(shape, np.uint8)
    return np.memmap(path, np.uint8, "r", offset=start, shape=shape)


def _packed(path: Path) -> Pixels:
    with gzip.open(path, "rb") as file:
        try:
            head = file.read(4)
            head += file.read(4 * head[3] if len(head) == 4 else 0)
            shape, _ = _header(head, path)
            wanted = math.prod(shape)
            # Before memory is taken for what a few bytes claim to be.
            if wanted > path.stat().st_size * DEFLATE:
                raise _another_size(path, shape, None)
            content = file.read(wanted)
            if len(content) < wanted or file.read(1):
                raise _another_size(path, shape, len(content) if len(content) < wanted else None)
        except EOFError as error:
            raise BadInput("a truncated gzip file", where=str(path), hint="get the file again") from error
    return np.frombuffer(content, np.uint8).reshape(shape)


def _header(head: bytes, path: Path) -> tuple[tuple[int, ...], int]:
    if len(head) < 4 or head[:2] != b"\0\0" or len(head) < 4 + 4 * head[3] or not head[3]:
        raise BadInput("not an IDX file", where=str(path), hint="the MNIST family is in files called *-idx3-ubyte")
    if head[2] != 8:
        raise BadInput(f"elements of type 0x{head[2]:02x}; only unsigned bytes (0x08) are images", where=str(path))
    dimensions = head[3]
    if dimensions > 4:
        raise BadInput(f"{dimensions} dimensions; images have 3, or 4 with colours, labels 1", where=str(path))
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", dimensions, 4))
    if math.prod(shape) > LARGEST:
        raise BadInput(
            f"its header says {' x '.join(map(str, shape))} bytes; at most {LARGEST:,} are read", where=str(path)
        )
    return shape, 4 + 4 * dimensions


def _another_size(path: Path, shape: tuple[int, ...], found: int | None) -> BadInput:
    said = f"{' x '.join(map(str, shape))} = {math.prod(shape):,} bytes"
    what = "the file does not hold that" if found is None else f"{found:,} are there"
    return BadInput(f"truncated or damaged: the header says {said}, {what}", where=str(path), hint="get the file again")


def open_idx(folder: Path, split: Literal["train", "test"], names: tuple[str, ...] | None, key: str) -> Arrays:
    """A split of a data set in IDX files: ``train-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte`` and so on.

    Args:
        folder: where they are, with or without ``.gz``.
        split: ``test`` is the pair of files that begin with t10k.
        names: of the classes; None numbers them as far as the training labels go.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: files that are missing or damaged, that do not fit each other, or labels out of range.
    """
    images = read_idx(_find(folder, split, "images", key))
    labels_path = _find(folder, split, "labels", key)
    labels = read_idx(labels_path)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)) or 0 in images.shape[1:]:
        raise BadInput(f"images of shape {images.shape}, not (N, height, width)", where=str(folder))
    if labels.ndim != 1 or len(labels) != len(images):
        raise BadInput(
            f"{len(images)} images, but labels of shape {labels.shape}", where=str(labels_path), hint="get both again"
        )
    if names is None:
        known = read_idx(_find(folder, "train", "labels", key))
        names = tuple(str(n) for n in range(int(known.max(initial=0)) + 1))
    wide = labels.astype(np.int64)
    return Arrays(
        images if images.ndim == 4 else images[..., np.newaxis], checked_labels(wide, names, labels_path), names, folder
    )


def _find(folder: Path, split: Literal["train", "test"], what: Literal["images", "labels"], key: str) -> Path:
    stem, kind = f"{PREFIX[split]}-{what}", "idx3-ubyte" if what == "images" else "idx1-ubyte"
    tried = [folder / f"{stem}{dot}{kind}{packed}" for dot in "-." for packed in ("", ".gz")]
    for path in tried:
        if path.is_file():
            return path
    raise BadInput(
        f"no {tried[0].name} (or .gz) in the folder",
        where=str(folder),
        hint=f"--set {key}=FOLDER; Debian's dataset-fashion-mnist has it in /usr/share/datasets/fashion-mnist",
    )
