"""From a recipe's words (which data set, which folder, which split) to the data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from compressors.data.cifar import open_cifar
from compressors.data.dataset import Arrays, Photos
from compressors.data.idx import CLASSES, open_idx
from compressors.data.imagefolder import open_image_folder
from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

Kind = Literal["imagenet", "image-folder", "cifar10", "cifar100", "mnist", "fashion-mnist", "idx"]
Split = Literal["train", "test"]
# What the folder of the split that judges a model is called where splits are folders.
JUDGING = ("val", "test", "validation")


def open_dataset(
    kind: Kind, folder: Path, split: Split, *, class_list: Path | None = None, key: str = "data.folder"
) -> Arrays | Photos:
    """Open one split of a data set.

    Args:
        kind: ``imagenet`` and ``image-folder``: train/CLASS/*.jpeg and val/CLASS/*.jpeg; ``cifar10``, ``cifar100``:
            the .bin files; ``mnist``, ``fashion-mnist``, ``idx``: the IDX files, with the class names of the first
            two.
        folder: where it is.
        split: ``test`` is what judges a finished model: val for folders, t10k for IDX.
        class_list: for folders, gives the order of the classes.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: an unknown kind, and whatever is wrong with the folder or its files.
    """
    if kind not in get_args(Kind):
        close = did_you_mean(str(kind), get_args(Kind))
        raise BadInput(f"no kind of data set {kind!r}", detail=(close or f"known: {', '.join(get_args(Kind))}",))
    if not folder.is_dir():
        what = "a file, where a folder is expected" if folder.exists() else "no such folder"
        raise BadInput(what, where=str(folder), hint=f"--set {key}=FOLDER")
    if not any(folder.iterdir()):
        raise BadInput("an empty folder", where=str(folder), hint=f"--set {key}=FOLDER")
    if class_list is not None and kind not in ("imagenet", "image-folder"):
        raise BadInput(f"a list of classes is for folders of photos; {kind} numbers its classes itself")
    if kind in ("cifar10", "cifar100"):
        return open_cifar(kind, folder, split, key)
    if kind in ("mnist", "fashion-mnist", "idx"):
        return open_idx(folder, split, CLASSES.get(kind), key)
    name: str = "train" if split == "train" else next((n for n in JUDGING if (folder / n).is_dir()), JUDGING[0])
    return open_image_folder(folder, name, class_list, key)
