"""Recipes that train, from Fashion-MNIST to int8 files: real images, small networks, the whole way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compressors.pipeline import Product, compress
from compressors.progress import Silent
from compressors.recipe import load, shipped
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors.small_sets import FASHION, needs_fashion

FLOAT = """
name: tiny
title: a slice of Fashion-MNIST
dataset: fashion-mnist
model: {{architecture: mobilenetv1, options: {{classes: 10, width: 0.25, in_channels: 1, small_input: true}}}}
preprocessing: {{resize: null, crop: 28, mean: [0.286], std: [0.353]}}
data:
  training: {{kind: fashion-mnist, folder: {folder}, limit: 3000, held_out: 0.2}}
  calibration: {{samples: 64}}
  evaluation: {{kind: fashion-mnist, dataset: fashion-mnist, split: test, limit: 1000}}
train: {{epochs: 3, batch: 32, lr: 0.05, weight_decay: 1.0e-4, warmup_epochs: 0.5}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Product]]:
    """Runs a child of the float recipe; stages are shared by the tests of this file."""
    monkeypatch.setenv("POCKETZOO_HOME", str(home))

    def run(steps: str) -> list[Product]:
        (tmp_path / "tiny.yaml").write_text(FLOAT.format(folder=FASHION))
        path = tmp_path / "tiny-quant.yaml"
        path.write_text(f"name: tiny-quant\ntitle: int8\nparent: tiny\nsteps:\n{steps}")
        return compress(load(str(path)), Silent())

    return run


def top1(product: Product) -> float:
    found = product.artifact.metric("top1")
    assert found is not None
    assert found.samples == 1000
    return found.value


@needs_fashion
def test_a_slice_is_learnt_and_int8_keeps_it(run: Callable[[str], list[Product]]) -> None:
    aware = (
        "    qat: {weights: abs_max, activations: moving_average_abs_max, train: {epochs: 1, batch: 32, lr: 0.01}}\n"
    )
    tiny, quant = run(f"  - kind: quantize\n    weights: tensor\n    max_ratio: 0.45\n{aware}")
    assert top1(tiny) > 60  # chance is 10
    assert top1(quant) > top1(tiny) - 4
    assert quant.artifact.size_bytes < 0.45 * tiny.artifact.size_bytes
    assert quant.artifact.inputs[0].dtype == "int8"
    told = " ".join(quant.artifact.notes)
    assert "are the learnt ranges" in told
    assert "weights abs_max, activations moving_average_abs_max, 8 bits" in told
    assert {"train", "train with fake quantization"} <= {stage.name for stage in tiny.stages + quant.stages}
    recipe = quant.artifact.recipe
    assert recipe is not None
    assert str(FASHION) not in recipe.text
    assert "accelerate" in quant.artifact.versions


@needs_fashion
def test_a_gate_is_judged_on_held_out_images_and_noted(run: Callable[[str], list[Product]]) -> None:
    tiny, quant = run("  - kind: quantize\n    weights: tensor\n    max_ratio: 0.9\n    max_drop: 2.0\n")
    gate = next(note for note in quant.artifact.notes if note.startswith("gate:"))
    assert "on the held-out split" in gate
    assert top1(quant) > top1(tiny) - 6


@needs_fashion
def test_a_layer_that_is_not_there_is_bad_input(run: Callable[[str], list[Product]]) -> None:
    with pytest.raises(BadInput, match="does not have: 'features\\.0\\.O'") as caught:
        run("  - kind: quantize\n    max_ratio: 0.9\n    keep_float: [features.0.O]\n")
    assert "did you mean features.0." in caught.value.as_text()


@needs_fashion
def test_a_training_that_breaks_names_the_step(run: Callable[[str], list[Product]]) -> None:
    aware = "    qat: {weights: abs_max, activations: abs_max, train: {epochs: 1, batch: 32, lr: 1.0e+38}}\n"
    with pytest.raises(WorkFailed, match=r"the loss became (nan|inf) at step \d+"):
        run(f"  - kind: quantize\n    scheme: dynamic-int8\n    weights: tensor\n{aware}")


def test_every_8_bit_row_has_a_recipe_and_a_twin_on_fashion_mnist() -> None:
    rows = {
        "mobilenetv1": ["quant", "quant-ema", "quant-channelwise", "quant-uniform", "quant-post"],
        "resnet50": ["quant", "quant-ema", "quant-channelwise", "quant-uniform", "quant-post"],
        "resnet56": ["quant", "quant-ema", "quant-channelwise", "quant-uniform", "quant-post"],
        "resnet18": ["quant"],
        "mobilenetv2": ["quant", "quant-uniform"],
    }
    wanted = {f"{model}{twin}-{row}" for model, found in rows.items() for row in found for twin in ("", "-fashion")}
    # ResNet-56 is one of CIFAR-10 alone, and says so in its name.
    wanted = {name.replace("resnet56-quant", "resnet56-cifar10-quant") for name in wanted}
    assert wanted <= set(shipped())
    schemes = {
        "quant": ("abs_max", "abs_max"),
        "quant-ema": ("abs_max", "moving_average_abs_max"),
        "quant-channelwise": ("channel_wise_abs_max", "abs_max"),
    }
    for model in ("mobilenetv1", "resnet50", "resnet56-cifar10", "mobilenetv1-fashion", "resnet56-fashion"):
        for row, scheme in schemes.items():
            step = load(f"{model}-{row}").recipe.steps[-1]
            assert step.qat is not None
            assert (step.qat.weights, step.qat.activations) == scheme
            if "fashion" not in model:
                plan = step.qat.train
                assert (plan.epochs, plan.batch, plan.lr, plan.optimizer) == (20, 256, 1e-4, "sgd")
