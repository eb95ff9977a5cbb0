"""Data sets: read as published, and every way a folder can be wrong."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.data.dataset import Arrays, Photos, check_classes, drawn, hold_out, whole_of
from compressors.data.idx import read_idx
from compressors.data.sources import Kind, open_dataset
from pocketzoo.errors import BadInput
from tests.compressors.conftest import save_photo
from tests.compressors.small_sets import (
    FASHION,
    cifar_records,
    idx,
    images,
    labels,
    needs_fashion,
    write_cifar10,
    write_cifar100,
    write_folders,
    write_idx,
)

WIDTH = 28


def gzipped(data: bytes) -> bytes:
    """Without the time: a test has the same name in every process that runs tests."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dot", ["-", "."])
def test_idx_is_read_packed_or_not(tmp_path: Path, packed: bool, dot: str) -> None:
    write_idx(tmp_path, packed=packed, dot=dot)
    for split, count, seed in (("train", 40, 0), ("test", 20, 1)):
        found = open_dataset("fashion-mnist", tmp_path, split)  # type: ignore[arg-type]
        assert isinstance(found, Arrays)
        assert found.images.shape == (count, WIDTH, WIDTH, 1)
        assert np.array_equal(found.images[..., 0], images(count, seed))
        assert found.labels.tolist() == labels(count).tolist()
        assert (found.classes[0], found.classes[9]) == ("T-shirt/top", "Ankle boot")
        assert found.get(3).shape == (WIDTH, WIDTH, 1)
    write_idx(tmp_path / "other", packed=not packed)
    assert open_dataset("mnist", tmp_path / "other", "test").identity == found.identity
    assert open_dataset("idx", tmp_path, "train").classes == tuple("0123456789")


@needs_fashion
def test_fashion_mnist_itself() -> None:
    found = open_dataset("fashion-mnist", FASHION, "test")
    assert isinstance(found, Arrays)
    assert np.bincount(found.labels).tolist() == [1000] * 10
    assert found.images[0, 20, 20:].ravel().tolist() == found.get(0)[20, 20:].ravel().tolist()
    assert round(float(found.images[:].mean()), 1) == 73.1
    assert [found.classes[label] for label in found.labels[:3]] == ["Ankle boot", "Pullover", "Trouser"]


@given(st.binary(max_size=64))
def test_bytes_that_are_no_idx_file_are_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("idx") / "x"
    for name, content in (("x", data), ("x.gz", data), ("y.gz", gzip.compress(data, 1))):
        path = path.with_name(name)
        path.write_bytes(content)
        try:
            found = read_idx(path)
        except BadInput as error:
            assert error.where == str(path)
        else:  # the few that are one
            assert data[:3] == b"\0\0\x08"
            assert found.nbytes == len(data) - 4 - 4 * data[3]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("i", idx(images(3))[:-1], "truncated or damaged: the header says 3 x 28 x 28 = 2,352 bytes, 2,351 are there"),
        ("i.gz", gzipped(idx(images(3))[:-1]), "2,351 are there"),
        ("i.gz", gzipped(idx(images(3)) + b"!"), "the file does not hold that"),
        ("i.gz", gzipped(idx(images(3)))[:-20], "truncated gzip"),
        ("i.gz", gzipped(idx(images(3)))[:-6] + b"123456", "damaged gzip"),
        ("i", idx(images(3), 13), "elements of type 0x0d"),
        ("i", b"\0\0\x08\x05" + b"\0\0\0\1" * 5 + b"!", "5 dimensions"),
        # Headers that claim far more than the file can hold: refused before memory is taken.
        ("i", b"\0\0\x08\x03" + b"\xff" * 12, "at most 4,294,967,296 are read"),
        ("i.gz", gzipped(b"\0\0\x08\x03" + struct.pack(">3I", 1 << 20, 60, 60)), "does not hold that"),
    ],
)
def test_idx_files_that_are_damaged(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=said) as caught:
        read_idx(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train-labels-idx1-ubyte": idx(labels(39))}, "40 images, but labels of shape"),
        ({"train-labels-idx1-ubyte": idx(labels(40) + 1)}, "image 9 has label 10, but there are 10 classes"),
        ({"train-labels-idx1-ubyte": idx(labels(40) * 0)}, "too few classes"),
        ({"train-images-idx3-ubyte": idx(labels(40))}, "not \\(N, height, width"),
        ({"train-images-idx3-ubyte": idx(images(0)), "train-labels-idx1-ubyte": idx(labels(0))}, "no images"),
        ({"train-labels-idx1-ubyte": None}, "no train-labels-idx1-ubyte"),
    ],
)
def test_idx_files_that_do_not_fit_each_other(tmp_path: Path, change: dict[str, bytes | None], said: str) -> None:
    write_idx(tmp_path, packed=False)
    for name, content in change.items():
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=said):
        open_dataset("fashion-mnist", tmp_path, "train", key="data.training.folder")


def test_cifar_planes_become_pixels(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    train, test = (open_dataset("cifar10", tmp_path, split) for split in ("train", "test"))  # type: ignore[arg-type]
    assert (len(train.labels), len(test.labels)) == (50, 10)
    record = np.frombuffer(cifar_records(10, 1, 5), np.uint8).reshape(10, 3073)[7]
    assert test.get(7).shape == (32, 32, 3)
    assert test.get(7)[2, 5].tolist() == [record[1 + 1024 * c + 2 * 32 + 5] for c in range(3)]
    assert int(test.labels[7]) == record[0] == 7
    assert test.classes[7] == "class 7"


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    found = open_dataset("cifar100", write_cifar100(tmp_path), "test")
    assert len(found.classes) == 100
    assert found.labels.tolist() == list(range(100))
    (tmp_path / "fine_label_names.txt").write_text("apple\n")
    with pytest.raises(BadInput, match="1 class names, cifar100 has 100"):
        open_dataset("cifar100", tmp_path, "test")


def test_cifars_pickled_version_is_refused_with_the_name_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match="a pickle, which can run any code") as caught:
        open_dataset("cifar10", tmp_path, "train")
    assert "cifar-10-binary.tar.gz" in caught.value.as_text()
    (tmp_path / "data_batch_1").unlink()
    (tmp_path / "meta").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match="meta is CIFAR's Python version") as caught:
        open_dataset("cifar100", tmp_path, "test")
    assert "cifar-100-binary.tar.gz" in caught.value.as_text()


def test_cifar_in_an_archive_or_one_folder_down_is_pointed_at(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-bin")
    with pytest.raises(BadInput, match=r"no data_batch_1\.bin") as caught:
        open_dataset("cifar10", tmp_path, "train", key="k")
    assert f"--set k={tmp_path / 'cifar-10-batches-bin'}" in caught.value.as_text()
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    with pytest.raises(BadInput) as caught:
        open_dataset("cifar10", tmp_path, "train", key="k")
    assert "tar -xzf cifar-10-binary.tar.gz" in caught.value.as_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (cifar_records(3, 1)[:-1], "9,218 bytes are 2 records of 3073 bytes and 3072 more"),
        (b"", "an empty file"),
        (b"\x0b" + bytes(3072), "image 0 has label 11"),
    ],
)
def test_cifar_files_that_are_damaged(tmp_path: Path, content: bytes, said: str) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(BadInput, match=said) as caught:
        open_dataset("cifar10", tmp_path, "train")
    assert "data_batch_3.bin" in caught.value.as_text()
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(BadInput, match=r"no data_batch_3\.bin in the folder"):
        open_dataset("cifar10", tmp_path, "train")


def test_folders_are_classes_in_the_order_of_the_training_split(tmp_path: Path) -> None:
    write_folders(tmp_path)
    train = open_dataset("imagenet", tmp_path, "train")
    assert isinstance(train, Photos)
    assert train.classes == ("ant", "bee", "cat")
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert train.get(1).shape == (36, 41, 3)
    # A validation split that lacks a class keeps the others' numbers.
    for path in (tmp_path / "val" / "bee").iterdir():
        path.unlink()
    (tmp_path / "val" / "bee").rmdir()
    assert open_dataset("imagenet", tmp_path, "test").labels.tolist() == [0] * 4 + [2] * 4


def test_a_list_of_classes_gives_their_order(tmp_path: Path) -> None:
    write_folders(tmp_path / "data")
    listed = tmp_path / "synsets.txt"
    listed.write_text("cat felis\nant insect\nbee\n\n")
    found = open_dataset("imagenet", tmp_path / "data", "test", class_list=listed)
    assert found.classes == ("cat", "ant", "bee")
    assert found.labels.tolist() == [1] * 4 + [2] * 4 + [0] * 4
    listed.write_text("cat\nant\nbee\nbee\n")
    with pytest.raises(BadInput, match="listed twice: bee"):
        open_dataset("imagenet", tmp_path / "data", "test", class_list=listed)
    listed.write_text("cat\nbee\n")
    with pytest.raises(BadInput, match="1 class folders are not among the 2 classes"):
        open_dataset("imagenet", tmp_path / "data", "test", class_list=listed)
    listed.write_text("cat\nant\nbee\ndog\n")
    with pytest.raises(BadInput, match="too few classes: 3 folders, 4 in the list") as caught:
        open_dataset("imagenet", tmp_path / "data", "train", class_list=listed)
    assert "without a folder: dog" in caught.value.as_text()


def test_folders_that_are_wrong(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / "val" / "dog").mkdir()
    with pytest.raises(BadInput, match=r"1 class folders are not among the 3 classes of .*train") as caught:
        open_dataset("imagenet", tmp_path, "test")
    assert "not known: dog" in caught.value.as_text()
    (tmp_path / "train" / "dog").mkdir()
    with pytest.raises(BadInput, match="no photo in the folder of a class") as caught:
        open_dataset("imagenet", tmp_path, "train")
    assert caught.value.where == str(tmp_path / "train" / "dog")
    save_photo(tmp_path / "val" / "loose.jpg", 1)
    with pytest.raises(BadInput, match=r"1 photos lie outside the class folders, loose\.jpg for one"):
        open_dataset("imagenet", tmp_path, "test")
    (tmp_path / "lone" / "train").mkdir(parents=True)
    with pytest.raises(BadInput, match="no folder 'val' for the split") as caught:
        open_dataset("imagenet", tmp_path / "lone", "test")
    assert "folders there: train" in caught.value.as_text()
    for index in range(2):
        save_photo(tmp_path / "lone" / "train" / "only" / f"{index}.png", index)
    with pytest.raises(BadInput, match="too few classes: all 2 images are of class 'only'"):
        open_dataset("imagenet", tmp_path / "lone", "train")


@pytest.mark.parametrize("kind", ["imagenet", "cifar10", "fashion-mnist"])
def test_folders_that_are_missing_or_empty(tmp_path: Path, kind: Kind) -> None:
    for folder, said in ((tmp_path / "none", "no such folder"), (tmp_path, "an empty folder")):
        with pytest.raises(BadInput, match=said) as caught:
            open_dataset(kind, folder, "train", key="data.training.folder")
        assert "--set data.training.folder=FOLDER" in caught.value.as_text()
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="a file, where a folder is expected"):
        open_dataset(kind, tmp_path / "file", "train")


def test_a_broken_photo_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_folders(tmp_path)
    broken = tmp_path / "train" / "bee" / "2.JPEG"
    broken.write_bytes(broken.read_bytes()[:200])
    found = open_dataset("image-folder", tmp_path, "train")
    with pytest.raises(BadInput) as caught:
        found.get(6)
    assert caught.value.where == str(broken)


def test_identities_are_of_content_not_of_place(tmp_path: Path) -> None:
    first, second = (open_dataset("imagenet", write_folders(tmp_path / n), "train") for n in "ab")
    assert first.identity == second.identity
    assert first.identity.startswith("sha256:")
    save_photo(tmp_path / "b" / "train" / "ant" / "0.jpeg", 99).replace(tmp_path / "b" / "train" / "ant" / "0.JPEG")
    assert open_dataset("imagenet", tmp_path / "b", "train").identity != first.identity


def small() -> Arrays:
    return Arrays(images(40)[..., np.newaxis], labels(40).astype(np.int64), tuple("0123456789"), Path("there"))


def test_a_held_out_split_has_every_class_and_depends_on_the_seed_alone() -> None:
    learnt, held = hold_out(small(), 0.25, 7)
    assert np.bincount(held.labels).tolist() == [1] * 10
    assert sorted([*learnt.indices, *held.indices]) == list(range(40))
    assert hold_out(small(), 0.25, 7)[1].indices.tolist() == held.indices.tolist()
    assert hold_out(small(), 0.25, 8)[1].indices.tolist() != held.indices.tolist()
    assert np.array_equal(held.get(3), small().get(int(held.indices[3])))
    assert held.identity != learnt.identity
    # Parts of a part count in the whole.
    some = drawn(learnt, 20, 0)
    assert set(some.indices) <= set(learnt.indices)
    assert np.bincount(some.labels).tolist() == [2] * 10
    again, rest = hold_out(some, 0.5, 0)
    assert whole_of(again)[0] is some.whole
    assert sorted([*again.indices, *rest.indices]) == sorted(some.indices)
    with pytest.raises(BadInput, match="leaves nothing to learn class '0' from: it has 4 images"):
        hold_out(small(), 0.9, 0)
    with pytest.raises(BadInput, match="between 0 and 1"):
        hold_out(small(), 1.0, 0)
    with pytest.raises(BadInput, match="41 images of a set that has 40"):
        drawn(small(), 41, 0)


def test_too_few_and_too_many_classes_for_a_model() -> None:
    check_classes(small(), 10, Path("x"))
    with pytest.raises(BadInput, match="too few classes: the data has 10, the model 100") as caught:
        check_classes(small(), 100, Path("x"))
    assert "--set model.options.classes=10" in caught.value.as_text()
    with pytest.raises(BadInput, match="too many classes"):
        check_classes(small(), 9, Path("x"))


def test_unknown_kinds_are_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        open_dataset("fashion-mnsit", tmp_path, "train")  # type: ignore[arg-type]
    assert "did you mean fashion-mnist" in caught.value.as_text()
    (tmp_path / "x").touch()
    with pytest.raises(BadInput, match="a list of classes is for folders"):
        open_dataset("cifar10", tmp_path, "train", class_list=tmp_path / "x")
