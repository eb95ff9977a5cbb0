"""Photos with boxes: Pascal VOC's folders and COCO's files.

VOC: ``ImageSets/Main/SPLIT.txt``, ``Annotations/NAME.xml``, ``JPEGImages/NAME.jpg``. COCO:
``annotations/instances_SPLIT.json`` and the folder ``SPLIT`` of photos. Both are data of others: sizes are bounded,
names stay inside the folder, and what is wrong is said with the file and the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import msgspec
import numpy as np

from compressors.dense.boxes import outside
from compressors.dense.precision import Truth
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

LARGEST_XML = 4 << 20
LARGEST_JSON = 2 << 30  # COCO's training annotations are 450 MB

# https://host.robots.ox.ac.uk/pascal/VOC/voc2012/#devkit, in the order in which everybody numbers them.
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Boxed:
    """A photo and what is in it, in pixels of the photo."""

    path: Path
    width: int
    height: int
    truth: Truth


@dataclass(frozen=True)
class BoxedSet:
    """Photos with boxes, and the names of the classes in the order of their labels."""

    photos: tuple[Boxed, ...]
    classes: tuple[str, ...]
    where: Path


def open_voc(folder: Path, split: str, classes: Sequence[str], key: str) -> BoxedSet:
    """Photos of a Pascal VOC folder.

    Args:
        folder: holds ``Annotations``, ``ImageSets`` and ``JPEGImages``.
        split: ``train``, ``val``, ``trainval`` or ``test``: a list of names.
        classes: names, in the order of their labels.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: something is missing, or an annotation is not what VOC's are: unknown classes, boxes that reach out
            of the photo or have no area.
    """
    listed = folder / "ImageSets" / "Main" / f"{split}.txt"
    names = [line.split()[0] for line in names_in(listed, key, "Annotations, ImageSets and JPEGImages")]
    return BoxedSet(tuple(_voc_photo(folder, name, classes) for name in names), tuple(classes), folder)


def _voc_photo(folder: Path, name: str, classes: Sequence[str]) -> Boxed:
    inside(folder, name)
    file = folder / "Annotations" / f"{name}.xml"
    try:
        content = file.read_bytes() if file.stat().st_size <= LARGEST_XML else b""
    except FileNotFoundError as error:
        raise BadInput("no annotation for a photo of the list", where=str(file)) from error
    # A document type can define entities that grow without end; VOC's files have none.
    if not content or b"<!DOCTYPE" in content:
        raise BadInput("not an annotation of Pascal VOC", where=str(file))
    try:
        root = Xml.fromstring(content)  # noqa: S314 no entities, checked above
        width, height = (int(_text(root, f"size/{side}")) for side in ("width", "height"))
        rows = [
            (
                _text(item, "name").strip(),
                # VOC counts pixels from 1 and the last one belongs to the box.
                tuple(float(_text(item, f"bndbox/{edge}")) - first for edge, first in EDGES),
                (item.findtext("difficult") or "0").strip() == "1",
            )
            for item in root.iter("object")
        ]
    except (Xml.ParseError, ValueError) as error:
        raise BadInput(f"not an annotation of Pascal VOC: {error}", where=str(file)) from error
    truth = _truth(rows, classes, width, height, file)
    return Boxed(folder / "JPEGImages" / f"{name}.jpg", width, height, truth)


EDGES = (("xmin", 1), ("ymin", 1), ("xmax", 0), ("ymax", 0))


def _text(node: Xml.Element, path: str) -> str:
    found = node.findtext(path)
    if found is None:
        raise ValueError(f"no {path}")
    return found


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


decodable(_Image, _Annotation, _Category, _Instances)


def open_coco(folder: Path, split: str, key: str) -> BoxedSet:
    """Photos of a COCO folder; classes are its categories in the order of their ids, as everybody numbers them.

    Args:
        folder: holds ``annotations`` and a folder of photos for each split.
        split: such as ``train2017``.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: something is missing, or the file is not what COCO's are.
    """
    file = folder / "annotations" / f"instances_{split}.json"
    if not file.is_file():
        there = sorted(path.stem.removeprefix("instances_") for path in file.parent.glob("instances_*.json"))
        raise BadInput(
            "no such annotations",
            where=str(file),
            detail=(f"splits there: {', '.join(there[:6])}",) if there else (),
            hint=f"--set {key}=FOLDER with annotations and {split} in it",
        )
    if file.stat().st_size > LARGEST_JSON:
        raise BadInput(f"more than {LARGEST_JSON:,} bytes of annotations", where=str(file))
    try:
        whole = msgspec.json.decode(file.read_bytes(), type=_Instances)
    except msgspec.MsgspecError as error:
        raise BadInput(f"not annotations of COCO: {error}", where=str(file)) from error
    categories = sorted(whole.categories, key=lambda category: category.id)
    numbers = {category.id: category.name for category in categories}
    rows: dict[int, list[Any]] = {image.id: [] for image in whole.images}
    for index, one in enumerate(whole.annotations):
        if one.image_id not in rows or one.category_id not in numbers:
            what = f"image {one.image_id}" if one.image_id not in rows else f"category {one.category_id}"
            raise BadInput(f"annotation {index} is of {what}, which is not there", where=str(file))
        x, y, width, height = one.bbox
        rows[one.image_id].append((numbers[one.category_id], (x, y, x + width, y + height), bool(one.iscrowd)))
    classes = tuple(category.name for category in categories)
    photos = []
    for image in whole.images:
        inside(folder, image.file_name)
        truth = _truth(rows[image.id], classes, image.width, image.height, file, image.file_name)
        photos.append(Boxed(folder / split / image.file_name, image.width, image.height, truth))
    if not photos:
        raise BadInput("annotations of no photo", where=str(file))
    return BoxedSet(tuple(photos), classes, folder)


def names_in(listed: Path, key: str, holds: str) -> list[str]:
    """The lines of one of VOC's lists of photos, without empty ones.

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
    names = [line.strip() for line in lines if line.strip()]
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


def _truth(rows: Sequence[Any], classes: Sequence[str], width: int, height: int, file: Path, photo: str = "") -> Truth:
    if width < 1 or height < 1:
        raise BadInput(f"a photo of {width} x {height} pixels", where=str(file))
    numbers = {name: label for label, name in enumerate(classes)}
    about = f" of {photo}" if photo else ""
    for name, _, _ in rows:
        if name not in numbers:
            close = did_you_mean(name, classes)
            raise BadInput(
                f"unknown class {name!r}{about}",
                where=str(file),
                detail=(close or f"known: {', '.join(classes[:8])}",),
                hint="give the names of the classes in data.training.classes",
            )
    boxes = [box for _, box, _ in rows]
    # A pixel too far is rounding, which COCO's files have everywhere; more is a box of another photo.
    cut = [
        (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
        if min(x1, y1) >= -1 and x2 <= width + 1 and y2 <= height + 1
        else (x1, y1, x2, y2)
        for x1, y1, x2, y2 in boxes
    ]
    wrong = outside(cut, width, height)
    if wrong:
        x1, y1, x2, y2 = boxes[wrong[0]]
        raise BadInput(
            f"box {wrong[0] + 1}{about} is not inside the photo of {width} x {height}, or has no area",
            where=str(file),
            detail=(f"x {x1:g} to {x2:g}, y {y1:g} to {y2:g}",),
        )
    return Truth(
        boxes=np.asarray(cut, np.float32).reshape(-1, 4),
        labels=np.asarray([numbers[name] for name, _, _ in rows], np.int64),
        ignored=np.asarray([ignored for _, _, ignored in rows], bool),
    )
