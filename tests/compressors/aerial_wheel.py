"""A wheel like the one that holds the aerial photos, small and made: discs of a colour on noise, and their boxes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

PHOTOS = (
    "2019_YELL_2_528000_4978000_image_crop2", "OSBS_029", "SOAP_061", "2019_YELL_2_541000_4977000_image_crop",
)  # fmt: skip
Box = tuple[int, int, int, int]


def photo(size: tuple[int, int], seed: int, many: int) -> tuple[Image.Image, list[Box]]:
    """Noise with at most so many discs that do not touch, and the box of each: edges of pixels."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(60, 140, (size[1], size[0], 3)).astype(np.uint8))
    boxes: list[Box] = []
    for _ in range(many):
        side = int(random.integers(24, 44))
        x, y = (int(random.integers(0, length - side + 1)) for length in size)
        box = (x, y, x + side, y + side)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
            continue
        ImageDraw.Draw(image).ellipse((x, y, x + side - 1, y + side - 1), fill=(20, 230, 40))
        boxes.append(box)
    return image, boxes


def listed(boxes: list[Box], size: tuple[int, int], name: str = "Tree") -> str:
    """Boxes as the package has them: pixels counted from 1."""
    items = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for x1, y1, x2, y2 in boxes
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{items}</annotation>"


def made_wheel(
    path: Path, sizes: tuple[tuple[int, int], ...], many: int, replaced: dict[str, bytes | None] | None = None
) -> dict[str, tuple[Image.Image, list[Box]]]:
    """Write the wheel; its photos and boxes. ``replaced``: other contents of files; None leaves one out."""
    made = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for seed, (name, size) in enumerate(zip(PHOTOS, sizes, strict=True)):
            image, boxes = photo(size, seed, many)
            encoded = io.BytesIO()
            image.save(encoded, "PNG")
            label = "Alive" if name == "SOAP_061" else "Tree"
            files = {f"{name}.png": encoded.getvalue(), f"{name}.xml": listed(boxes, size, label).encode()}
            for file, content in files.items():
                kept = (replaced or {}).get(file, content)
                if kept is not None:
                    archive.writestr(f"deepforest/data/{file}", kept)
            made[name] = (image, boxes)
    return made
