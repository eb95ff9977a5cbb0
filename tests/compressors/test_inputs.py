"""A recipe's files: found, split, identified, and refused with the setting that mends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from compressors import architectures
from compressors.cache import StageCache
from compressors.checkpoint import read_state, write_state
from compressors.data.dataset import Photos
from compressors.inputs import Inputs, gather
from compressors.progress import Silent
from compressors.recipe import AS_BUILT, load
from compressors.stages import WEIGHTS, Stages
from pocketzoo.errors import BadInput
from tests.compressors.conftest import save_photo
from tests.compressors.small_sets import write_cifar10, write_folders, write_idx

PARENT = """\
name: tiny
title: tiny
model:
  architecture: mobilenetv1
  options: {width: 0.1, classes: 10, in_channels: 1, small_input: true}
preprocessing: {resize: null, crop: 28, mean: [0.5], std: [0.5]}
data:
  training: {kind: fashion-mnist, folder: DATA, held_out: 0.25}
  evaluation: {kind: fashion-mnist, dataset: fashion-mnist, split: test}
train: {epochs: 1, batch: 8}
"""
CHILD = """\
name: tiny-quant
title: int8
parent: tiny
data:
  calibration: {samples: 12}
steps:
  - kind: quantize
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Callable[..., Inputs]:
    """Gathers the inputs of a small recipe that trains (``tiny``), or of its int8 child."""
    write_idx(tmp_path / "DATA")
    (tmp_path / "tiny.yaml").write_text(PARENT)
    (tmp_path / "tiny-quant.yaml").write_text(CHILD)

    def found(name: str = "tiny", *settings: str) -> Inputs:
        return gather(load(str(tmp_path / f"{name}.yaml"), settings))

    return found


def test_a_recipe_that_trains_gets_training_held_out_and_judging_images(recipes: Callable[..., Inputs]) -> None:
    found = recipes()
    assert found.training is not None and found.held_out is not None and found.judging is not None
    assert (len(found.training.labels), len(found.held_out.labels), len(found.judging.labels)) == (30, 10, 20)
    assert not set(found.training.indices) & set(found.held_out.indices)
    assert np.bincount(found.held_out.labels).tolist() == [1] * 10
    assert (found.weights, found.weights_sha256) == (None, AS_BUILT)
    assert set(found.identities) == {"data.training.folder", "data.evaluation.folder"}
    assert found.identities["data.evaluation.folder"] == f"sha256:{found.evaluation_sha256}"
    assert found.identities["data.training.folder"] == found.training.whole.identity


def test_the_seed_chooses_what_is_held_out_and_a_limit_how_much_there_is(recipes: Callable[..., Inputs]) -> None:
    first, same, other = (recipes("tiny", f"seed={seed}").held_out for seed in (0, 0, 1))
    assert first is not None and same is not None and other is not None
    assert first.identity == same.identity != other.identity
    found = recipes("tiny", "data.training.limit=20", "data.evaluation.limit=10", "data.training.held_out=0.5")
    assert found.training is not None and found.held_out is not None and found.judging is not None
    assert [np.bincount(part.labels).tolist() for part in (found.training, found.held_out, found.judging)] == [
        [1] * 10
    ] * 3


def test_calibration_draws_from_what_is_trained_on_and_not_from_what_judges(recipes: Callable[..., Inputs]) -> None:
    found = recipes("tiny-quant")
    assert found.training is not None and found.calibrating is not None and found.held_out is not None
    assert len(found.calibrating.labels) == 12
    assert set(found.calibrating.indices) <= set(found.training.indices)
    assert found.calibration_sha256 == found.calibrating.identity
    assert found.calibration == ()


def test_photos_of_its_own_calibrate_where_they_are_given(recipes: Callable[..., Inputs], plain: Path) -> None:
    found = recipes("tiny-quant", f"data.calibration.folder={plain}")
    assert len(found.calibration) == 4
    assert found.calibrating is None


def test_given_weights_are_not_trained_and_need_no_training_images(
    recipes: Callable[..., Inputs], tmp_path: Path
) -> None:
    (tmp_path / "w.pth").write_bytes(b"x")
    settings = (f"weights={tmp_path / 'w.pth'}", "data.training.folder=null", f"data.evaluation.folder={tmp_path}/DATA")
    recipe = load(str(tmp_path / "tiny.yaml"), settings).recipe
    assert not recipe.trains_float
    found = recipes("tiny", *settings)
    assert (found.training, found.held_out) == (None, None)
    assert found.weights == tmp_path / "w.pth"
    assert recipes("tiny", "weights=as-built").training is None
    # A step that is trained needs them all the same.
    aware = "steps.0.qat={train: {epochs: 1}}"
    assert recipes("tiny-quant", settings[0], aware).training is not None


def test_labelled_photos_judge_as_a_data_set(recipes: Callable[..., Inputs], labelled: Path) -> None:
    found = recipes("tiny", "data.evaluation.kind=null", f"data.evaluation.folder={labelled}")
    assert isinstance(found.judging, Photos)
    assert found.judging.photos == found.evaluation
    assert found.judging.labels.tolist() == [photo.label for photo in found.evaluation]
    fewer = recipes(
        "tiny", "data.evaluation.kind=null", f"data.evaluation.folder={labelled}", "data.evaluation.limit=5"
    )
    assert len(fewer.evaluation) == 5
    assert fewer.evaluation_sha256 != found.evaluation_sha256


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("tiny", ["data.training.folder=null"], "--set data.training.folder=FOLDER, or --set weights=FILE"),
        ("tiny", ["data.training.folder={tmp}/none"], "no such folder"),
        ("tiny", ["model.options.classes=7"], "too many classes: the data has 10, the model 7"),
        ("tiny", ["model.options.classes=70"], "too few classes: the data has 10, the model 70"),
        ("tiny", ["data.training.kind=cifar10"], "no data_batch_1.bin"),
        ("tiny", ["data.training.held_out=0.9"], "leaves nothing to learn class 'T-shirt/top' from"),
        ("tiny", ["train=null"], "--set weights=FILE"),
        ("tiny-quant", ["data.training.folder=null", "weights=as-built"], "or data.training.folder to draw them from"),
        ("tiny", ["data.evaluation.kind=null", "data.evaluation.folder={tmp}/huge"], "label 99999999999 in a file"),
    ],
)
def test_what_is_missing_or_wrong(
    recipes: Callable[..., Inputs], tmp_path: Path, name: str, settings: list[str], said: str
) -> None:
    save_photo(tmp_path / "huge" / "x_99999999999.png", 1)
    with pytest.raises(BadInput) as caught:
        recipes(name, *(text.format(tmp=tmp_path) for text in settings))
    assert said in caught.value.as_text()


def test_another_data_set_of_the_same_recipe_has_another_identity(
    recipes: Callable[..., Inputs], tmp_path: Path
) -> None:
    write_cifar10(tmp_path / "cifar")
    settings = [
        f"data.{part}.{key}"
        for part in ("training", "evaluation")
        for key in ("kind=cifar10", f"folder={tmp_path}/cifar")
    ]
    first, second = recipes(), recipes("tiny", *settings)
    assert first.identities.keys() == second.identities.keys()
    assert not set(first.identities.values()) & set(second.identities.values())


def test_a_training_may_begin_with_a_checkpoint(recipes: Callable[..., Inputs], tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"x")
    found = recipes("tiny", f"start.checkpoint={tmp_path / 'w.pth'}", "start.drop_classifier=true")
    assert found.start == tmp_path / "w.pth"
    assert found.identities["start.checkpoint"] == f"sha256:{found.start_sha256}"
    assert found.training is not None
    with pytest.raises(BadInput, match="no such file") as caught:
        recipes("tiny", f"start.checkpoint={tmp_path / 'none.pth'}")
    assert "--set start.checkpoint=FILE" in caught.value.as_text()
    with pytest.raises(BadInput) as caught:
        recipes("tiny", f"start.checkpoint={tmp_path / 'w.pth'}", "train=null")
    assert "start says what a training begins with" in caught.value.as_text()


def test_a_list_of_classes_is_a_file_of_the_recipe(recipes: Callable[..., Inputs], tmp_path: Path) -> None:
    write_folders(tmp_path / "photos")
    listed = tmp_path / "synsets.txt"
    listed.write_text("cat\nant\nbee\n")
    settings = [
        "data.training.kind=imagenet", "data.evaluation.kind=imagenet", "model.options.classes=3",
        f"data.training.folder={tmp_path / 'photos'}", f"data.training.class_list={listed}",
    ]  # fmt: skip
    found = recipes("tiny", *settings)
    assert found.judging is not None and found.training is not None
    assert found.judging.classes == found.training.classes == ("cat", "ant", "bee")
    assert found.identities["data.training.class_list"].startswith("sha256:")
    with pytest.raises(BadInput, match="no such file"):
        recipes("tiny", *settings[:-1], "data.training.class_list=none.txt")


def test_what_a_training_begins_with_is_the_checkpoint_less_its_classifier(tmp_path: Path) -> None:
    write_idx(tmp_path / "DATA")
    (tmp_path / "tiny.yaml").write_text(PARENT)
    options = {"width": 0.1, "in_channels": 1, "small_input": True}
    source = architectures.build("mobilenetv1", classes=7, **options)
    write_state(source, tmp_path / "w.safetensors")
    settings = [f"start.checkpoint={tmp_path / 'w.safetensors'}"]

    def built(*more: str) -> Mapping[str, torch.Tensor]:
        loaded = load(str(tmp_path / "tiny.yaml"), [*settings, *more])
        stages = Stages(loaded.recipe, gather(loaded), Silent(), StageCache(tmp_path / "cache"), set())
        return read_state(stages.build().file(WEIGHTS))

    state = built("start.drop_classifier=true")
    assert torch.equal(state["features.3.3.weight"], source.state_dict()["features.3.3.weight"])
    assert state["classifier.1.weight"].shape[0] == 10
    with pytest.raises(BadInput, match="not one of mobilenetv1") as caught:
        built()
    assert "--set start.drop_classifier=true" in caught.value.as_text()
