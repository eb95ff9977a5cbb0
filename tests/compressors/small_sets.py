"""Writes data sets in their published formats, with a few images each."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.compressors.conftest import save_photo

Bytes = NDArray[np.uint8]

# The real one, whole.
FASHION = Path("/usr/share/datasets/fashion-mnist")
needs_fashion = pytest.mark.skipif(not FASHION.is_dir(), reason="apt-get install dataset-fashion-mnist")


def idx(array: NDArray[Any], kind: int = 8) -> bytes:
    """An array of bytes as IDX."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images(count: int, seed: int = 0, side: int = 28) -> Bytes:
    """Grey images, different for each seed."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)


def labels(count: int, classes: int = 10) -> Bytes:
    """0, 1, 2, ... again and again."""
    return (np.arange(count) % classes).astype(np.uint8)


def write_idx(folder: Path, train: int = 40, test: int = 20, packed: bool = True, dot: str = "-") -> Path:
    """A data set like MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count, seed in (("train", train, 0), ("t10k", test, 1)):
        for what, content in (("images", idx(images(count, seed))), ("labels", idx(labels(count)))):
            name = f"{prefix}-{what}{dot}idx{3 if what == 'images' else 1}-ubyte"
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
            else:
                (folder / name).write_bytes(content)
    return folder


def cifar_records(count: int, label_bytes: int, seed: int = 0, classes: int = 10) -> bytes:
    """Records of CIFAR's binary version."""
    planes = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    wide = labels(count, classes)[:, np.newaxis]
    coarse = [wide // 5] * (label_bytes - 1)
    return np.concatenate([*coarse, wide, planes], axis=1).astype(np.uint8).tobytes()


def write_cifar10(folder: Path, count: int = 10) -> Path:
    """CIFAR-10: five files to train on, one to test."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        (folder / f"{name}.bin").write_bytes(cifar_records(count, 1, index))
    (folder / "batches.meta.txt").write_text("\n".join(f"class {n}" for n in range(10)) + "\n\n")
    return folder


def write_cifar100(folder: Path, count: int = 100) -> Path:
    """CIFAR-100."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(("train", "test")):
        (folder / f"{name}.bin").write_bytes(cifar_records(count, 2, index, 100))
    return folder


def write_folders(folder: Path, classes: tuple[str, ...] = ("ant", "bee", "cat"), each: int = 4) -> Path:
    """ImageNet's layout: train/CLASS/*.JPEG and val/CLASS/*.JPEG."""
    for split, seed in (("train", 0), ("val", 50)):
        for number, name in enumerate(classes):
            for index in range(each):
                save_photo(folder / split / name / f"{index}.jpeg", seed + 10 * number + index, (40 + index, 36))
                (folder / split / name / f"{index}.jpeg").rename(folder / split / name / f"{index}.JPEG")
    return folder
