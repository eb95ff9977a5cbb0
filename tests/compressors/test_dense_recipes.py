"""The shipped recipes of detectors and segmentations: each fits its network, and says what its authors published."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressors import architectures
from compressors.architectures.yolov3 import STRIDES
from compressors.data.masked import CITYSCAPES
from compressors.data.scenes import SHAPES
from compressors.data.voc import VOC_CLASSES
from compressors.recipe import load, shipped
from compressors.sections import Recipe
from compressors.steps.prune.sets import SETS, kept_by
from compressors.tasks import task_of

DENSE = [name for name in shipped() if load(name).recipe.task != "image-classification"]
FLOAT = [name for name in DENSE if load(name).parent is None]
CLASSES_OF = {
    "coco-2017": 80, "pascal-voc": len(VOC_CLASSES), "shapes": len(SHAPES), "cityscapes": len(CITYSCAPES),
    "fashion-items": 11, "aerial-trees": 1,
}  # fmt: skip
# The rows of the documents, and the twins that train anywhere.
ROWS = {
    "mobilenetv1-yolov3": "mobilenetv1-yolov3-shapes",
    "mobilenetv1-yolov3-quant-post": "mobilenetv1-yolov3-shapes-quant-post",
    "mobilenetv1-yolov3-prune51.77": "mobilenetv1-yolov3-shapes-prune52.88",
    "mobilenetv1-yolov3-voc": "mobilenetv1-yolov3-shapes",
    "mobilenetv1-yolov3-voc-prune52.88": "mobilenetv1-yolov3-shapes-prune52.88",
    "resnet34-yolov3": "resnet34-yolov3-shapes",
    "resnet34-yolov3-quant-post": "resnet34-yolov3-shapes-quant-post",
    "deeplabv3-mobilenetv2": "deeplabv3-mobilenetv2-fashion",
    "deeplabv3-mobilenetv2-quant-post": "deeplabv3-mobilenetv2-fashion-quant-post",
    "fastscnn": "fastscnn-fashion",
    "fastscnn-prune47.6": "fastscnn-fashion-prune47.6",
}


def recipe(name: str) -> Recipe:
    return load(name).recipe


def test_every_row_has_its_recipe_and_its_twin() -> None:
    assert set(DENSE) >= {*ROWS, *ROWS.values()}
    for name, twin in ROWS.items():
        row, small = recipe(name), recipe(twin)
        assert (row.task, row.model.architecture) == (small.task, small.model.architecture)
        assert [step.kind for step in row.steps] == [step.kind for step in small.steps]
        training = small.data.training
        assert training is not None
        assert training.kind in ("shapes", "fashion-items")
        assert training.folder in (None, "/usr/share/datasets/fashion-mnist")


@pytest.mark.parametrize("name", FLOAT)
def test_a_recipe_fits_its_network(name: str) -> None:
    found = recipe(name)
    task, how = task_of(found), found.preprocessing.record()
    classes = found.model.options["classes"]
    assert found.dataset is not None and classes == CLASSES_OF[found.dataset]
    with torch.device("meta"), torch.no_grad():
        model = architectures.build(found.model.architecture, **found.model.options)
        answer = model(torch.zeros(1, how.channels, how.crop, how.crop))
    if task.name == "image-segmentation":
        assert answer.shape == (1, classes, how.crop, how.crop)
    else:
        assert isinstance(classes, int) and how.fit == "stretch"
        expected = [(1, how.crop // s, how.crop // s, 3, 5 + classes) for s in STRIDES]
        assert [tuple(one.shape) for one in answer] == expected
    training, evaluation = found.data.training, found.data.evaluation
    assert training is not None and evaluation is not None and found.train is not None
    assert (evaluation.kind, evaluation.dataset) == (training.kind, found.dataset)


def test_sizes_and_schedules_are_the_published_ones() -> None:
    for name in ("mobilenetv1-yolov3", "resnet34-yolov3", "mobilenetv1-yolov3-voc"):
        found = recipe(name)
        assert (found.preprocessing.crop, found.preprocessing.fit) == (608, "stretch")
        assert found.train is not None
        assert (found.train.epochs, found.train.batch, found.train.lr) == (270, 64, 1e-3)
        # 500,200 steps of batch 64 over COCO's 118,287 photos, 70,000 over VOC's 16,551.
        images, steps, drops = (
            (16_551, 70_000, (55_000, 62_000)) if name.endswith("voc") else (118_287, 500_200, (400_000, 450_000))
        )
        assert found.train.epochs == pytest.approx(steps * 64 / images, abs=1)
        assert found.train.milestones == pytest.approx([drop * 64 / images for drop in drops], abs=1)
    deeplab, fast = recipe("deeplabv3-mobilenetv2"), recipe("fastscnn")
    assert deeplab.preprocessing.crop == fast.preprocessing.crop == 769
    assert deeplab.train is not None and fast.train is not None
    assert deeplab.train.epochs == pytest.approx(90_000 * 16 / 2975, abs=1)
    assert (deeplab.train.schedule, deeplab.train.lr, deeplab.train.weight_decay) == ("poly", 0.007, 4e-5)
    assert (fast.train.schedule, fast.train.lr, fast.train.epochs, fast.train.batch) == ("poly", 0.045, 1000, 12)


def test_what_is_cropped_is_what_paddlex_crops() -> None:
    for name, macs in (("mobilenetv1-yolov3-prune51.77", 51.77), ("mobilenetv1-yolov3-voc-prune52.88", 52.88),
                       ("fastscnn-prune47.6", 47.6)):  # fmt: skip
        (step,) = recipe(name).prunes
        assert step.target is not None and step.target.macs == macs
        assert (step.protocol, step.criterion) == ("sensitivity", "filter-l1")


@pytest.mark.parametrize(
    ("architecture", "options", "prunable", "free"),
    [
        ("mobilenetv1-yolov3", {"classes": 2, "width": 0.25, "head_width": 0.125}, "paddlex-yolov3", {"blocks"}),
        ("resnet34-yolov3", {"classes": 2, "width": 0.125, "head_width": 0.125}, "paddlex-yolov3", {"blocks"}),
        ("fastscnn", {"classes": 2, "width": 0.25}, "paddlex-fastscnn",
         {"downsample", "global_features", "fusion_fine", "fusion_coarse", "classifier"}),
        ("deeplabv3-mobilenetv2", {"classes": 2, "width": 0.25, "aspp": True, "decoder": True}, "paddlex-deeplabv3",
         {"backbone", "encoder", "decoder"}),
    ],
)  # fmt: skip
def test_a_published_set_fits_the_networks_names(
    architecture: str, options: dict[str, object], prunable: str, free: set[str]
) -> None:
    with torch.device("meta"):
        model = architectures.build(architecture, **options)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    kept = kept_by(prunable, layers)
    # Each pattern is of a layer that is there; logits are outputs of the plain network, too.
    for pattern in SETS[prunable]:
        assert kept_by(prunable, [name for name in layers if name.startswith(pattern.rstrip("*").rstrip("."))])
    assert {name.partition(".")[0] for name in layers if name not in kept} == free
    if prunable == "paddlex-deeplabv3":
        assert {"encoder.mixed.0.0", "decoder.reduce.0", "logits"} == set(kept)
