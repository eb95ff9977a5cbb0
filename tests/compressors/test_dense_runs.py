"""Detection and segmentation the whole way: photos in Pascal's layout to pruned and quantized files, judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from compressors import architectures
from compressors.data.batches import Loader
from compressors.data.dense_sources import open_scenes
from compressors.evaluate import FileModel
from compressors.pipeline import Product, compress
from compressors.progress import Silent
from compressors.recipe import load
from compressors.tasks import task_of
from pocketzoo.errors import BadInput
from tests.compressors.placed_sets import pascal
from zoo.artifact import AGREEMENT

pytestmark = pytest.mark.usefixtures("one_thread")

MASKS = """
name: masks
title: where the square is
task: image-segmentation
dataset: squares
model: {{architecture: fastscnn, options: {{classes: 2, width: 0.25}}}}
preprocessing: {{resize: null, crop: 64, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
data:
  training:
    {{kind: pascal, folder: {folder}, classes: [background, square], held_out: 0.25, augment: crop-flip, padding: 4}}
  evaluation: {{kind: pascal, dataset: squares, split: val}}
  calibration: {{samples: 16}}
train: {{epochs: 8, batch: 8, optimizer: adam, lr: 0.01}}
"""
BOXES = """
name: boxes
title: where the square is
task: object-detection
dataset: squares
model:
  architecture: mobilenetv1-yolov3
  options:
    classes: 1
    width: 0.25
    head_width: 0.125
    anchors: [[[40, 40], [48, 48], [60, 60]], [[22, 22], [26, 26], [31, 31]], [[6, 6], [8, 8], [10, 10]]]
preprocessing: {{resize: null, crop: 64, fit: stretch, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
data:
  training: {{kind: voc, folder: {folder}, classes: [square], held_out: 0.25, augment: crop-flip, padding: 4}}
  evaluation: {{kind: voc, dataset: squares, split: test}}
  calibration: {{samples: 16}}
train: {{epochs: 20, batch: 8, optimizer: adam, lr: 5.0e-3}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dense")


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    """48 photos to learn from, 16 that are held out, 16 to judge by."""
    return pascal(home / "photos", 64)


@pytest.fixture
def run(home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Product]]:
    """Runs a recipe, or its child with steps; stages are shared by the tests of this file."""
    monkeypatch.setenv("POCKETZOO_HOME", str(home))

    def run(recipe: str, steps: str = "", *settings: str) -> list[Product]:
        name = "masks" if recipe is MASKS else "boxes"
        path = tmp_path / f"{name}.yaml"
        path.write_text(recipe.format(folder=folder))
        if steps:
            path = tmp_path / f"{name}-small.yaml"
            path.write_text(f"name: {name}-small\ntitle: smaller\nparent: {name}\nsteps:\n{steps}")
        return compress(load(str(path), settings), Silent())

    return run


def metric(product: Product, name: str) -> float:
    found = product.artifact.metric(name)
    assert found is not None and found.samples == 16 and found.split in ("val", "test")
    assert found.ci95 is None or found.ci95[0] <= found.value <= found.ci95[1]
    return found.value


def untrained(recipe: str, folder: Path, home: Path) -> float:
    """The metric of a recipe's network as its factory makes it, on the images that judge."""
    path = home / "untrained.yaml"
    path.write_text(recipe.format(folder=folder))
    loaded = load(str(path)).recipe
    task, judged = task_of(loaded), loaded.data.evaluation
    assert judged is not None and judged.kind is not None and loaded.data.training is not None
    images = open_scenes(
        judged.kind, folder, "test", judged.split, classes=loaded.data.training.classes, scenes=loaded.data.scenes,
        key="data.evaluation",
    )  # fmt: skip
    torch.manual_seed(0)
    network, tally = architectures.build(loaded.model.architecture, **loaded.model.options), task.tally()
    with torch.no_grad():
        for batch in Loader(images, loaded.preprocessing.record(), 8).epoch(0):
            tally.see(network(torch.from_numpy(batch.images).permute(0, 3, 1, 2)), torch.from_numpy(batch.labels))
    return task.percent([tally.parts()])


def test_masks_are_learnt_and_the_int8_file_keeps_them(
    run: Callable[..., list[Product]], folder: Path, tmp_path: Path
) -> None:
    aware = (
        "  - kind: quantize\n    max_ratio: 0.9\n    max_drop: 30\n    qat:\n"
        "      train: {epochs: 1, batch: 8, optimizer: adam, lr: 1.0e-3}\n"
    )
    whole, small = run(MASKS, aware)
    assert metric(whole, "mIoU") > 75 > untrained(MASKS, folder, tmp_path) + 20
    assert metric(small, "mIoU") > metric(whole, "mIoU") - 30
    assert whole.artifact.metric(AGREEMENT) is None
    assert 75 < metric(small, AGREEMENT) < 100
    # Channels last, as large as the input.
    assert whole.artifact.outputs[0].shape == small.artifact.outputs[0].shape == (1, 64, 64, 2)
    assert (small.artifact.inputs[0].dtype, small.artifact.outputs[0].dtype) == ("int8", "int8")
    assert whole.artifact.task == "image-segmentation"
    assert any(stage.name == "compare with the network" for stage in whole.stages)
    told = " ".join(small.artifact.notes)
    assert "are the learnt ranges" in told and "gate: mIoU" in told and "top-1" not in told


def test_boxes_are_learnt_and_the_pruned_int8_file_keeps_them(
    run: Callable[..., list[Product]], folder: Path, tmp_path: Path
) -> None:
    steps = (
        "  - kind: prune\n    target: {macs: 20}\n    criterion: filter-l1\n    prunable: paddlex-yolov3\n"
        "    finetune: {epochs: 4, batch: 8, optimizer: adam, lr: 2.0e-3}\n"
        "  - {kind: quantize, max_ratio: 0.9}\n"  # a small file: scales and names weigh more
    )
    whole, small = run(BOXES, steps)
    # 120 steps on 48 photos: far from done, and far from chance.
    assert metric(whole, "mAP-voc10") > 8 > 10 * untrained(BOXES, folder, tmp_path)
    assert metric(small, "mAP-voc10") > 5
    assert metric(whole, "AP50-coco") == pytest.approx(metric(whole, "mAP-voc10"), abs=3)
    assert small.artifact.macs is not None and whole.artifact.macs is not None
    assert small.artifact.macs == pytest.approx(0.8 * whole.artifact.macs, rel=0.02)
    assert {tensor.shape for tensor in small.artifact.outputs} == {(1, cells, cells, 3, 6) for cells in (2, 4, 8)}
    assert all(tensor.dtype == "int8" for tensor in small.artifact.outputs)
    spec = whole.artifact.preprocessing
    assert spec is not None and spec.fit == "stretch"
    # The file keeps its outputs in an order of its own; they come in the network's.
    outputs = FileModel(whole.file, many=True).outputs(np.zeros((1, 64, 64, 3), np.float32))
    assert [output.shape[1] for output in outputs] == [2, 4, 8]


def test_boxes_decoded_inside_the_graph(run: Callable[..., list[Product]]) -> None:
    (inside,) = run(BOXES, "", "model.options.decode=inside", "weights=as-built")
    assert inside.artifact.outputs[0].shape == (1, 3 * (2 * 2 + 4 * 4 + 8 * 8), 6)
    assert any(stage.name == "compare with the network" for stage in inside.stages)
    answer = FileModel(inside.file).outputs(np.zeros((1, 64, 64, 3), np.float32))[0][0]
    assert (answer[:, 4:] > 0).all() and (answer[:, 4:] < 1).all() and answer[:, :2].max() < 64
    with pytest.raises(BadInput) as caught:
        run(BOXES, "  - {kind: quantize}\n", "model.options.decode=inside")
    assert "scores one value" in str(caught.value.detail)


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        (MASKS, "data.training.kind=voc", "kind voc is not for task image-segmentation"),
        (MASKS, "data.training.augment=distort-expand-crop", "augment distort-expand-crop is not for task"),
        (BOXES, "data.training.kind=fashion-mnist", "kind fashion-mnist is not for task object-detection"),
        (BOXES, "data.training.augment=scale-crop-flip", "augment scale-crop-flip is not for task"),
        (BOXES, "train.label_smoothing=0.1", "label_smoothing is for cross entropy"),
        (BOXES, "preprocessing.crop=72", "cells are 32 pixels wide"),
        (BOXES, "data.training.classes=[circle]", "unknown class 'square'"),
        (BOXES, "model.options.classes=4", "too few classes: the data has 1, the model 4"),
        (MASKS, "data.training.split=nothing", "no such list of photos"),
        (MASKS, "data.training.split=../../train", "outside its folder"),
        (MASKS, "preprocessing.fit=squeeze", "fit"),
        (MASKS, "data.training.folder=/nowhere", "no such folder"),
    ],
)
def test_what_cannot_work_is_said_before_anything_slow(
    run: Callable[..., list[Product]], recipe: str, setting: str, message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        run(recipe, "", setting)
    assert message in f"{caught.value.what} {caught.value.detail}"


@pytest.mark.parametrize(
    "step",
    [
        "{kind: distil, teacher: {recipe: resnet20-fashion}, soft: {weight: 1}, train: {epochs: 1}}",
        "{kind: sparsify, sparsity: 50, train: {epochs: 1}, distil: {teacher: {recipe: resnet20-fashion}}}",
    ],
)
def test_what_compares_a_classifiers_answers_is_refused(run: Callable[..., list[Product]], step: str) -> None:
    with pytest.raises(BadInput) as caught:
        run(MASKS, f"  - {step}\n")
    assert "distil is for image-classification" in f"{caught.value.what} {caught.value.detail}"
