"""CIFAR-10 and CIFAR-100 in their binary version. The Python version is pickled, and no pickle is loaded here.

Source: https://www.cs.toronto.edu/~kriz/cifar.html: records of one label (CIFAR-100: the coarse, then the fine one)
and 3072 bytes, the 32 x 32 red values row by row, then the green, then the blue ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compressors.data.dataset import Arrays, Pixels, checked_labels
from pocketzoo.errors import BadInput

SIDE = 32
PIXELS = 3 * SIDE * SIDE
LARGEST = 4 << 30  # bytes of one file
LONGEST_NAMES = 1 << 20  # bytes of the file of class names
Kind = Literal["cifar10", "cifar100"]
LABEL_BYTES = {"cifar10": 1, "cifar100": 2}
CLASSES = {"cifar10": 10, "cifar100": 100}
NAMES = {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt"}
ARCHIVES = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}
FILES = {
    ("cifar10", "train"): tuple(f"data_batch_{n}.bin" for n in range(1, 6)),
    ("cifar10", "test"): ("test_batch.bin",),
    ("cifar100", "train"): ("train.bin",),
    ("cifar100", "test"): ("test.bin",),
}


def open_cifar(kind: Kind, folder: Path, split: Literal["train", "test"], key: str) -> Arrays:
    """A split of CIFAR-10, or of CIFAR-100 with its 100 fine classes.

    One file is mapped, so that only what is looked at takes memory; CIFAR-10's five of the training split are
    joined in memory (150 MB).

    Args:
        kind: which of the two.
        folder: where the .bin files are.
        split: which files.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: the pickled version, missing or truncated files, or labels out of range.
    """
    paths = [folder / name for name in FILES[kind, split]]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise _missing(kind, folder, missing, key)
    names = _names(kind, folder)
    parts = [_read(kind, path, names) for path in paths]
    if len(parts) == 1:
        return Arrays(*parts[0], names, folder)
    return Arrays(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), names, folder)


def _read(kind: Kind, path: Path, names: tuple[str, ...]) -> tuple[Pixels, NDArray[np.int64]]:
    size, record = path.stat().st_size, LABEL_BYTES[kind] + PIXELS
    if not size or size % record or size > LARGEST:
        whole, rest = divmod(size, record)
        raise BadInput(
            f"truncated or damaged: {size:,} bytes are {whole:,} records of {record} bytes and {rest} more"
            if size
            else "an empty file",
            where=str(path),
            hint=f"unpack {ARCHIVES[kind]} again",
        )
    records = np.memmap(path, np.uint8, "r", shape=(size // record, record))
    labels = records[:, LABEL_BYTES[kind] - 1].astype(np.int64)
    planes = records[:, LABEL_BYTES[kind] :].reshape(-1, 3, SIDE, SIDE)
    return planes.transpose(0, 2, 3, 1), checked_labels(labels, names, path)


def _names(kind: Kind, folder: Path) -> tuple[str, ...]:
    """The class names of the archive's text file; numbers where it is not there."""
    path = folder / NAMES[kind]
    if not path.is_file():
        return tuple(str(n) for n in range(CLASSES[kind]))
    with path.open("rb") as file:
        text = file.read(LONGEST_NAMES).decode("utf-8", "replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != CLASSES[kind]:
        raise BadInput(f"{len(names)} class names, {kind} has {CLASSES[kind]}", where=str(path))
    return names


def _missing(kind: Kind, folder: Path, missing: list[str], key: str) -> BadInput:
    pickled = [name for name in ("data_batch_1", "test_batch", "batches.meta", "meta") if (folder / name).is_file()]
    inside = next((d.name for d in sorted(folder.glob("cifar-*-batches-*")) if d.is_dir()), None)
    if pickled:
        return BadInput(
            f"{pickled[0]} is CIFAR's Python version: a pickle, which can run any code when it is loaded",
            where=str(folder),
            hint=f"get the binary version, {ARCHIVES[kind]}, from where this one came from",
        )
    if (folder / ARCHIVES[kind]).is_file():
        hint = f"tar -xzf {ARCHIVES[kind]}, then --set {key}=the folder it makes"
    elif inside:
        hint = f"--set {key}={folder / inside}"
    else:
        hint = f"--set {key}=FOLDER, one that {ARCHIVES[kind]} unpacks to"
    return BadInput(f"no {', '.join(missing)} in the folder", where=str(folder), hint=hint)
