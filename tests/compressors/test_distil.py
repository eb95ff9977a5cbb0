"""Distillation: its losses against their formulas, the teacher that cannot teach, and answers that are remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compressors.distil_section import Fsp, FspPair, Losses, Soft
from compressors.inputs import Inputs, gather
from compressors.recipe import load, text_of
from compressors.steps.distil.objective import Objective, check, fsp_matrix
from compressors.teacher import gather_teachers
from compressors.train_section import Train
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from tests.compressors.small_sets import FASHION, needs_fashion
from tests.compressors.structures import grey

ONE = Train(epochs=1)


class Two(nn.Module):
    """Two convolutions and a classifier; the second halves the size."""

    def __init__(self, first: int, second: int, classes: int = 4) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(inplace=True))
        self.late = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(second, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.relu(self.late(self.early(x))).mean((2, 3)))
        return found


def pairs(*names: str) -> Fsp:
    first, second, third, fourth = names
    return Fsp(pairs=[FspPair(teacher=[first, second], student=[third, fourth])])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.sampled_from([1, 2, 3]))
def test_an_fsp_matrix_is_the_mean_of_products(first: int, second: int, images: int, times: int) -> None:
    random = torch.Generator().manual_seed(first + 10 * second)
    wide = torch.randn(images, first, 4 * times, 6 * times, generator=random, dtype=torch.float64)
    small = torch.randn(images, second, 4, 6, generator=random, dtype=torch.float64)
    found = fsp_matrix(wide, small)
    pooled = wide.reshape(images, first, 4, times, 6, times).amax((3, 5))
    torch.testing.assert_close(found, (pooled[:, :, None] * small[:, None]).sum((3, 4)) / 24)
    torch.testing.assert_close(fsp_matrix(small, wide), found.transpose(1, 2))


def test_the_losses_add_up() -> None:
    torch.manual_seed(0)
    teacher, student = Two(3, 5).eval(), Two(3, 5).eval()
    inputs, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 3, 0, 1])
    losses = Losses(
        hard=0.5, soft=Soft(temperature=2, weight=3), l2=0.25,
        fsp=pairs("early", "late", "early", "late").model_copy(update={"weight": 7.0}),
    )  # fmt: skip
    found = Objective(teacher, losses, Train(epochs=1, label_smoothing=0.1))(student, inputs, labels)
    mine, theirs = student(inputs), teacher(inputs)

    def matrices(model: Two) -> torch.Tensor:
        early = model.early(inputs)
        late = model.late(early)
        return fsp_matrix(early.clone(), late.clone())

    expected = (
        0.5 * nn.functional.cross_entropy(mine, labels, label_smoothing=0.1)
        - 3 * ((theirs / 2).softmax(1) * (mine / 2).log_softmax(1)).sum(1).mean()
        + 0.25 * (mine - theirs).square().mean()
        + 7 * (matrices(student) - matrices(teacher)).square().mean()
    )
    torch.testing.assert_close(found, expected)
    found.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_network_that_is_its_own_teacher_has_nothing_to_learn_from_it() -> None:
    network = Two(3, 5).eval()
    inputs, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    losses = Losses(hard=0, l2=1.0, fsp=pairs("early", "late", "early", "late"))
    assert float(Objective(network, losses, ONE)(network, inputs, labels).detach()) == 0


def test_answers_are_remembered_by_content_and_are_the_same() -> None:
    teacher, student = Two(3, 5).eval(), Two(3, 5).eval()
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8) % 4
    losses = Losses(soft=Soft(), l2=1.0, fsp=pairs("early", "late", "early", "late"))
    asks, remembers = Objective(teacher, losses, ONE), Objective(teacher, losses, ONE, remember=True)
    for order in (torch.arange(8), torch.tensor([7, 6, 5, 4, 3, 2, 1, 0]), torch.tensor([0, 2, 4, 6])):
        torch.testing.assert_close(
            remembers(student, images[order], labels[order]), asks(student, images[order], labels[order])
        )
    assert (asks.asked, remembers.asked) == (20, 8)
    # One image that is not known, and the teacher is asked again.
    torch.testing.assert_close(remembers(student, images + 1, labels), asks(student, images + 1, labels))
    assert remembers.asked == 16
    full = Objective(teacher, losses, ONE, remember=True)
    full.room = 3 * 4 * (4 + 15)
    full(student, images, labels)
    assert len(full.known) == 3


@pytest.mark.parametrize(
    ("teacher", "losses", "message", "detail"),
    [
        (Two(3, 5, 7), Losses(l2=1.0), "answers with 7 classes, the student s with 4 classes", ""),
        (Two(3, 5), Losses(fsp=pairs("erly", "late", "early", "late")), "teacher names a layer that t does not have",
         "did you mean early"),
        (Two(3, 5), Losses(fsp=pairs("early", "late", "early", "laet")), "student names a layer that s does not have",
         "did you mean late"),
        (Two(6, 3), Losses(fsp=pairs("early", "late", "early", "late")), "early of s has 3 channels and early of t 6",
         "layers of t with 3: late"),
        (Two(3, 8), Losses(fsp=pairs("early", "late", "early", "late")), "late of s has 5 channels and late of t 8",
         "no layer of t has 5 channels"),
        (Two(3, 5), Losses(fsp=pairs("early", "head", "early", "head")), "head of s answers with 4 classes", ""),
        (nn.Conv2d(3, 4, 1), Losses(l2=1.0), "cannot take the student's images of 1 x 8 x 8", ""),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_teach_is_refused(teacher: nn.Module, losses: Losses, message: str, detail: str) -> None:
    with pytest.raises(BadInput) as caught:
        check(Two(3, 5), teacher, (1, 1, 8, 8), losses, ("s", "t"))
    assert message in caught.value.as_text()
    assert detail in caught.value.as_text()


CHILD = """
name: student
title: s
model: {architecture: "tests.compressors.structures:grey", options: {classes: 10}}
weights: as-built
preprocessing: {resize: null, crop: 28, mean: [0.286], std: [0.353]}
data: {training: {kind: fashion-mnist, folder: nowhere}}
steps:
  - kind: distil
    teacher: TEACHER
    train: {epochs: 1}
"""


def loaded(folder: Path, teacher: str) -> None:
    (folder / "student.yaml").write_text(CHILD.replace("TEACHER", teacher))
    gather_teachers(load(str(folder / "student.yaml")), Inputs())


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{recipe: resnet21-fashion}", "did you mean resnet2"),
        ("{recipe: resnet50}", "made for other images than student"),
        ("{recipe: resnet20-fashion-quant-post}", "ends as a quantized file"),
        ("{architecture: resnet20, weights: missing.safetensors}", "no such weights file"),
        ("{architecture: resnet20}", "needs weights"),
        ("{recipe: resnet20-fashion, architecture: resnet20}", "give one of the two"),
        ("{recipe: resnet20-fashion, settings: {train: {epoch: 3}}}", "did you mean train.epochs"),
        ("{weights: zoo:nothing}", "give one of the two"),
    ],
)
def test_what_a_recipe_says_wrong_about_its_teacher_is_bad_input(
    tmp_path: Path, teacher: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    with pytest.raises(BadInput) as caught:
        loaded(tmp_path, teacher)
    assert message in caught.value.as_text()
    assert "student.yaml" in caught.value.as_text()


def test_a_teacher_of_other_classes_is_refused_before_any_training(tmp_path: Path) -> None:
    from compressors.checkpoint import write_state

    write_state(grey(7), tmp_path / "seven.safetensors")
    network = 'architecture: "tests.compressors.structures:grey", options: {classes: 7}'
    teacher = f"{{{network}, weights: {tmp_path}/seven.safetensors}}"
    with pytest.raises(BadInput) as caught:
        loaded(tmp_path, teacher)
    assert "both must know the same classes" in caught.value.as_text()


@needs_fashion
def test_a_teachers_checkpoint_is_told_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    from compressors.checkpoint import write_state

    write_state(grey(10), tmp_path / "ten.safetensors")
    network = 'architecture: "tests.compressors.structures:grey", options: {classes: 10}'
    text = CHILD.replace("nowhere", str(FASHION)).replace("TEACHER", f"{{{network}, weights: ten.safetensors}}")
    (tmp_path / "student.yaml").write_text(text)
    student = load(str(tmp_path / "student.yaml"))
    found = gather(student)
    (teacher,) = gather_teachers(student, found).values()
    # The same images for both; the seed draws those that are held out.
    assert (teacher.recipe.data.training, teacher.recipe.seed) == (student.recipe.data.training, student.recipe.seed)
    assert found.identities["steps.0.teacher.weights"] == f"sha256:{sha256_file(tmp_path / 'ten.safetensors')}"
    told = text_of(student.recipe, found.identities)
    assert str(tmp_path) not in told and found.identities["steps.0.teacher.weights"] in told
