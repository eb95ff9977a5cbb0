"""Photos with boxes, as Pascal VOC's and COCO's readers give them, and what both check.

Both read data of others: sizes are bounded, names stay inside the folder, and what is wrong is said with the file and
the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressors.data.photos import SUFFIXES
from compressors.dense.boxes import outside
from compressors.dense.precision import Truth
from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

WIDEST = 1 << 20  # pixels of a side, beyond which a number is none of a photo


@dataclass(frozen=True)
class Boxed:
    """A photo and what is in it, in pixels of the photo."""

    path: Path
    width: int
    height: int
    truth: Truth


@dataclass(frozen=True)
class BoxedSet:
    """Photos with boxes, the names of the classes in the order of their labels, and what is to be said of the data."""

    photos: tuple[Boxed, ...]
    classes: tuple[str, ...]
    where: Path
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thing:
    """A box as a file has it: edges x1, y1, x2, y2 in pixels, and the area of what is in it where the file says."""

    name: str
    box: tuple[float, float, float, float]
    ignored: bool
    area: float | None = None


def names_in(listed: Path, key: str, holds: str) -> list[str]:
    """The names in one of VOC's lists of photos; the mark behind a name of a class's own list is left out.

    Args:
        listed: the list.
        key: the recipe key that names the folder, for errors.
        holds: what is in such a folder, for errors.

    Raises:
        BadInput: no such list (with those that are there), or nothing in it.
    """
    if not listed.is_file():
        there = sorted(path.stem for path in listed.parent.glob("*.txt")) if listed.parent.is_dir() else []
        raise BadInput(
            "no such list of photos",
            where=str(listed),
            detail=(f"lists there: {', '.join(there[:6])}",) if there else (),
            hint=f"--set {key}=FOLDER with {holds} in it",
        )
    lines = listed.read_text(encoding="utf-8", errors="replace").splitlines()
    names = []
    for line in filter(None, map(str.strip, lines)):
        *before, last = line.rsplit(maxsplit=1)
        names.append(before[0] if before and last in ("-1", "0", "1") else line)
    if not names:
        raise BadInput("an empty list of photos", where=str(listed))
    return names


def inside(folder: Path, name: str) -> None:
    """See that a name of somebody else's list stays below a folder.

    Raises:
        BadInput: it does not.
    """
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or "\0" in name or not parts:
        raise BadInput(f"{name[:80]!r} names a photo outside its folder", where=str(folder))


def photo_of(folder: Path, name: str) -> Path:
    """The photo of a name without an ending: .jpg, as VOC's are, or another that can be decoded.

    Raises:
        BadInput: there is none.
    """
    endings = (".jpg", *SUFFIXES)
    for ending in (*endings, *map(str.upper, endings)):
        path = folder / f"{name}{ending}"
        if path.is_file():
            return path
    raise BadInput(
        "a photo of the list is not there",
        where=str(folder / f"{name}.jpg"),
        detail=(f"looked for {', '.join(SUFFIXES)}",),
    )


def sides(width: float, height: float, file: Path, photo: str = "") -> tuple[int, int]:
    """What a file says of a photo's size, as whole pixels.

    Raises:
        BadInput: no photo is like that.
    """
    if not all(1 <= side <= WIDEST and side == int(side) for side in (width, height)):
        detail = (photo,) if photo else ()
        raise BadInput(f"a photo of {width:g} x {height:g} pixels", where=str(file), detail=detail)
    return int(width), int(height)


def truth_of(
    things: Sequence[Thing], classes: Sequence[str], size: tuple[int, int], file: Path, photo: str = ""
) -> Truth:
    """What is in a photo.

    Args:
        things: as the file has them.
        classes: names, in the order of their labels.
        size: the photo's width and height.
        file: for errors.
        photo: which one of the file, for errors.

    Raises:
        BadInput: an unknown class, or a box that reaches out of the photo or has no area.
    """
    width, height = size
    about = f" of {photo}" if photo else ""
    numbers = {name: label for label, name in enumerate(classes)}
    for thing in things:
        if thing.name not in numbers:
            close = did_you_mean(thing.name, classes)
            raise BadInput(
                f"unknown class {thing.name!r}{about}",
                where=str(file),
                detail=(close or f"known: {', '.join(classes[:8])}",),
                hint="give the names of the classes in data.training.classes",
            )
    # A pixel too far is rounding, which COCO's files have everywhere; more is a box of another photo.
    cut = [
        (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
        if min(x1, y1) >= -1 and x2 <= width + 1 and y2 <= height + 1
        else (x1, y1, x2, y2)
        for x1, y1, x2, y2 in (thing.box for thing in things)
    ]
    wrong = outside(cut, width, height)
    if wrong:
        x1, y1, x2, y2 = things[wrong[0]].box
        raise BadInput(
            f"box {wrong[0] + 1}{about} is not inside the photo of {width} x {height}, or has no area",
            where=str(file),
            detail=(f"x {x1:g} to {x2:g}, y {y1:g} to {y2:g}",),
        )
    boxes = np.asarray(cut, np.float32).reshape(-1, 4)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return Truth(
        boxes=boxes,
        labels=np.asarray([numbers[thing.name] for thing in things], np.int64),
        ignored=np.asarray([thing.ignored for thing in things], bool),
        areas=np.asarray(
            [area if thing.area is None else thing.area for thing, area in zip(things, areas, strict=True)], np.float32
        ),
    )
