"""Recipes that begin in the zoo: a checkpoint by reference, and a float file that is quantized as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compressors.cli import group
from compressors.given import checkpoint, model_file
from compressors.pipeline import Product, compress
from compressors.progress import Silent
from compressors.recipe import load
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors.conftest import CLASSES
from zoo.adding import add_file
from zoo.store import Store

PREPROCESSING = "preprocessing:\n  resize: 36\n  crop: 32\n  mean: [0.5, 0.5, 0.5]\n  std: [0.25, 0.25, 0.25]\n"
CHILD = (
    "name: theirs-quant\ntitle: int8\nparent: zoo:theirs\n"
    + PREPROCESSING
    + "data:\n  evaluation: {dataset: made-up, split: test}\n  calibration: {crops: 2}\nsteps:\n  - kind: quantize\n"
)


@pytest.fixture
def folder(tmp_path: Path, float_file: Path, weights: Path) -> Path:
    """A zoo with a float file and a checkpoint that somebody added, and a recipe on the file."""
    add_file(float_file, "theirs", licence="MIT")
    add_file(weights, "weights-of-small")
    (tmp_path / "theirs-quant.yaml").write_text(CHILD)
    return tmp_path


@pytest.fixture
def settings(labelled: Path, plain: Path) -> list[str]:
    return [f"data.evaluation.folder={labelled}", f"data.calibration.folder={plain}"]


def run(recipe: Path, *more: str) -> list[Product]:
    return compress(load(str(recipe), more), Silent())


def test_a_float_file_of_the_zoo_is_quantized_as_it_is(folder: Path, settings: list[str]) -> None:
    (made,) = run(folder / "theirs-quant.yaml", *settings)
    theirs = Store().get("theirs").artifact
    artifact = made.artifact
    assert [stage.name for stage in made.stages] == [
        "take from the zoo", "quantize static-int8", "evaluate the file it is made from", "evaluate the file",
    ]  # fmt: skip
    assert made.given == theirs
    assert artifact.parent is not None
    assert (artifact.parent.digest, artifact.parent.relation) == (theirs.digest, "quantized")
    assert (artifact.variant, artifact.licence) == ("quant", "MIT")
    assert artifact.inputs[0].dtype == "int8"
    assert artifact.size_bytes < 0.35 * theirs.size_bytes
    assert [entry.metric for entry in artifact.accuracy] == ["top1", "top5", "agreement-with-parent"]
    assert artifact.macs == 16 * 16 * (32 * 27 + 32 * 9 + 32 * 384 + 384 * 384) + 384 * CLASSES
    assert artifact.recipe is not None
    assert f"parent: zoo:theirs@sha256:{theirs.digest}" in artifact.recipe.text
    assert "min-max ranges over 4 photos" in " ".join(artifact.notes)


def test_a_recipe_on_top_of_it_and_a_gate(folder: Path, settings: list[str]) -> None:
    path = folder / "theirs-quant-16.yaml"
    path.write_text(
        "name: theirs-quant-16\ntitle: wider\nparent: theirs-quant\nsteps:\n"
        "  - {kind: quantize, scheme: weight-only-int8, keep_float: [nothing], max_ratio: 0.9}\n"
    )
    assert load(str(path)).given is not None
    with pytest.raises(BadInput, match="does not have: 'nothing'"):
        run(path, *settings, "steps.0.scheme=weight-only-int8")


def test_weights_by_reference(folder: Path, recipes: Callable[..., Path], settings: list[str], weights: Path) -> None:
    by_file, by_reference = (
        run(recipes(), *settings, f"weights={text}") for text in (weights, "zoo:weights-of-small:latest")
    )
    assert [p.artifact.digest for p in by_file] == [p.artifact.digest for p in by_reference]
    parent = by_reference[0].artifact.parent
    assert parent is not None
    assert (parent.name, parent.relation) == ("weights-of-small", "exported")
    assert by_file[0].artifact.parent is None
    texts = [products[0].artifact.recipe for products in (by_file, by_reference)]
    assert texts[0] == texts[1]  # the weights are named by content, wherever they came from


def test_the_command_tells_how_much_smaller_it_became(
    folder: Path, settings: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    given = [part for setting in settings for part in ("--set", setting)]
    group.main(["run", str(folder / "theirs-quant.yaml"), *given], prog_name="compress", standalone_mode=False)
    assert "x smaller than theirs" in capfd.readouterr().out
    assert Store().get("theirs-quant").artifact.parent is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("parent: zoo:thiers", "did you mean theirs"),
        ("parent: zoo:theirs:v9", "v9"),
        ("parent: 'zoo:The Irs'", "not a model reference"),
        ("parent: zoo:weights-of-small", "write weights: zoo:weights-of-small"),
        ("parent: zoo:theirs-quant", "has int8 weights already"),
        ("parent: zoo:theirs\nmodel: {architecture: mobilenetv1}", "a model of its own"),
        ("parent: zoo:theirs\nweights: as-built", "weights: needs a network that can be trained"),
        ("parent: zoo:theirs\ntrain: {epochs: 1}", "train"),
    ],
)
def test_what_a_user_gets_wrong(folder: Path, float_file: Path, settings: list[str], change: str, said: str) -> None:
    if "theirs-quant" in change:
        (made,) = run(folder / "theirs-quant.yaml", *settings)
        Store().add(made.artifact, {made.artifact.files[0].name: made.file})
    path = folder / "mine.yaml"
    path.write_text(CHILD.replace("parent: zoo:theirs", change).replace("theirs-quant\n", "mine\n", 1))
    with pytest.raises(BadInput) as caught:
        run(path, *settings)
    assert said in caught.value.as_text()


def test_steps_that_train_and_other_sizes_are_refused_before_anything_slow(folder: Path, settings: list[str]) -> None:
    path = folder / "theirs-quant.yaml"
    for setting, said in (
        ("steps.0.qat={train: {epochs: 1}}", "steps.0: needs a network"),
        ("preprocessing.crop=64", "the file takes 1 x 32 x 32 x 3, the recipe's preprocessing makes 1 x 64 x 64 x 3"),
    ):
        more = ["data.training={kind: mnist}"] if "qat" in setting else []
        with pytest.raises(BadInput) as caught:
            run(path, *settings, *more, setting)
        assert said in caught.value.as_text()
    with pytest.raises(BadInput, match="takes a checkpoint"):
        checkpoint("zoo:theirs", "weights")


def test_a_file_that_was_damaged_in_the_store_is_not_taken(folder: Path, settings: list[str]) -> None:
    path = model_file("zoo:theirs", "").file
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkFailed, match="was changed") as caught:
        run(folder / "theirs-quant.yaml", *settings)
    assert "zoo verify" in caught.value.as_text()
