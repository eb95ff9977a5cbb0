"""Images with boxes and masks: moved with their truth, batched, read from folders of others, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from compressors.data.batches import Augmentation, Loader
from compressors.data.dataset import hold_out
from compressors.data.dense import BoxedPhotos, Made, MaskedPhotos, Scenes
from compressors.data.dense_sources import open_scenes
from compressors.data.masked import CITYSCAPES
from compressors.data.moving import stacked, unstacked
from compressors.data.placing import Placement, back, central, mask_placed, placed, truth_placed
from compressors.data.preprocessing import cut_centre
from compressors.data.scenes import ShapeScenes
from compressors.dense.masks import IGNORED
from compressors.dense.precision import Truth
from compressors.inputs import gather
from compressors.recipe import load
from compressors.sections import ScenesSection
from compressors.tasks.segmentation import windows
from pocketzoo.errors import BadInput
from tests.compressors.placed_sets import THING, cityscapes, coco, pascal
from zoo.artifact import Preprocessing

HALF = (0.5, 0.5, 0.5)
PLAIN = ScenesSection()


def how(crop: int, fit: str = "crop", resize: int | None = None) -> Preprocessing:
    return Preprocessing(resize=resize, crop=crop, mean=HALF, std=HALF, fit="stretch" if fit == "stretch" else "crop")


def marked(width: int, height: int, box: tuple[int, int, int, int]) -> tuple[Image.Image, np.ndarray, Truth]:
    """A black photo with one white box, its mask, its truth."""
    mask = np.zeros((height, width), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    photo = Image.fromarray(np.repeat(mask[..., None] * 255, 3, 2))
    return photo, mask, Truth(np.asarray([box], np.float32), np.asarray([0]), np.asarray([False]))


@given(
    st.integers(40, 120), st.integers(40, 120), st.floats(0.6, 2.0), st.floats(0.6, 2.0), st.integers(-30, 30),
    st.integers(-30, 30), st.tuples(st.booleans(), st.booleans(), st.booleans()),
)  # fmt: skip
def test_box_mask_and_photo_move_together(
    width: int, height: int, wide: float, high: float, left: int, top: int, sides: tuple[bool, bool, bool]
) -> None:
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    photo, mask, truth = marked(width, height, box)
    where, size = Placement(wide, high, left, top, *sides), 64
    image = placed(photo, where, how(size))
    moved = mask_placed(mask, where, size)
    there = moved == 1
    found = truth_placed(truth, where, size)
    # The same pixels are white and of the class, but for one at the edges.
    white = image[..., 0] > 127
    inner = there & (np.roll(there, 1, 0) & np.roll(there, -1, 0) & np.roll(there, 1, 1) & np.roll(there, -1, 1))
    assert white[inner].all()
    if not len(found.boxes):
        assert there.sum() <= 2 * size
        return
    x1, y1, x2, y2 = found.boxes[0]
    rows, columns = np.nonzero(there)
    if len(rows):
        assert columns.min() >= x1 - 1.01 and columns.max() + 1 <= x2 + 1.01
        assert rows.min() >= y1 - 1.01 and rows.max() + 1 <= y2 + 1.01
    cut = (x2 - x1) * (y2 - y1) / (wide * high * (box[2] - box[0]) * (box[3] - box[1]))
    assert bool(found.ignored[0]) == (cut < 0.5) or cut == pytest.approx(0.5, abs=1e-3)


@given(st.integers(20, 400), st.integers(20, 400))
def test_answers_come_back_to_the_photo(width: int, height: int) -> None:
    where = central(width, height, how(96, "stretch"))
    truth = Truth(np.asarray([[2, 3, width - 1, height - 4]], np.float32), np.asarray([0]), np.asarray([False]))
    again = back(truth_placed(truth, where, 96).boxes, where, width, height)
    np.testing.assert_allclose(again, truth.boxes, atol=1e-2)


def test_the_middle_is_that_of_a_classifier() -> None:
    pixels = np.asarray(Image.effect_noise((80, 60), 60).convert("RGB"))
    for wanted in (how(48), how(100), how(64, "stretch")):
        where = central(80, 60, wanted)
        assert (placed(Image.fromarray(pixels), where, wanted) == cut_centre(pixels, wanted)).all()
    outside = mask_placed(np.zeros((60, 80), np.uint8), central(80, 60, how(100)), 100)
    assert (outside[:20] == IGNORED).all() and (outside[20:80, 10:90] == 0).all()


def test_a_box_that_is_mostly_gone_counts_neither_way() -> None:
    truth = Truth(
        np.asarray([[0, 0, 20, 20], [0, 0, 40, 40], [60, 60, 80, 80]], np.float32), np.asarray([0, 1, 2]),
        np.asarray([False, False, True]),
    )  # fmt: skip
    found = truth_placed(truth, Placement(1, 1, -15, -5), 64)
    assert found.labels.tolist() == [0, 1, 2]
    assert found.ignored.tolist() == [True, False, True]
    assert truth_placed(truth, Placement(1, 1, -45, -45), 64).labels.tolist() == [2]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_a_batch_of_boxes_can_be_taken_apart(counts: list[int]) -> None:
    random = np.random.default_rng(3)
    truths = [
        Truth(random.random((n, 4)).astype(np.float32), random.integers(0, 9, n), random.random(n) < 0.5)
        for n in counts
    ]
    rows = stacked(truths)
    assert rows.shape == (len(counts), max(1, *counts), 6)
    for one, again in zip(truths, unstacked(rows.astype(np.float32)), strict=True):
        assert (one.boxes == again.boxes).all() and (one.labels == again.labels).all()
        assert (one.ignored == again.ignored).all()


@pytest.fixture(scope="module")
def shapes() -> Made:
    return Made(ShapeScenes(20, 96, seed=4), Path("shapes"))


@pytest.mark.parametrize("kind", ["none", "crop-flip", "crop-turn", "distort-expand-crop"])
def test_a_batch_is_the_same_whatever_was_read_before(shapes: Made, kind: str) -> None:
    training, held_out = hold_out(shapes, 0.25, 0)
    assert len(training.labels) == 15 and len(held_out.labels) == 5
    varied = Augmentation(kind=kind)  # type: ignore[arg-type]
    loader = Loader(training, how(64, "stretch"), 5, seed=7, augmentation=varied, shuffle=True, drop_last=True)
    whole, late = list(loader.epoch(2)), list(loader.epoch(2, start=1))
    assert len(whole) == 3 and len(late) == 2
    for one, again in zip(whole[1:], late, strict=True):
        assert (one.images == again.images).all() and (one.labels == again.labels).all()
    assert whole[0].images.shape == (5, 64, 64, 3) and whole[0].labels.shape[2] == 6
    for batch in whole:
        boxes = batch.labels[batch.labels[..., 4] >= 0]
        assert (boxes[:, :4] >= 0).all() and (boxes[:, :4] <= 64).all()
        assert (boxes[:, 2] > boxes[:, 0]).all() and (boxes[:, 3] > boxes[:, 1]).all()
    other = next(iter(loader.epoch(3)))
    assert (other.images != whole[0].images).any()


def test_colours_are_varied_and_boxes_stay(shapes: Made) -> None:
    plain, varied = (
        Loader(shapes, how(96, "stretch"), 20, augmentation=Augmentation(distort=d)) for d in (False, True)
    )
    (before,), (after,) = list(plain.epoch(0)), list(varied.epoch(0))
    assert (before.labels == after.labels).all()
    changed = (before.images != after.images).any((1, 2, 3))
    assert 10 < changed.sum() <= 20
    # Each of four is changed half of the time: one in sixteen keeps its colours.
    assert abs(before.images - after.images).mean() < 0.5


def test_masks_are_scaled_and_cut_with_their_photos(tmp_path: Path) -> None:
    folder = pascal(tmp_path / "photos", 6, (90, 60), test=2)
    found = open_scenes("pascal", folder, "train", None, classes=["background", THING], scenes=PLAIN, key="data")
    assert isinstance(found, MaskedPhotos) and isinstance(found, Scenes)
    loader = Loader(found, how(64), 3, augmentation=Augmentation("scale-crop-flip"))
    for batch in loader.epoch(0):
        assert batch.labels.shape == (3, 64, 64) and set(np.unique(batch.labels)) <= {0, 1, IGNORED}
        bright = batch.images[..., :].max(3) > 0.25
        thing = batch.labels == 1
        assert thing.any() and bright[thing].mean() > 0.9
        assert bright[batch.labels == 0].mean() < 0.1
        assert (batch.images[batch.labels == IGNORED] < -0.9).mean() > 0.9  # black where no photo is


def test_coco_and_several_years_of_voc(tmp_path: Path) -> None:
    found = open_scenes("coco", coco(tmp_path / "coco", 3), "train", None, classes=None, scenes=PLAIN, key="data")
    assert isinstance(found, BoxedPhotos) and found.classes == (THING,)
    _, empty = found.scene(1)
    assert empty.boxes.shape == (0, 4)
    batch = next(iter(Loader(found, how(64, "stretch"), 3).epoch(0)))
    assert batch.labels[1, 0, 4] == -1  # nothing on the second
    pascal(tmp_path / "kit" / "VOC2007", 4, test=2)
    pascal(tmp_path / "kit" / "VOC2012", 5, test=3)
    both = open_scenes("voc", tmp_path / "kit", "train", None, classes=[THING], scenes=PLAIN, key="data")
    assert len(both.labels) == 9
    (tmp_path / "kit" / "VOC2012" / "ImageSets" / "Main" / "test.txt").unlink()
    judging = open_scenes("voc", tmp_path / "kit", "test", "test", classes=[THING], scenes=PLAIN, key="data")
    assert len(judging.labels) == 2


def test_what_is_said_of_the_data_goes_with_the_artifact(tmp_path: Path) -> None:
    folder = coco(tmp_path / "coco", 12)
    file = folder / "annotations" / "instances_train2017.json"
    document = json.loads(file.read_text())
    document["annotations"].append({"image_id": 1, "category_id": 7, "bbox": [3, 4, 5, 0]})
    file.write_text(json.dumps(document))
    told = {"data.training.folder": folder, "data.training.kind": "coco", "data.evaluation.kind": "coco"}
    told |= {"data.evaluation.split": "train2017", "model.options.classes": 1}
    found = gather(load("mobilenetv1-yolov3-shapes", [f"{key}={value}" for key, value in told.items()]))
    left_out = "1 of 12 boxes have no area and are left out"
    assert found.remarks == (f"training data: {left_out}", f"evaluation data: {left_out}")


def test_cityscapes_labels_become_the_classes_that_count(tmp_path: Path) -> None:
    found = open_scenes("cityscapes", cityscapes(tmp_path, 2), "train", None, classes=None, scenes=PLAIN, key="data")
    assert found.classes == tuple(CITYSCAPES) and len(found.classes) == 19
    photo, mask = found.scene(0)
    assert photo.shape == (48, 96, 3) and isinstance(mask, np.ndarray)
    assert (mask[:2] == IGNORED).all()
    assert set(np.unique(mask)) == {found.classes.index("road"), found.classes.index("car"), IGNORED}
    with pytest.raises(BadInput, match="no such folder of a Cityscapes split"):
        open_scenes("cityscapes", tmp_path, "test", "val", classes=None, scenes=PLAIN, key="data")


def test_data_sets_are_known_by_their_contents(tmp_path: Path) -> None:
    def opened(folder: Path) -> str:
        return open_scenes("voc", folder, "train", None, classes=[THING], scenes=PLAIN, key="data").identity

    first, second = opened(pascal(tmp_path / "a", 3)), opened(pascal(tmp_path / "b", 3))
    assert first == second
    note = next((tmp_path / "b" / "Annotations").iterdir())
    note.write_text(note.read_text().replace("<difficult>0", "<difficult>1"))
    for other in (tmp_path / "b" / "Annotations").iterdir():
        other.write_text(other.read_text().replace("<difficult>0", "<difficult>1"))
    assert opened(tmp_path / "b") != first


def _grey_mask(folder: Path, value: int) -> None:
    path = sorted((folder / "SegmentationClass").iterdir())[0]
    pixels = np.array(Image.open(path))
    pixels[3, 3] = value
    Image.fromarray(pixels).save(path)


def _colour_mask(folder: Path) -> None:
    path = sorted((folder / "SegmentationClass").iterdir())[0]
    Image.open(path).convert("RGB").save(path)


def _other_size(folder: Path) -> None:
    path = sorted((folder / "JPEGImages").iterdir())[0]
    Image.new("RGB", (50, 40)).save(path)


def _damaged(folder: Path) -> None:
    sorted((folder / "SegmentationClass").iterdir())[0].write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)


def _no_photo(folder: Path) -> None:
    sorted((folder / "JPEGImages").iterdir())[0].unlink()


def _empty_photo(folder: Path) -> None:
    sorted((folder / "JPEGImages").iterdir())[0].write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("pascal", lambda folder: _grey_mask(folder, 9), "label 9, which is no class"),
        ("pascal", _colour_mask, "a mask of mode RGB"),
        ("pascal", _other_size, "a mask of 64 x 64 pixels for a photo of 50 x 40"),
        ("pascal", _damaged, "cannot be decoded"),
        ("pascal", _no_photo, "is not there"),
        ("pascal", _empty_photo, "not a photo"),
        ("voc", _no_photo, "a photo of the list is not there"),
        ("voc", _empty_photo, "not a photo"),
        ("voc", _other_size, "a photo of 50 x 40 pixels whose annotation says 64 x 64"),
    ],
)
def test_broken_data_is_refused_with_the_reason(
    tmp_path: Path, kind: str, spoil: Callable[[Path], None], message: str
) -> None:
    folder = pascal(tmp_path / "photos", 2, test=1)
    spoil(folder)
    classes = ["background", THING] if kind == "pascal" else [THING]
    with pytest.raises(BadInput) as caught:
        found = open_scenes(kind, folder, "train", None, classes=classes, scenes=PLAIN, key="data")
        list(Loader(found, how(64), 1).epoch(0))
    assert message in caught.value.what


def test_ignored_pixels_stay_ignored(tmp_path: Path) -> None:
    folder = pascal(tmp_path / "photos", 1, test=1)
    _grey_mask(folder, IGNORED)
    found = open_scenes("pascal", folder, "train", None, classes=["background", THING], scenes=PLAIN, key="data")
    assert found.scene(0)[1][3, 3] == IGNORED  # type: ignore[index]


def test_annotations_of_photos_outside_the_folder_are_refused(tmp_path: Path) -> None:
    folder = coco(tmp_path / "coco", 2)
    file = folder / "annotations" / "instances_train2017.json"
    document = json.loads(file.read_text())
    document["images"][0]["file_name"] = "../../secret.jpg"
    file.write_text(json.dumps(document))
    with pytest.raises(BadInput, match="outside its folder"):
        open_scenes("coco", folder, "train", None, classes=None, scenes=PLAIN, key="data")


@given(st.integers(1, 5000), st.integers(1, 900))
def test_windows_cover_everything_once(length: int, size: int) -> None:
    owned = np.zeros(length, int)
    for start, mine in windows(length, size):
        owned[mine] += 1
        assert start >= 0 and start + size <= max(length, size)
        assert start <= mine.start and mine.stop <= start + size
    assert (owned == 1).all()
