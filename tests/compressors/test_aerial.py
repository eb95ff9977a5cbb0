"""Aerial photos out of a package, cut into tiles with their boxes, and learnt from: demo/aerial.py and its recipe."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from compressors import architectures
from compressors.data.batches import Loader
from compressors.data.dense import BoxedPhotos
from compressors.data.voc import open_voc
from compressors.pipeline import compress
from compressors.progress import Silent
from compressors.recipe import load
from compressors.tasks import task_of
from tests.compressors.aerial_wheel import PHOTOS, Box, listed, made_wheel

SCRIPT = Path(__file__).parents[2] / "demo" / "aerial.py"
SHORT = dict(zip(PHOTOS, ("yell-528000", "osbs-029", "soap-061", "yell-541000"), strict=True))


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("aerial", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["aerial"] = module  # its records look for themselves there
    spec.loader.exec_module(module)
    return module


aerial = script()
Prepare = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    def prepare(wheel: Path, *more: str, sha256: str | None = None) -> subprocess.CompletedProcess[str]:
        digest = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
        argv = [sys.executable, str(SCRIPT), str(tmp_path / "aerial"), "--wheel", str(wheel), "--sha256", digest]
        return subprocess.run([*argv, *more], capture_output=True, text=True, check=False)

    return prepare


@given(st.integers(1, 5000), st.integers(32, 600))
def test_pieces_cover_a_length_once(length: int, about: int) -> None:
    found = aerial.spans(length, about)
    assert found[0][0] == 0 and found[-1][1] == length
    assert all(first[1] == second[0] for first, second in itertools.pairwise(found))
    sizes = [end - start for start, end in found]
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= 1.5 * about + 1


@given(st.data(), st.integers(40, 400), st.integers(40, 400), st.integers(32, 150))
def test_the_parts_of_a_box_are_the_box_and_at_most_two_count(
    data: st.DataObject, width: int, height: int, about: int
) -> None:
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (x1, y1, data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height)))
    area, counted = 0, 0
    for _, tile in aerial.tiles((width, height), about):
        part = aerial.cut(box, tile)
        if part is None:
            continue
        (left, top, right, bottom), difficult = part
        assert 0 <= left < right <= tile[2] - tile[0] and 0 <= top < bottom <= tile[3] - tile[1]
        area += (right - left) * (bottom - top)
        share = (right - left) * (bottom - top) / ((box[2] - box[0]) * (box[3] - box[1]))
        assert difficult == (share < 0.5)
        counted += not difficult
    assert area == (box[2] - box[0]) * (box[3] - box[1])
    assert counted <= 2


def test_tiles_are_read_as_pascal_voc_and_keep_photos_apart(tmp_path: Path, prepare: Prepare) -> None:
    sizes = ((300, 250), (130, 130), (128, 90), (200, 210))
    made = made_wheel(tmp_path / "small.whl", sizes, many=6)
    done = prepare(tmp_path / "small.whl", "--tile", "100")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "aerial"
    assert f"data.training.folder={folder}" in done.stdout
    splits = {name: open_voc(folder, name, ["tree"], "key") for name in ("train", "val", "trainval", "test")}
    names = {split: [photo.path.stem for photo in each.photos] for split, each in splits.items()}
    assert names["trainval"] == names["train"] + names["val"]
    # Not a tile of the photo that judges is among those that are learnt from.
    owners = {split: {name.rpartition("-r")[0] for name in each} for split, each in names.items()}
    assert owners == {
        "train": {"yell-528000", "osbs-029"}, "val": {"soap-061"}, "test": {"yell-541000"},
        "trainval": {"yell-528000", "osbs-029", "soap-061"},
    }  # fmt: skip
    for photo, (image, boxes) in made.items():
        tiles = dict(aerial.tiles(image.size, 100))
        mine = [tile for each in splits.values() for tile in each.photos if tile.path.stem.startswith(SHORT[photo])]
        by_name = {tile.path.stem: tile for tile in mine}
        assert set(by_name) == {f"{SHORT[photo]}-{place}" for place in tiles}
        back: dict[bool, list[Box]] = {True: [], False: []}
        for place, (left, top, right, bottom) in tiles.items():
            tile = by_name[f"{SHORT[photo]}-{place}"]
            pixels = np.asarray(Image.open(tile.path), np.float32)
            assert pixels.shape == (tile.height, tile.width, 3) == (bottom - top, right - left, 3)
            original = np.asarray(image.crop((left, top, right, bottom)), np.float32)
            assert np.abs(pixels - original).mean() < 8  # JPEG of noise
            for x1, y1, x2, y2 in tile.truth.boxes[~tile.truth.ignored].tolist():
                back[False].append((int(x1) + left, int(y1) + top, int(x2) + left, int(y2) + top))
        # Whatever counts is a box of the photo, at least half of it; whole ones are all there.
        for part in back[False]:
            (owner,) = [b for b in boxes if b[0] <= part[0] and b[1] <= part[1] and b[2] >= part[2] and b[3] >= part[3]]
            share = (part[2] - part[0]) * (part[3] - part[1]) / ((owner[2] - owner[0]) * (owner[3] - owner[1]))
            assert share >= 0.5
        inside = [
            b for b in boxes for t in tiles.values() if b[0] >= t[0] and b[1] >= t[1] and b[2] <= t[2] and b[3] <= t[3]
        ]
        assert set(inside) <= set(back[False])
    # Made again in its place; a folder that somebody else made is left alone.
    assert prepare(tmp_path / "small.whl", "--tile", "100").returncode == 0
    (folder / ".complete").unlink()
    refused = prepare(tmp_path / "small.whl", "--tile", "100")
    assert refused.returncode == 1 and "was not made by this" in refused.stderr
    assert list(folder.glob("JPEGImages/*.jpg"))


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("OSBS_029.xml", None, "has no deepforest/data/OSBS_029.xml"),
        ("OSBS_029.xml", b"<annotation>", "not a list of boxes"),
        ("OSBS_029.xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "a document type"),
        ("OSBS_029.xml", listed([(0, 0, 9, 9)], (61, 60)).encode(), "boxes of a photo of 61 x 60 pixels; it has 60 x"),
        ("OSBS_029.xml", listed([(50, 0, 61, 9)], (60, 60)).encode(), "a box from 50, 0 to 61, 9"),
        ("OSBS_029.xml", listed([(5, 0, 5, 9)], (60, 60)).encode(), "a box from 5, 0 to 5, 9"),
        ("OSBS_029.xml", listed([(0, 0, 9, 9)], (60, 60), "Car").encode(), "a box of 'Car'; known: Tree"),
    ],
)
def test_a_package_that_is_not_as_it_should_be_makes_no_folder(
    tmp_path: Path, prepare: Prepare, file: str, content: bytes | None, says: str
) -> None:
    made_wheel(tmp_path / "bad.whl", ((60, 60),) * 4, many=1, replaced={file: content})
    done = prepare(tmp_path / "bad.whl", "--tile", "32")
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "aerial").exists()


def test_another_package_is_refused(tmp_path: Path, prepare: Prepare) -> None:
    made_wheel(tmp_path / "other.whl", ((60, 60),) * 4, many=1)
    done = prepare(tmp_path / "other.whl", sha256=aerial.SHA256)
    assert done.returncode == 1 and "is not deepforest==2.1.0" in done.stderr
    assert not (tmp_path / "aerial").exists()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A package index on loopback whose wheel of the right name and version has other contents."""
    made_wheel(tmp_path / "index.whl", ((60, 60),) * 4, many=1)
    content, asked = (tmp_path / "index.whl").read_bytes(), []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = f'<a href="/{aerial.WHEEL}">{aerial.WHEEL}</a>'.encode()
            self.send_response(200)
            body = content if self.path.endswith(".whl") else page
            self.send_header("Content-Type", "application/zip" if body is content else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_the_pinned_wheel_is_taken_and_one_that_is_kept_is_not_asked_for(
    tmp_path: Path, index: tuple[str, list[str]]
) -> None:
    address, asked = index
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    env = {**clean, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": address, "PIP_NO_CACHE_DIR": "1", "NO_PROXY": "*"}
    cache = tmp_path / "cache"
    argv = [sys.executable, str(SCRIPT), str(tmp_path / "aerial"), "--cache", str(cache)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 1 and "could not be downloaded" in done.stderr and str(cache) in done.stderr
    assert asked and not (cache / aerial.WHEEL).exists() and not (tmp_path / "aerial").exists()
    asked.clear()
    (tmp_path / "index.whl").rename(cache / aerial.WHEEL)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 1 and "is not deepforest==2.1.0" in done.stderr
    assert not asked


@pytest.mark.usefixtures("one_thread")
def test_the_recipe_learns_from_tiles(tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    made_wheel(tmp_path / "small.whl", ((512, 448), (192, 192), (96, 96), (256, 256)), many=60)
    assert prepare(tmp_path / "small.whl", "--tile", "64").returncode == 0
    folder = tmp_path / "aerial"
    changes = (
        f"data.training.folder={folder}", "preprocessing.crop=64", "data.training.padding=12", f"train.lr={5e-3}",
        "model.options.width=0.25", "model.options.head_width=0.125", "train.epochs=20",
    )  # fmt: skip
    loaded = load("mobilenetv1-yolov3-aerial", changes)
    task, how = task_of(loaded.recipe), loaded.recipe.preprocessing.record()
    images = BoxedPhotos.of([open_voc(folder, "test", ["tree"], "key")], folder)
    torch.manual_seed(0)
    network, tally = architectures.build("mobilenetv1-yolov3", **loaded.recipe.model.options), task.tally()
    with torch.no_grad():
        for batch in Loader(images, how, 8).epoch(0):
            tally.see(network(torch.from_numpy(batch.images).permute(0, 3, 1, 2)), torch.from_numpy(batch.labels))
    (made,) = compress(loaded, Silent())
    learnt = made.artifact.metric("mAP-voc10")
    assert learnt is not None
    assert (learnt.samples, learnt.dataset, learnt.split) == (16, "aerial-trees", "test")
    # 300 steps on 65 tiles: far from done, and far from chance.
    assert learnt.value > 20 > 10 * task.percent([tally.parts()])
    assert any(stage.name == "compare with the network" for stage in made.stages)
    assert {tensor.shape for tensor in made.artifact.outputs} == {(1, cells, cells, 3, 6) for cells in (2, 4, 8)}
