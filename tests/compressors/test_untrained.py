"""What a recipe's network takes, and what a recipe needs, before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressors import architectures
from compressors.check import check
from compressors.cli import group
from compressors.data.noise import noise_images
from compressors.pipeline import compress
from compressors.progress import Silent
from compressors.recipe import load, shipped
from compressors.steps.prune.sets import kept_by
from compressors.steps.prune.structure import remove, trace
from compressors.steps.settle import settle
from compressors.untrained import untrained
from pocketzoo.errors import BadInput, WorkFailed
from zoo.artifact import Preprocessing
from zoo.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = Preprocessing(resize=None, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
SEARCHED = (
    "  - kind: prune\n    protocol: ddpg-pocketflow\n    target: {macs: 50}\n    keep: [features.0]\n"
    "    finetune: {epochs: 100, batch: 64, lr: 0.1}\n    distil: {}\n"
    "  - kind: quantize\n    max_drop: 1.0\n    max_ratio: 0.5\n"
)
TRAINED = (
    "train: {epochs: 90, batch: 256, lr: 0.1}\n"
    "data:\n  training: {kind: imagenet, folder: /nowhere}\n  evaluation: {dataset: imagenet-1k, split: val}\n"
)


@pytest.fixture
def recipe(tmp_path: Path, recipes: Callable[..., Path]) -> Path:
    """A recipe that trains, searches and gates on data that is not there."""
    path = recipes(SEARCHED)
    root = tmp_path / "small.yaml"
    root.write_text(root.read_text().split("data:")[0] + TRAINED)
    return path


def test_a_recipe_without_its_training_becomes_files_of_its_size(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    group.main(args=["run", str(recipe), "--untrained", "--json"], prog_name="compress", standalone_mode=False)
    out, err = capfd.readouterr()
    models = json.loads(out)["models"]
    assert [(model["name"], model["tag"]) for model in models] == [("small", "untrained"), ("small-quant", "untrained")]
    assert "next: harness run --device local --model small-quant:untrained" in err
    parent, child = (Store().get(f"{model['name']}:untrained").artifact for model in models)
    assert parent.macs is not None and child.macs is not None
    assert child.macs == pytest.approx(parent.macs / 2, rel=0.02)
    assert child.inputs[0].dtype == "int8"
    assert (parent.accuracy, child.accuracy) == ((), ())
    notes = "\n".join(child.notes)
    for text in (
        "untrained: the weights are those the network is built with",
        "untrained: step 1 (prune): no finetune",
        "untrained: step 1 (prune): no distil",
        "untrained: step 1 (prune): uniform in place of ddpg-pocketflow",
        "16 images of noise, seed 0, which are not what photos would give",
    ):
        assert text in notes
    assert (
        child.recipe is not None and "weights: untrained" in child.recipe.text and "imagenet" not in child.recipe.text
    )


def test_an_untrained_network_answers_differently_to_different_images() -> None:
    torch.manual_seed(0)
    model = architectures.build("mobilenetv1", width=0.25, classes=10)
    images = list(noise_images(PLAIN, 6, 0))
    settle(model, images[:4])
    with torch.no_grad():
        answers = [model(torch.from_numpy(image).permute(0, 3, 1, 2)) for image in images]
    # As built it fades to zero: what an exported file is compared by would say nothing.
    assert min(float((one - two).abs().max()) for one, two in pairwise(answers)) > 1e-3
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(not norm.training and norm.momentum == 0.1 for norm in norms)


def test_noise_is_the_same_for_the_same_seed_and_place() -> None:
    first, second = list(noise_images(PLAIN, 2, 7))
    assert first.shape == (1, 32, 32, 3) and not np.array_equal(first, second)
    np.testing.assert_array_equal(first, next(noise_images(PLAIN, 1, 7)))


def test_the_file_of_a_pruned_detector_answers_as_its_network_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    path = tmp_path / "detector.yaml"
    path.write_text(
        "name: detector\ntitle: a small one\ntask: object-detection\nweights: untrained\n"
        "model:\n  architecture: mobilenetv1-yolov3\n"
        "  options: {classes: 3, width: 0.125, head_width: 0.125, decode: outside}\n"
        "preprocessing: {resize: null, crop: 64, fit: stretch, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
        "steps:\n  - kind: prune\n    prunable: paddlex-yolov3\n    target: {macs: 30}\n"
    )
    (made,) = compress(load(str(path)), Silent())
    # This stage compares all three outputs with the pruned torch network's, and fails where they differ.
    (compared,) = [stage for stage in made.stages if stage.name == "compare with the network"]
    assert "on 8 random inputs" in compared.note
    assert sorted(output.shape for output in made.artifact.outputs) == [
        (1, 2, 2, 3, 8), (1, 4, 4, 3, 8), (1, 8, 8, 3, 8),
    ]  # fmt: skip


def test_weights_that_are_given_are_not_left_out_silently(recipe: Path, weights: Path) -> None:
    with pytest.raises(BadInput, match="takes the weights a network is built with"):
        untrained(load(str(recipe), [f"weights={weights}"]))


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_can_be_had_untrained(name: str) -> None:
    found = untrained(load(name))
    for link in found.chain:
        assert not link.recipe.trains and not any(step.looks for step in link.recipe.prunes)
        assert link.recipe.data.training is None
        assert link.own_steps <= len(link.recipe.steps)
        before = load(link.recipe.name).recipe
        assert [(s.kind, s.target) for s in link.recipe.prunes] == [(s.kind, s.target) for s in before.prunes]


@pytest.mark.parametrize(
    ("name", "macs", "after"),
    [
        # PaddleSlim's -50 %; AMC's -30 % in multiples of 8; Torch-Pruning's 2.11x.
        ("mobilenetv1-prune50-uniform", 568_740_352, 568_740_352 / 2),
        ("mobilenetv2-prune30-amc", 300_774_272, 300_774_272 * 0.7),
        ("resnet56-cifar10-prune2.11x-bn", 125_747_840, 125_747_840 / 2.11),
    ],
)
def test_a_recipes_target_is_within_reach_at_its_real_size(name: str, macs: int, after: float) -> None:
    found = check(load(name))
    assert found.network is not None and found.last is not None
    assert found.network.macs == macs
    assert abs(found.last.macs - after) <= 0.01 * macs


def test_missing_data_is_named_and_no_failure(recipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    group.main(args=["check", str(recipe), "--json"], prog_name="compress", standalone_mode=False)
    (row,) = json.loads(capfd.readouterr().out)["recipes"]
    assert row["problem"] is None
    needed = {need["what"]: (need["found"], need["optional"]) for need in row["needs"]}
    assert needed["training images (imagenet)"] == (None, False)
    assert needed["what judges the file (imagenet-1k, val)"] == (None, True)
    assert all("/nowhere" in need["hint"] for need in row["needs"] if need["what"].startswith("training"))
    assert row["missing"][0] == "training images (imagenet)"


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("uniform", r"the target MACs -99 % cannot be reached"),
        (
            "ddpg-amc",
            "at least .* stay when every group keeps as little as it may",
        ),  # its agent leaves a fifth of every layer
    ],
)
def test_a_target_out_of_reach_is_told_before_training(
    recipe: Path, protocol: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    far = [
        "--set",
        "steps.0.target.macs=99",
        "--set",
        "steps.0.keep=[features.0, features.6]",
        "--set",
        f"steps.0.protocol={protocol}",
    ]
    with pytest.raises((BadInput, WorkFailed), match=message):
        group.main(args=["check", str(recipe), *far], prog_name="compress", standalone_mode=False)


@pytest.mark.parametrize(
    ("architecture", "options", "published", "removed", "first", "kept"),
    [
        (
            "mobilenetv1-yolov3", {"width": 0.25, "head_width": 0.5, "classes": 4}, "paddlex-yolov3", 0.5288,
            "blocks.0.route.0.0", {"backbone.conv1.0", "transitions.0.0", "transitions.1.0", "heads.2"},
        ),
        (
            "fastscnn", {"width": 0.5, "classes": 5}, "paddlex-fastscnn", 0.4760,
            "downsample.0.0", {"classifier.3"},
        ),
        (
            "deeplabv3-mobilenetv2", {"width": 0.25, "classes": 5, "aspp": True, "decoder": True},
            "paddlex-deeplabv3", 0.4, "backbone.features.0.0", {"encoder.mixed.0.0", "decoder.reduce.0", "logits"},
        ),
    ],
)  # fmt: skip
def test_paddlexs_sets_name_layers_of_the_real_networks(
    architecture: str, options: dict[str, object], published: str, removed: float, first: str, kept: set[str]
) -> None:
    torch.manual_seed(0)
    model = architectures.build(architecture, **options)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    shape = (1, 3, 96, 96)
    structure = trace(model, shape, kept_by(published, names))
    groups = {group.name: group for group in structure.groups}
    assert structure.prunable[0].name == first
    assert all(not groups[name].prunable for name in kept)
    if published == "paddlex-yolov3":
        assert {group.name.partition(".")[0] for group in structure.prunable} == {"blocks"}
        assert len(structure.prunable) == 18
    share = next(
        s
        for s in np.linspace(0.01, 0.99, 99)
        if structure.macs(_at(structure, s)) <= (1 - removed) * structure.macs({})
    )
    counts = _at(structure, share)
    pruned = remove(model, shape, {n: range(groups[n].channels - c) for n, c in counts.items()}, structure)
    assert structure.macs(counts) / structure.macs({}) == pytest.approx(1 - removed, abs=0.05)
    with torch.no_grad():
        before, after = model(torch.zeros(shape)), pruned(torch.zeros(shape))
    assert [t.shape for t in _all(before)] == [t.shape for t in _all(after)]


def _at(structure: object, share: float) -> dict[str, int]:
    return {g.name: max(1, round(g.channels * (1 - share))) for g in structure.prunable}  # type: ignore[attr-defined]


def _all(answers: object) -> tuple[torch.Tensor, ...]:
    return answers if isinstance(answers, tuple) else (answers,)  # type: ignore[return-value]
