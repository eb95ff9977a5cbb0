"""Batches: in an order, augmented and normalised as (seed, epoch, image) say and nothing else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from compressors.data.batches import Augmentation, Batch, Loader
from compressors.data.dataset import Arrays, Photos, drawn
from compressors.data.preprocessing import centre, dataset_samples
from compressors.data.sources import open_dataset
from pocketzoo.errors import BadInput
from tests.compressors.small_sets import images, labels, write_folders
from zoo.artifact import Preprocessing

GREY = Preprocessing(resize=None, crop=28, mean=(0.3,), std=(0.25,))
COLOUR = Preprocessing(resize=24, crop=20, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
SHIFTED = Augmentation("crop-flip", padding=3)
CROPPED = Augmentation("random-resized-crop", scale=(0.3, 1.0))


@pytest.fixture
def grey() -> Arrays:
    return Arrays(images(50)[..., np.newaxis], labels(50).astype(np.int64), tuple("0123456789"), Path("there"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    found = open_dataset("imagenet", write_folders(tmp_path_factory.mktemp("photos")), "train")
    assert isinstance(found, Photos)
    return found


def by_index(batches: list[Batch]) -> dict[int, bytes]:
    return {int(i): x.tobytes() for b in batches for i, x in zip(b.indices, b.images, strict=True)}


def test_without_augmentation_a_batch_is_what_evaluation_sees(grey: Arrays, photos: Photos) -> None:
    for dataset, how in ((grey, GREY), (photos, COLOUR), (grey, COLOUR), (photos, GREY)):
        whole = np.concatenate([batch.images for batch in Loader(dataset, how, 7).epoch(0)])
        assert whole.shape == (len(dataset.labels), how.crop, how.crop, how.channels)
        for image, expected in zip(whole, dataset_samples(dataset, how), strict=True):
            assert np.array_equal(image, expected[0])


@pytest.mark.parametrize("crop", [20, 21, 28, 31, 32])
def test_small_images_are_cut_or_padded_like_photos(grey: Arrays, crop: int) -> None:
    how = Preprocessing(resize=None, crop=crop, mean=(0.3,), std=(0.25,))
    (batch,) = Loader(drawn(grey, 10, 0), how, 10).epoch(0)
    for index, image in zip(batch.indices, batch.images, strict=True):
        assert np.array_equal(image, centre(grey.get(int(index)), how)[0])


@pytest.mark.parametrize("augmentation", [SHIFTED, CROPPED])
def test_an_image_is_varied_by_seed_epoch_and_its_place_alone(
    grey: Arrays, photos: Photos, augmentation: Augmentation
) -> None:
    for dataset, how in ((grey, GREY), (photos, COLOUR)):

        def seen(epoch: int = 3, batch: int = 4, seed: int = 1, threads: int = 0, start: int = 0,
                 part: bool = False) -> dict[int, bytes]:  # fmt: skip
            source = drawn(dataset, 9, 0) if part else dataset  # noqa: B023
            loader = Loader(source, how, batch, seed, augmentation, shuffle=True, threads=threads)  # noqa: B023
            return by_index(list(loader.epoch(epoch, start)))

        first = seen()
        assert len(first) == len(dataset.labels)
        assert first == seen(batch=5, threads=1)
        assert seen(part=True).items() <= first.items()
        assert 0 < len(seen(start=2)) == len(first) - 8
        assert seen(start=2).items() <= first.items()
        assert first != seen(epoch=4)
        assert first != seen(seed=2)


def test_processes_together_see_what_one_would(grey: Arrays) -> None:
    alone = Loader(grey, GREY, 8, 5, SHIFTED, shuffle=True, drop_last=True)
    both = [Loader(grey, GREY, 4, 5, SHIFTED, shuffle=True, drop_last=True, process=p, processes=2) for p in range(2)]
    assert [len(loader) for loader in (alone, *both)] == [6, 6, 6]
    for whole, *halves in zip(alone.epoch(2), *(loader.epoch(2) for loader in both), strict=True):
        assert np.array_equal(whole.images, np.concatenate([half.images for half in halves]))
        assert np.array_equal(whole.labels, np.concatenate([half.labels for half in halves]))
    with pytest.raises(ValueError, match="drop_last"):
        Loader(grey, GREY, 4, processes=2)
    with pytest.raises(ValueError, match="process 2 of 2"):
        Loader(grey, GREY, 4, drop_last=True, process=2, processes=2)


def test_orders_differ_by_epoch_and_lose_nothing(grey: Arrays) -> None:
    loader = Loader(grey, GREY, 16, 5, shuffle=True)
    orders = [np.concatenate([batch.indices for batch in loader.epoch(epoch)]) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert not any(np.array_equal(a, b) for a, b in pairwise(orders))
    assert [len(batch.labels) for batch in loader.epoch(0)] == [16, 16, 16, 2]
    assert len(loader) == 4
    assert [len(b.labels) for b in Loader(grey, GREY, 16, drop_last=True).epoch(0)] == [16, 16, 16]
    assert all((b.labels == grey.labels[b.indices]).all() for b in loader.epoch(1))


def test_shifts_move_whole_images_and_mirror_half_of_them(grey: Arrays) -> None:
    """Each augmented image is one of the (2 x 3 + 1)^2 x 2 that padding, cutting and mirroring can give."""
    plain = Preprocessing(resize=None, crop=28, mean=(0.0,), std=(1.0,))
    flips, places = 0, set()
    for epoch in range(4):
        for batch in Loader(grey, plain, 50, 1, SHIFTED).epoch(epoch):
            for index, image in zip(batch.indices, batch.images, strict=True):
                bordered = np.pad(grey.get(int(index))[..., 0], 3).astype(np.float32) / np.float32(255)
                found = [
                    (top, left, flip)
                    for top in range(7)
                    for left in range(7)
                    for flip in (False, True)
                    if np.array_equal(
                        image[..., 0], bordered[top : top + 28, left : left + 28][:, :: -1 if flip else 1]
                    )
                ]
                assert len(found) == 1
                places.add(found[0][:2])
                flips += found[0][2]
    assert 60 < flips < 140  # of 200
    assert len(places) > 40  # of 49
    never = Augmentation("crop-flip", padding=0, flip=False)
    (batch,) = Loader(grey, plain, 50, 1, never).epoch(0)
    assert np.array_equal(batch.images[..., 0], grey.images[..., 0].astype(np.float32) / np.float32(255))


def test_a_broken_photo_stops_the_epoch_and_is_named(tmp_path: Path) -> None:
    folder = write_folders(tmp_path)
    (folder / "train" / "cat" / "1.JPEG").write_bytes(b"no photo")
    with pytest.raises(BadInput) as caught:
        list(Loader(open_dataset("imagenet", folder, "train"), COLOUR, 4).epoch(0))
    assert caught.value.where == str(folder / "train" / "cat" / "1.JPEG")


def test_an_epoch_can_be_left_in_the_middle(photos: Photos) -> None:
    epoch = Loader(photos, COLOUR, 2, augmentation=CROPPED).epoch(0)
    next(epoch)
    epoch.close()  # type: ignore[attr-defined]
    assert list(epoch) == []
