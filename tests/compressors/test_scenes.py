"""Made scenes: the same everywhere, and told exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressors.data.dataset import Arrays
from compressors.data.scenes import BACKGROUND, Backgrounds, ItemScenes, ShapeScenes
from pocketzoo.errors import BadInput


@pytest.fixture(scope="module")
def pictures() -> Arrays:
    """Two classes: a full square and a ring."""
    images = np.zeros((2, 28, 28, 1), np.uint8)
    images[0, 4:24, 4:24] = 200
    images[1, 4:24, 4:24] = 150
    images[1, 10:18, 10:18] = 0
    return Arrays(images, np.asarray([0, 1]), ("square", "ring"), Path("made"))


def test_a_scene_is_the_same_whatever_was_drawn_before() -> None:
    scenes = ShapeScenes(count=5, size=96, seed=3)
    image, truth = scenes.get(4)
    scenes.get(1)
    again, same = ShapeScenes(count=5, size=96, seed=3).get(4)
    assert (image == again).all() and (truth.boxes == same.boxes).all()
    other, _ = ShapeScenes(count=5, size=96, seed=4).get(4)
    assert (image != other).any()
    assert ShapeScenes(count=5, size=96, seed=4).identity != scenes.identity


def test_boxes_touch_what_was_drawn() -> None:
    plain = ShapeScenes(count=40, size=128, seed=1, most=1)
    for index in range(40):
        image, truth = plain.get(index)
        random = np.random.default_rng([1, 2, index])
        before = Backgrounds().get(random, 128)
        rows, columns = np.nonzero((image.astype(int) - before).any(2))
        if not len(rows):
            continue
        x1, y1, x2, y2 = truth.boxes[0]
        # Colours near the background's leave edges unseen, so what changed lies inside; most often it fills the box.
        assert columns.min() >= np.floor(x1) and rows.min() >= np.floor(y1)
        assert columns.max() <= np.ceil(x2) and rows.max() <= np.ceil(y2)
    assert all(len(plain.get(index)[1].labels) == 1 for index in range(40))


def test_shapes_do_not_hide_each_other() -> None:
    scenes = ShapeScenes(count=30, size=160, seed=0, most=6)
    counts = []
    for index in range(30):
        _, truth = scenes.get(index)
        counts.append(len(truth.labels))
        centres = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
        for one in range(len(centres)):
            x1, y1, x2, y2 = truth.boxes[one]
            others = np.delete(centres, one, 0)
            inside = (others[:, 0] > x1) & (others[:, 0] < x2) & (others[:, 1] > y1) & (others[:, 1] < y2)
            assert not inside.any()
    assert max(counts) > 2


def test_the_mask_says_which_picture_a_pixel_is_of(pictures: Arrays) -> None:
    scenes = ItemScenes(pictures, count=20, size=64, seed=0, most=1)
    assert scenes.classes == (BACKGROUND, "square", "ring")
    for index in range(20):
        image, mask = scenes.get(index)
        assert set(np.unique(mask)) in ({0, 1}, {0, 2})
        before = Backgrounds().get(np.random.default_rng([0, 2, index]), 64)
        assert (image[mask == 0] == before[mask == 0]).all()
        if 2 in mask:
            rows, columns = np.nonzero(mask)
            middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
            assert mask[middle] == 0  # the ring's hole shows the background


def test_backgrounds_are_crops_of_the_photos(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (10, 200, 30)).save(tmp_path / "green.png")
    backgrounds = Backgrounds((tmp_path / "green.png",))
    assert (backgrounds.get(np.random.default_rng(0), 32) == (10, 200, 30)).all()
    assert backgrounds.identity != Backgrounds().identity


def test_scenes_of_nothing_are_refused(pictures: Arrays) -> None:
    with pytest.raises(BadInput):
        ShapeScenes(count=0, size=96, seed=0)
    with pytest.raises(BadInput):
        ItemScenes(pictures, count=3, size=20, seed=0)
