"""Small folders of photos with boxes and masks, as Pascal VOC, COCO and Cityscapes keep them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

THING = "square"


def drawn(random: np.random.Generator, size: tuple[int, int]) -> tuple[Image.Image, Image.Image, tuple[int, ...]]:
    """A dim photo of (width, height) with a bright square on it; its mask of 0 and 1; its box."""
    width, height = size
    dim = Image.fromarray(random.integers(0, 90, (4, 4, 3)).astype(np.uint8))
    pixels = np.array(dim.resize(size, Image.Resampling.BICUBIC))
    side = int(random.integers(round(0.35 * min(size)), round(0.5 * min(size)) + 1))
    left, top = int(random.integers(0, width - side + 1)), int(random.integers(0, height - side + 1))
    pixels[top : top + side, left : left + side] = random.integers(170, 256, 3)
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return Image.fromarray(pixels), Image.fromarray(mask), (left, top, left + side, top + side)


def pascal(folder: Path, count: int, size: tuple[int, int] = (64, 64), test: int = 16) -> Path:
    """Boxes and masks of ``count`` photos to learn from and ``test`` to judge by, of one class, in Pascal's layout."""
    random = np.random.default_rng(11)
    for name in ("Annotations", "ImageSets/Main", "ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    names = [f"photo_{index:03d}" for index in range(count + test)]
    for name in names:
        photo, mask, (x1, y1, x2, y2) = drawn(random, size)
        photo.save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        mask.save(folder / "SegmentationClass" / f"{name}.png")
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size><object><name>{THING}</name>"
            f"<difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
            f"<ymax>{y2}</ymax></bndbox></object></annotation>"
        )
    for kind, train, judging in (("Main", "trainval", "test"), ("Segmentation", "train", "val")):
        (folder / "ImageSets" / kind / f"{train}.txt").write_text("\n".join(names[:count]) + "\n")
        (folder / "ImageSets" / kind / f"{judging}.txt").write_text("\n".join(names[count:]) + "\n")
    return folder


def coco(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> Path:
    """``count`` photos of split ``train2017`` in COCO's layout; the second has nothing on it."""
    random = np.random.default_rng(12)
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    images, annotations = [], []
    for index in range(count):
        photo, _, (x1, y1, x2, y2) = drawn(random, size)
        photo.save(folder / "train2017" / f"{index}.jpg")
        images.append({"id": index + 1, "file_name": f"{index}.jpg", "width": size[0], "height": size[1]})
        if index != 1:
            annotations.append(
                {"image_id": index + 1, "category_id": 7, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            )
    document = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": THING}]}
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps(document))
    return folder


def cityscapes(folder: Path, count: int, size: tuple[int, int] = (96, 48)) -> Path:
    """``count`` photos of split ``train``: cars (26) on road (7), and a border that is ignored (3)."""
    random = np.random.default_rng(13)
    for part in ("leftImg8bit", "gtFine"):
        (folder / part / "train" / "aachen").mkdir(parents=True)
    for index in range(count):
        photo, mask, _ = drawn(random, size)
        labels = np.where(np.asarray(mask) == 1, 26, 7).astype(np.uint8)
        labels[:2] = 3
        name = f"aachen_{index:06d}_000019"
        photo.save(folder / "leftImg8bit" / "train" / "aachen" / f"{name}_leftImg8bit.png")
        Image.fromarray(labels).save(folder / "gtFine" / "train" / "aachen" / f"{name}_gtFine_labelIds.png")
    return folder
