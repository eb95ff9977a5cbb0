"""Photos with masks: Cityscapes' folders and Pascal VOC's.

Cityscapes: ``leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png`` beside ``gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png``.
Pascal: ``ImageSets/Segmentation/SPLIT.txt``, ``JPEGImages/NAME.jpg``, ``SegmentationClass/NAME.png``; 255 is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compressors.data.boxed import inside, names_in, photo_of
from compressors.data.dense import MaskedPhotos
from compressors.data.scenes import BACKGROUND
from compressors.data.voc import VOC_CLASSES
from compressors.dense.masks import IGNORED
from pocketzoo.errors import BadInput

# Those that are evaluated, in the order of their training numbers, and the label each has in the files; the other
# labels are ignored. https://github.com/mcordts/cityscapesScripts, helpers/labels.py.
CITYSCAPES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
LAST_LABEL = 33
PASCAL = (BACKGROUND, *VOC_CLASSES)


def open_cityscapes(folder: Path, split: str, key: str) -> MaskedPhotos:
    """Photos of a Cityscapes folder with the 19 classes that are evaluated.

    Args:
        folder: holds ``leftImg8bit`` and ``gtFine``.
        split: ``train``, ``val``.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: a missing folder, or a photo without its mask.
    """
    inside(folder, split)
    photos, masks = folder / "leftImg8bit" / split, folder / "gtFine" / split
    for wanted in (photos, masks):
        if not wanted.is_dir():
            raise BadInput(
                "no such folder of a Cityscapes split",
                where=str(wanted),
                hint=f"--set {key}=FOLDER with leftImg8bit/{split} and gtFine/{split} in it",
            )
    ending = "_leftImg8bit.png"
    pairs = []
    for photo in sorted(photos.glob(f"*/*{ending}"), key=lambda path: path.relative_to(photos).as_posix()):
        mask = masks / photo.parent.name / f"{photo.name.removesuffix(ending)}_gtFine_labelIds.png"
        if not mask.is_file():
            raise BadInput("no mask for a photo", where=str(mask))
        pairs.append((photo, mask))
    if not pairs:
        raise BadInput(f"no photo CITY/*{ending} in the split", where=str(photos))
    numbers = {label: index for index, label in enumerate(CITYSCAPES.values())}
    meaning = [numbers.get(label, IGNORED if label <= LAST_LABEL else -1) for label in range(256)]
    meaning[IGNORED] = IGNORED  # -1 in the documentation: the licence plate, which is not painted
    return MaskedPhotos(tuple(pairs), tuple(CITYSCAPES), tuple(meaning), folder)


def open_pascal(folder: Path, split: str, classes: Sequence[str], key: str) -> MaskedPhotos:
    """Photos of a folder as Pascal VOC keeps its masks.

    Args:
        folder: holds ``ImageSets/Segmentation``, ``JPEGImages`` and ``SegmentationClass``.
        split: ``train``, ``val``: a list of names.
        classes: what the masks' values from 0 on mean.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: something is missing, or a name leads out of the folder.
    """
    inside(folder, split)
    listed = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    pairs = []
    for name in names_in(listed, key, "ImageSets/Segmentation, JPEGImages and SegmentationClass"):
        inside(folder, name)
        photo, mask = photo_of(folder / "JPEGImages", name), folder / "SegmentationClass" / f"{name}.png"
        if not mask.is_file():
            raise BadInput("no mask for a photo", where=str(mask))
        pairs.append((photo, mask))
    meaning = [number if number < len(classes) else -1 for number in range(256)]
    meaning[IGNORED] = IGNORED
    return MaskedPhotos(tuple(pairs), tuple(classes), tuple(meaning), folder)
