"""A folder for each class, as ImageNet is kept: ``train/n01440764/*.JPEG``, ``val/n01440764/*.JPEG``."""

from __future__ import annotations

import os
from pathlib import Path

from compressors.data.dataset import Photos, checked_labels
from compressors.data.photos import SUFFIXES, LabelledPhoto
from pocketzoo.errors import BadInput

LONGEST_LIST = 16 << 20  # bytes of a list of classes


def open_image_folder(folder: Path, split: str | None, class_list: Path | None, key: str) -> Photos:
    """The photos of one split.

    Classes are numbered in the order of a list of them, else of the sorted folder names of ``train``: a ``val`` that
    lacks a class would otherwise shift every label after it. A folder without splits is numbered by itself.

    Args:
        folder: holds the folders of the splits; with ``split`` None those of the classes.
        split: the folder's name.
        class_list: a line for each class that begins with its folder's name, such as ImageNet's synset list.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: missing or empty folders, photos outside the class folders, a class that the list or the training
            split does not have, or one that has no photo in the training split.
    """
    here = folder / split if split else folder
    if not here.is_dir():
        there = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
        raise BadInput(
            f"no folder {split!r} for the split" if split and folder.is_dir() else "no such folder",
            where=str(here),
            detail=(f"folders there: {', '.join(there[:6]) or 'none'}",) if folder.is_dir() else (),
            hint=f"--set {key}=FOLDER",
        )
    found = _folders(here)
    reference = folder / "train" if split and (folder / "train").is_dir() else here
    names = _listed(class_list) if class_list else tuple(found if reference == here else _folders(reference))
    numbers = {name: index for index, name in enumerate(names)}
    strangers = [name for name in found if name not in numbers]
    if strangers:
        known = str(class_list) if class_list else str(reference)
        raise BadInput(
            f"{len(strangers)} class folders are not among the {len(names)} classes of {known}",
            where=str(here),
            detail=(f"not known: {', '.join(strangers[:6])}",),
        )
    _no_loose_photos(here, key)
    photos: list[LabelledPhoto] = []
    for name in found:
        of_class = _photos(here / name)
        if not of_class and here == reference:
            raise BadInput(
                f"no photo in the folder of a class (looked for {', '.join(SUFFIXES)})", where=str(here / name)
            )
        photos += [LabelledPhoto(path, numbers[name]) for path in of_class]
    if class_list and here == reference and len(found) < len(names):
        lacking = [name for name in names if name not in set(found)]
        raise BadInput(
            f"too few classes: {len(found)} folders, {len(names)} in the list",
            where=str(here),
            detail=(f"without a folder: {', '.join(lacking[:6])}",),
        )
    if not photos:
        raise BadInput(f"no photo in class folders (looked for {', '.join(SUFFIXES)})", where=str(here))
    dataset = Photos(tuple(photos), names, here)
    checked_labels(dataset.labels, names, here)
    return dataset


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _photos(folder: Path) -> list[Path]:
    """Below a class folder, sorted by name; directory entries alone tell, as a stat of each of a million is slow."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def _no_loose_photos(folder: Path, key: str) -> None:
    with os.scandir(folder) as entries:
        loose = [e.name for e in entries if e.name.lower().endswith(SUFFIXES) and e.is_file()]
    if loose:
        raise BadInput(
            f"{len(loose)} photos lie outside the class folders, {min(loose)} for one",
            where=str(folder),
            hint=f"put them into a folder per class (ImageNet's validation photos come without), or --set {key}=FOLDER",
        )


def _listed(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_LIST + 1)
    except FileNotFoundError as error:
        raise BadInput("no such list of classes", where=str(path)) from error
    if len(text) > LONGEST_LIST:
        raise BadInput(f"more than {LONGEST_LIST:,} bytes: not a list of classes", where=str(path))
    names = [line.split()[0] for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise BadInput(f"classes are listed twice: {', '.join(twice[:6])}", where=str(path))
    if not names:
        raise BadInput("an empty list of classes", where=str(path))
    return tuple(names)
