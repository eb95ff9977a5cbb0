"""Photos: found, labelled, decoded, and turned into what torchvision's transforms give."""

from __future__ import annotations

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressors.data.photos import fingerprint, labelled_photos, list_photos, open_photo
from compressors.data.preprocessing import calibration_samples, centre, random_crop
from pocketzoo.errors import BadInput
from tests.compressors.conftest import save_photo
from zoo.artifact import Preprocessing

PLAIN = Preprocessing(resize=None, crop=4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
IMAGENET = Preprocessing(resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_photos_are_listed_by_name_whatever_their_folder_or_case(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.jpeg", ".hidden/d.png", ".e.png"):
        save_photo(tmp_path / name.replace("JPG", "jpg"), 1)
    (tmp_path / "b.jpg").rename(tmp_path / "b.JPG")
    (tmp_path / "notes.txt").write_text("no photo")
    assert [p.relative_to(tmp_path).as_posix() for p in list_photos(tmp_path, "k")] == ["a.png", "b.JPG", "sub/c.jpeg"]


def test_labels_come_from_names(tmp_path: Path) -> None:
    for name in ("imagenet_03_990.jpg", "imagenet_15_99.jpg", "cifar10_00_6.jpg"):
        save_photo(tmp_path / name, 1)
    found = labelled_photos(tmp_path, "names", r"^imagenet_\d+_(?P<label>\d+)\.", "data.evaluation")
    assert [(photo.path.name, photo.label) for photo in found] == [
        ("imagenet_03_990.jpg", 990),
        ("imagenet_15_99.jpg", 99),
    ]


def test_labels_come_from_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("cat/1.png", "ant/2.png", "cat/deep/3.png", "bee/4.png"):
        save_photo(tmp_path / name, 1)
    found = labelled_photos(tmp_path, "folders", "", "data.evaluation")
    assert {photo.path.name: photo.label for photo in found} == {"2.png": 0, "4.png": 1, "1.png": 2, "3.png": 2}


def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder") as caught:
        list_photos(tmp_path / "none", "data.calibration.folder")
    assert "--set data.calibration.folder=FOLDER" in caught.value.as_text()
    with pytest.raises(BadInput, match="no photo in the folder"):
        list_photos(tmp_path, "k")
    photo = save_photo(tmp_path / "a.png", 1)
    with pytest.raises(BadInput, match="a file, where a folder"):
        list_photos(photo, "k")
    with pytest.raises(BadInput, match="none of 1 photos") as caught:
        labelled_photos(tmp_path, "names", r"_(?P<label>\d+)\.", "data.evaluation")
    assert "names there: a.png" in caught.value.as_text()
    with pytest.raises(BadInput, match="outside the class folders"):
        labelled_photos(tmp_path, "folders", "", "data.evaluation")


def test_broken_photos_are_told_by_name(tmp_path: Path) -> None:
    good = save_photo(tmp_path / "good.jpg", 1, (200, 200))
    truncated = tmp_path / "cut.jpg"
    truncated.write_bytes(good.read_bytes()[:-500])
    text = tmp_path / "text.png"
    text.write_text("hello")
    png = save_photo(tmp_path / "damaged.png", 1, (200, 200))
    raw = bytearray(png.read_bytes())
    raw[60:400] = bytes(340)
    png.write_bytes(raw)
    for path in (truncated, text, png):
        with pytest.raises(BadInput) as caught:
            open_photo(path)
        assert caught.value.where == str(path)


def test_a_photo_that_would_fill_the_memory_is_refused_by_its_header(tmp_path: Path) -> None:
    for name, side in (("large.png", 9000), ("bomb.png", 60_000)):
        # A header alone says the size; what would follow it is never looked at.
        head = struct.pack(">II5B", side, side, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + head
        (tmp_path / name).write_bytes(
            b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
            + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        )  # fmt: skip
        with pytest.raises(BadInput) as caught:
            open_photo(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)
        assert str(side) in caught.value.as_text() or "decompression bomb" in caught.value.as_text()


def test_several_threads_decode_at_once_and_leave_the_warning_filters_alone(tmp_path: Path) -> None:
    paths = [save_photo(tmp_path / f"{index}.png", index) for index in range(8)]
    Image.new("P", (5, 5), 1).save(tmp_path / "palette.png", transparency=b"\0\1\2")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: open_photo(path).tobytes(), [*paths, tmp_path / "palette.png"] * 4))
    assert warnings.filters == before
    assert found[:8] == [open_photo(path).tobytes() for path in paths]


def test_grey_models_see_grey_photos() -> None:
    how = Preprocessing(resize=None, crop=2, mean=(0.5,), std=(0.5,))
    assert how.channels == 1
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    luma = round(255 * 0.299)
    assert centre(red, how)[0, :, :, 0].tolist() == [[pytest.approx((luma / 255 - 0.5) / 0.5)] * 2] * 2
    grey = np.full((4, 4, 1), 51, np.uint8)
    assert centre(grey, how)[0, 0, 0, 0] == pytest.approx((0.2 - 0.5) / 0.5)
    assert centre(grey, PLAIN).shape == (1, 4, 4, 3)
    with pytest.raises(ValueError, match="1 or 3 numbers"):
        Preprocessing(resize=None, crop=2, mean=(0.5, 0.5), std=(0.5, 0.5))
    with pytest.raises(ValueError, match="1 or 3 numbers"):
        Preprocessing(resize=None, crop=2, mean=(0.5,), std=(0.5, 0.5, 0.5))


def test_grey_and_palette_photos_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (5, 5), 100).save(tmp_path / "grey.png")
    Image.new("P", (5, 5), 1).save(tmp_path / "palette.png")
    Image.new("RGBA", (5, 5), (1, 2, 3, 4)).save(tmp_path / "alpha.png")
    assert {open_photo(path).mode for path in tmp_path.iterdir()} == {"RGB"}


def test_a_fingerprint_is_of_names_and_content_not_of_the_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        save_photo(tmp_path / place / "a.png", 1)
        save_photo(tmp_path / place / "b.png", 2)
    first, second = (fingerprint(tmp_path / p, list_photos(tmp_path / p, "k")) for p in ("one", "two"))
    assert first == second
    save_photo(tmp_path / "two" / "b.png", 3)
    assert fingerprint(tmp_path / "two", list_photos(tmp_path / "two", "k")) != first


@pytest.mark.parametrize(
    ("size", "resized"), [((500, 375), (341, 256)), ((375, 500), (256, 341)), ((300, 300), (256, 256))]
)
def test_the_shorter_side_is_resized_and_the_centre_cut(size: tuple[int, int], resized: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    out = centre(image, IMAGENET)
    assert out.shape == (1, 224, 224, 3)
    assert out.dtype == np.float32
    # torchvision: long side int(256 * long / short), offsets int(round((side - 224) / 2)), then (x / 255 - mean) / std.
    left, top = round((resized[0] - 224) / 2), round((resized[1] - 224) / 2)
    cut = np.asarray(image.resize(resized, Image.Resampling.BILINEAR), np.float64)[top : top + 224, left : left + 224]
    expected = (cut / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    np.testing.assert_allclose(out[0], expected, atol=1e-5)


def test_a_photo_smaller_than_the_crop_is_padded_with_black() -> None:
    out = centre(Image.new("RGB", (2, 4), (255, 255, 255)), PLAIN)
    assert out[0, :, :, 0].tolist() == [[0, 1, 1, 0]] * 4


def test_channels_first_where_the_layout_says_so() -> None:
    how = Preprocessing(resize=None, crop=4, mean=PLAIN.mean, std=PLAIN.std, layout="NCHW")
    assert centre(Image.new("RGB", (6, 4), (255, 0, 0)), how)[0, :, 0, 0].tolist() == [1, 0, 0]


def test_random_crops_have_the_size_and_stay_inside() -> None:
    image = Image.new("RGB", (90, 30), (255, 255, 255))
    random = np.random.default_rng(0)
    for _ in range(50):
        out = random_crop(image, PLAIN, random)
        assert out.shape == (1, 4, 4, 3)
        assert out.min() == 1.0  # no black from outside the photo


def test_calibration_samples_depend_on_the_seed_and_the_photo_alone(plain: Path) -> None:
    photos = list_photos(plain, "k")

    def samples(seed: int, crops: int = 3) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return list(calibration_samples(photos, PLAIN, crops=crops, scale=(0.08, 1.0), seed=seed))

    first = samples(0)
    assert len(first) == 12
    assert all(np.array_equal(a, b) for a, b in zip(first, samples(0), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, samples(1), strict=True))
    assert np.array_equal(first[3], samples(0, crops=1)[1])  # a photo's crops do not depend on the others' number
    assert np.array_equal(samples(0, crops=0)[0], centre(open_photo(photos[0]), PLAIN))
