"""Pascal VOC's folders: ``ImageSets/Main/SPLIT.txt``, ``Annotations/NAME.xml``, ``JPEGImages/NAME.jpg``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from compressors.data.boxed import Boxed, BoxedSet, Thing, inside, names_in, photo_of, sides, truth_of
from pocketzoo.errors import BadInput

LARGEST = 4 << 20  # bytes of an annotation

# https://host.robots.ox.ac.uk/pascal/VOC/voc2012/#devkit, in the order in which everybody numbers them.
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


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
    names = names_in(listed, key, "Annotations, ImageSets and JPEGImages")
    return BoxedSet(tuple(_voc_photo(folder, name, classes) for name in names), tuple(classes), folder)


def _voc_photo(folder: Path, name: str, classes: Sequence[str]) -> Boxed:
    inside(folder, name)
    file = folder / "Annotations" / f"{name}.xml"
    try:
        content = file.read_bytes() if file.stat().st_size <= LARGEST else b""
    except FileNotFoundError as error:
        raise BadInput("no annotation for a photo of the list", where=str(file)) from error
    # A document type can define entities that grow without end; VOC's files have none.
    if not content or b"<!DOCTYPE" in content:
        raise BadInput("not an annotation of Pascal VOC", where=str(file))
    try:
        root = Xml.fromstring(content)  # noqa: S314 no entities, checked above
        width, height = (float(_text(root, f"size/{side}")) for side in ("width", "height"))
        things = [
            Thing(_text(item, "name").strip(), _box(item), (item.findtext("difficult") or "0").strip() == "1")
            for item in root.iter("object")
        ]
    except (Xml.ParseError, ValueError, LookupError) as error:
        raise BadInput(f"not an annotation of Pascal VOC: {error}", where=str(file)) from error
    size = sides(width, height, file)
    return Boxed(photo_of(folder / "JPEGImages", name), *size, truth_of(things, classes, size, file))


def _box(item: Xml.Element) -> tuple[float, float, float, float]:
    """VOC counts pixels from 1 and the last one belongs to the box."""
    x1, y1, x2, y2 = (float(_text(item, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax"))
    return x1 - 1, y1 - 1, x2, y2


def _text(node: Xml.Element, path: str) -> str:
    found = node.findtext(path)
    if found is None:
        raise ValueError(f"no {path}")
    return found
