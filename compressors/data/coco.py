"""COCO's files: ``annotations/instances_SPLIT.json`` beside the folder ``SPLIT`` of photos."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from compressors.data.boxed import Boxed, BoxedSet, Thing, inside, sides, truth_of
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput

LARGEST = 2 << 30  # bytes; COCO's training annotations are 450 MB


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: float
    height: float


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool = 0
    area: float | None = None


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

    Boxes without area are left out and told: the published training split of 2017 has two of them, a line of two
    points each (annotations 918 and 2206849).

    Args:
        folder: holds ``annotations`` and a folder of photos for each split.
        split: such as ``train2017``.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: something is missing, or the file is not what COCO's are.
    """
    file = folder / "annotations" / f"instances_{split}.json"
    whole = _instances(file, split, key)
    numbers = {category.id: category.name for category in sorted(whole.categories, key=lambda each: each.id)}
    things: dict[int, list[Thing]] = {image.id: [] for image in whole.images}
    empty = []
    for index, one in enumerate(whole.annotations):
        if one.image_id not in things or one.category_id not in numbers:
            what = f"image {one.image_id}" if one.image_id not in things else f"category {one.category_id}"
            raise BadInput(f"annotation {index} is of {what}, which is not there", where=str(file))
        x, y, width, height = one.bbox
        if min(width, height) == 0:
            empty.append(one)
            continue
        box = (x, y, x + width, y + height)
        things[one.image_id].append(Thing(numbers[one.category_id], box, bool(one.iscrowd), one.area))
    classes = tuple(numbers.values())
    photos = []
    for image in whole.images:
        inside(folder, image.file_name)
        size = sides(image.width, image.height, file, image.file_name)
        truth = truth_of(things[image.id], classes, size, file, image.file_name)
        photos.append(Boxed(folder / split / image.file_name, *size, truth))
    _all_there(photos, split, key)
    remarks = [f"{len(empty)} of {len(whole.annotations):,} boxes have no area and are left out"] if empty else []
    return BoxedSet(tuple(photos), classes, folder, tuple(remarks))


def _instances(file: Path, split: str, key: str) -> _Instances:
    if not file.is_file():
        there = sorted(path.stem.removeprefix("instances_") for path in file.parent.glob("instances_*.json"))
        raise BadInput(
            "no such annotations",
            where=str(file),
            detail=(f"splits there: {', '.join(there[:6])}",) if there else (),
            hint=f"--set {key}=FOLDER with annotations and {split} in it",
        )
    if file.stat().st_size > LARGEST:
        raise BadInput(f"more than {LARGEST:,} bytes of annotations", where=str(file))
    try:
        whole = msgspec.json.decode(file.read_bytes(), type=_Instances)
    except msgspec.MsgspecError as error:
        raise BadInput(f"not annotations of COCO: {error}", where=str(file)) from error
    if not whole.images:
        raise BadInput("annotations of no photo", where=str(file))
    if not whole.categories:
        raise BadInput("annotations without categories", where=str(file))
    named: tuple[tuple[str, Iterable[object]], ...] = (
        ("images have the id", (each.id for each in whole.images)),
        ("categories have the id", (each.id for each in whole.categories)),
        ("categories have the name", (each.name for each in whole.categories)),
    )
    for what, values in named:
        seen: set[object] = set()
        for value in values:
            if value in seen:
                raise BadInput(f"two {what} {value!r}", where=str(file))
            seen.add(value)
    return whole


def _all_there(photos: list[Boxed], split: str, key: str) -> None:
    missing = [photo.path for photo in photos if not photo.path.is_file()]
    if missing:
        raise BadInput(
            f"{len(missing):,} of {len(photos):,} photos of the annotations are not there",
            where=str(missing[0]),
            hint=f"--set {key}=FOLDER with annotations and {split} in it",
        )
