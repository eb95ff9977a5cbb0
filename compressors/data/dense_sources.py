"""From a recipe's words to images with boxes or masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from compressors.data.boxed import inside
from compressors.data.coco import open_coco
from compressors.data.dataset import Dataset
from compressors.data.dense import BoxedPhotos, Made, MaskedPhotos
from compressors.data.idx import CLASSES, open_idx
from compressors.data.masked import PASCAL, open_cityscapes, open_pascal
from compressors.data.photos import list_photos
from compressors.data.scenes import Backgrounds, ItemScenes, ShapeScenes
from compressors.data.voc import VOC_CLASSES, open_voc
from compressors.sections import ScenesSection
from pocketzoo.errors import BadInput

Split = Literal["train", "test"]
# What is learnt from where the recipe does not say: all that is not kept for judging.
LEARNT_FROM = {"voc": "trainval", "pascal": "train", "coco": "train2017", "cityscapes": "train"}
# Scenes are the same whatever the recipe's seed is: seeds are compared on the same data.
SEEDS = {"train": 1, "test": 2}
PLACELESS = ("shapes",)  # kinds that need no folder


def open_scenes(
    kind: str,
    folder: Path | None,
    split: Split,
    name: str | None,
    *,
    classes: Sequence[str] | None,
    scenes: ScenesSection,
    key: str,
) -> BoxedPhotos | MaskedPhotos | Made:
    """Open one split.

    Args:
        kind: ``voc``, ``coco``, ``shapes``, ``cityscapes``, ``pascal`` or ``fashion-items``.
        folder: where it is; of ``voc`` also the folder above several years (``VOC2007``, ``VOC2012``), which are read
            as one.
        split: what it is for.
        name: of the list or folder; by default that of :data:`LEARNT_FROM`.
        classes: of ``voc`` and ``pascal`` where they are not Pascal's.
        scenes: how made ones are.
        key: the recipe key of the section, for errors.

    Raises:
        BadInput: whatever is wrong with the folder or its files.
    """
    backgrounds = Backgrounds()
    if kind in ("shapes", "fashion-items") and scenes.backgrounds is not None:
        backgrounds = Backgrounds(tuple(list_photos(Path(scenes.backgrounds), "data.scenes.backgrounds")))
    count = scenes.training if split == "train" else scenes.evaluation
    if kind == "shapes":
        return Made(ShapeScenes(count, scenes.size, SEEDS[split], backgrounds, scenes.most), Path("shapes"))
    if folder is None or not folder.is_dir():
        raise BadInput("no such folder", where=str(folder) if folder else None, hint=f"--set {key}.folder=FOLDER")
    if kind == "fashion-items":
        pictures: Dataset = open_idx(folder, split, CLASSES["fashion-mnist"], f"{key}.folder")
        return Made(ItemScenes(pictures, count, scenes.size, SEEDS[split], backgrounds, scenes.most), folder)
    name = name or LEARNT_FROM[kind]
    inside(folder, name)
    if kind == "coco":
        return BoxedPhotos.of([open_coco(folder, name, f"{key}.folder")], folder)
    if kind == "cityscapes":
        return open_cityscapes(folder, name, f"{key}.folder")
    if kind == "pascal":
        return open_pascal(folder, name, classes or PASCAL, f"{key}.folder")
    years = [folder] if (folder / "ImageSets").is_dir() else sorted(folder.glob("VOC2*"))
    listed = [year for year in years if (year / "ImageSets" / "Main" / f"{name}.txt").is_file()] or [folder]
    return BoxedPhotos.of([open_voc(year, name, classes or VOC_CLASSES, f"{key}.folder") for year in listed], folder)
