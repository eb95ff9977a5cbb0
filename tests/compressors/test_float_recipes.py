"""The shipped recipes of float models: each fits its network, and says what its authors published."""

from __future__ import annotations

import pytest
import torch

from compressors import architectures
from compressors.data.idx import CLASSES
from compressors.recipe import load, shipped
from compressors.sections import Recipe

# Classifiers; detectors and segmentations are in test_dense_recipes.py.
FLOAT = [n for n in shipped() if load(n).parent is None and load(n).recipe.task == "image-classification"]
TWINS = {  # the model of a document's row, and its twin on Fashion-MNIST
    "mobilenetv1": "mobilenetv1-fashion",
    "mobilenetv1-0.75x": "mobilenetv1-0.75x-fashion",
    "mobilenetv2": "mobilenetv2-fashion",
    "mobilenetv2-0.75x": "mobilenetv2-0.75x-fashion",
    "resnet18": "resnet18-fashion",
    "resnet50": "resnet50-fashion",
    "resnet56-cifar10": "resnet56-fashion",
    "vgg19-cifar100": "vgg19-fashion",
    "amc-mobilenetv1-0.5flops": "amc-mobilenetv1-0.5flops-fashion",
    "amc-mobilenetv1-0.5time": "amc-mobilenetv1-0.5time-fashion",
    "amc-mobilenetv2-0.7flops": "amc-mobilenetv2-0.7flops-fashion",
}
CLASSES_OF = {"imagenet-1k": 1000, "cifar-10": 10, "cifar-100": 100, "fashion-mnist": len(CLASSES["fashion-mnist"])}


def recipe(name: str) -> Recipe:
    return load(name).recipe


def test_every_row_has_its_recipe_and_its_twin() -> None:
    assert set(FLOAT) >= {*TWINS, *TWINS.values(), "resnet20-fashion"}
    for name, twin in TWINS.items():
        assert recipe(name).model.architecture == recipe(twin).model.architecture
        # A twin must run anywhere: on Debian's package, with nothing to set.
        training = recipe(twin).data.training
        assert training is not None
        assert (training.kind, training.folder) == ("fashion-mnist", "/usr/share/datasets/fashion-mnist")


@pytest.mark.parametrize("name", FLOAT)
def test_a_recipe_fits_its_network(name: str) -> None:
    found = recipe(name)
    how = found.preprocessing.record()
    with torch.device("meta"), torch.no_grad():
        model = architectures.build(found.model.architecture, **found.model.options)
        answer = model(torch.zeros(1, how.channels, how.crop, how.crop))
    assert found.dataset is not None
    assert answer.shape == (1, CLASSES_OF[found.dataset])
    training, evaluation = found.data.training, found.data.evaluation
    assert training is not None and evaluation is not None and found.train is not None
    assert evaluation.dataset == found.dataset
    assert evaluation.kind in (None, training.kind)
    assert found.weights is None


@pytest.mark.parametrize(
    ("names", "epochs", "batch", "lr", "weight_decay", "milestones"),
    [
        # PaddleSlim's page: boundaries 30, 60, 90 of 120 epochs, 0.1 to 0.0001, L2 1e-4.
        (["mobilenetv1"], 120, 256, 0.1, 1e-4, [30, 60, 90]),
        # AMC: 150 epochs, cosine from 0.05, batch 256, 4e-5.
        (["mobilenetv2", "mobilenetv1-0.75x", "mobilenetv2-0.75x", *(n for n in TWINS if n.startswith("amc-"))],
         150, 256, 0.05, 4e-5, []),
        # torchvision's reference scripts.
        (["resnet18", "resnet50"], 90, 256, 0.1, 1e-4, [30, 60]),
        # Torch-Pruning: --lr 0.1 --total-epochs 200 --lr-decay-milestones 120,150,180, batch 128, weight decay 5e-4.
        (["resnet56-cifar10", "vgg19-cifar100"], 200, 128, 0.1, 5e-4, [120, 150, 180]),
    ],
)  # fmt: skip
def test_the_schedules_are_the_published_ones(
    names: list[str], epochs: int, batch: int, lr: float, weight_decay: float, milestones: list[float]
) -> None:
    for name in names:
        how = recipe(name).train
        assert how is not None
        assert (how.epochs, how.batch, how.lr, how.weight_decay) == (epochs, batch, lr, weight_decay)
        assert (how.optimizer, how.momentum, how.milestones) == ("sgd", 0.9, milestones)
        assert how.schedule == ("step" if milestones else "cosine")


def test_widths_and_preprocessing_are_the_published_ones() -> None:
    assert (
        recipe("mobilenetv1-0.75x").model.options["width"] == recipe("mobilenetv2-0.75x").model.options["width"] == 0.75
    )
    for name in TWINS:
        found = recipe(name)
        if found.dataset == "imagenet-1k":
            how = found.preprocessing
            assert (how.resize, how.crop, how.mean, how.std) == (
                256, 224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225],
            )  # fmt: skip
            assert found.data.training is not None
            assert found.data.training.augment == "random-resized-crop"
