"""The prune step: what a recipe may say, sparse learning, and the whole way to a smaller file that is judged."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch_pruning
from torch import nn

from compressors.checkpoint import load_into
from compressors.cli import group as cli
from compressors.counting import count, file_macs
from compressors.pipeline import Product, compress
from compressors.progress import Silent
from compressors.prune_section import Distil, Prune, Sparse
from compressors.pruning import losses_of
from compressors.quiet import quiet
from compressors.recipe import load, shipped
from compressors.search.problem import PROTOCOLS, Problem, Solution, Target, protocol
from compressors.steps.distil.objective import Objective
from compressors.steps.prune.sparse import GroupRegulariser
from compressors.steps.prune.spec import read_spec, reshape
from compressors.steps.prune.structure import trace
from compressors.train.loop import CHECKPOINT, train
from compressors.train.task import Task
from compressors.train_section import Train
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors.small_sets import FASHION, needs_fashion
from tests.compressors.structures import grey, made
from tests.compressors.test_train import HOW, squares, weights_of
from zoo import tflite

PARENT = """
name: tiny
title: a slice of Fashion-MNIST
dataset: fashion-mnist
model: {{architecture: "tests.compressors.structures:grey", options: {{classes: 10}}}}
preprocessing: {{resize: null, crop: 28, mean: [0.286], std: [0.353]}}
data:
  training: {{kind: fashion-mnist, folder: {folder}, limit: 2000, held_out: 0.2}}
  calibration: {{samples: 32}}
  evaluation: {{kind: fashion-mnist, dataset: fashion-mnist, split: test, limit: 500}}
train: {{epochs: 4, batch: 32, lr: 0.1, warmup_epochs: 0.5}}
"""
STEP = "  - kind: prune\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pruning")


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Product]]:
    """Runs a child of the float recipe; stages are shared by the tests of this file."""
    monkeypatch.setenv("POCKETZOO_HOME", str(home))

    def run(steps: str, *settings: str) -> list[Product]:
        (tmp_path / "tiny.yaml").write_text(PARENT.format(folder=FASHION))
        path = tmp_path / "tiny-prune.yaml"
        path.write_text(f"name: tiny-prune\ntitle: pruned\nparent: tiny\nsteps:\n{steps}")
        return compress(load(str(path), settings), Silent())

    return run


def top1(product: Product) -> float:
    found = product.artifact.metric("top1")
    assert found is not None
    return found.value


@needs_fashion
def test_pruned_fine_tuned_and_quantized_in_a_chain(run: Callable[..., list[Product]], home: Path) -> None:
    tiny, pruned = run(
        f"{STEP}    target: {{macs: 48}}\n    round_to: 4\n    criterion: l1\n"
        "    finetune: {epochs: 2, batch: 32, lr: 0.05}\n    distil: {temperature: 2.0, weight: 1.0}\n"
        "  - kind: quantize\n    max_ratio: 0.9\n"
    )
    artifact, before = pruned.artifact, tiny.artifact
    assert artifact.macs is not None and before.macs is not None
    assert abs(artifact.macs / before.macs - 0.52) <= 0.01
    assert artifact.parameters is not None and before.parameters is not None
    assert artifact.nonzeros is not None and artifact.nonzeros <= artifact.parameters < before.parameters
    assert file_macs(tflite.inspect(pruned.file)) == artifact.macs
    assert artifact.size_bytes < before.size_bytes
    assert artifact.parent is not None and artifact.parent.relation == "pruned-quantized"
    assert top1(pruned) > 40  # chance is 10; the training is a matter of seconds
    assert "torch-pruning" in artifact.versions
    told = " ".join(artifact.notes)
    assert "taught by the unpruned network at temperature 2" in told
    channels = json.loads(next(n for n in artifact.notes if "prune: channels {" in n).partition("channels ")[2])
    assert all(number % 4 == 0 for number in channels.values())
    # The counts that were noted give the same network again.
    listed = "".join(f"      {name}: {number}\n" for name, number in channels.items())
    _, again = run(f"{STEP}    protocol: channels\n    channels:\n{listed}")
    assert again.artifact.macs == artifact.macs
    folder = next(f for f in (home / "cache" / "compress").iterdir() if (f / "channels.json").is_file())
    network = reshape(grey(), read_spec(folder / "channels.json"))
    load_into(network, folder / "model.safetensors", "tiny")
    assert count(network, (1, 1, 28, 28)).macs == artifact.macs
    # The file computes what the network does.
    note = next(n for n in again.artifact.notes if n.startswith("export: against the torch network"))
    assert "8 with the same top-1" in note


def load_network() -> nn.Module:
    from compressors import architectures

    return architectures.build("mobilenetv1", classes=10, width=0.25, in_channels=1, small_input=True)


@needs_fashion
def test_sparse_learning_and_rounds_of_global_pruning(run: Callable[..., list[Product]]) -> None:
    tiny, pruned = run(
        f"{STEP}    protocol: iterative\n    iterations: 2\n    target: {{speed_up: 1.8}}\n    criterion: group-sl\n"
        "    sparse: {regulariser: group-sl, train: {epochs: 1, batch: 64, lr: 0.02}}\n"
        "    finetune: {epochs: 1, batch: 64, lr: 0.02}\n"
    )
    assert tiny.artifact.macs is not None and pruned.artifact.macs is not None
    assert pruned.artifact.macs <= tiny.artifact.macs / 1.8
    assert pruned.artifact.macs > tiny.artifact.macs / 1.8 - 0.01 * tiny.artifact.macs
    names = [stage.name for stage in pruned.stages]
    assert [name for name in names if "train" not in name][:3] == ["sparse learning", "prune iterative", "fine-tune"]
    told = " ".join(pruned.artifact.notes)
    assert "round 1 of 2" in told and "% after fine-tuning" in told
    assert "strength 0.0005" in told


@needs_fashion
@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("    target: {macs: 97}\n    keep: [stem.0]\n", "target MACs -97 % cannot be reached"),
        ("    target: {macs: 50}\n    round_to: 16\n", "cannot be reached within 1 %"),
        ("    target: {macs: 50}\n    keep: ['*']\n", "nothing in this network can be pruned"),
        ("    protocol: channels\n    channels: {stem.0: 16}\n", "nothing was removed"),
        (
            "    protocol: channels\n    channels: {stem.0: 17}\n",
            "stem.0 cannot keep 17 channels: 1 to 16 are possible",
        ),
        ("    protocol: channels\n    channels: {stem.1: 4}\n", "no channel group 'stem.1'"),
        ("    target: {macs: 50}\n    prunable: paddlex\n", "no prunable set 'paddlex'"),
        ("    target: {macs: 50}\n    prunable: paddlex-yolov3\n", "the set paddlex-yolov3 is of another network"),
        ("    target: {macs: 50}\n    keep: [features.*]\n", "keep: no layer"),
    ],
)
def test_what_cannot_be_done_is_said(run: Callable[..., list[Product]], step: str, message: str) -> None:
    with pytest.raises((WorkFailed, BadInput)) as caught:
        run(f"{STEP}{step}", "train.epochs=1", "data.training.limit=200")
    assert message in caught.value.as_text()
    if "reached" in message:
        assert "at most" in caught.value.as_text()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("    target: {macs: 0}\n", "greater than 0"),
        ("    target: {macs: -5}\n", "greater than 0"),
        ("    target: {macs: 100}\n", "less than 100"),
        ("    target: {parameters: 120}\n", "less than 100"),
        ("    target: {speed_up: 1}\n", "greater than 1"),
        ("    target: {macs: 50, speed_up: 2}\n", "give one of macs"),
        ("    target: {}\n", "give one of macs"),
        ("    protocol: global\n", "needs a target"),
        ("    protocol: channels\n    target: {macs: 50}\n", "belong together"),
        ("    protocol: iterative\n    target: {macs: 50}\n", "needs a finetune section"),
        ("    target: {macs: 50}\n    distil: {}\n", "no finetune section"),
        ("    target: {macs: 50}\n    criterion: l3\n", "criterion"),
        ("    target: {macs: 50}\n    criterium: l1\n", "did you mean criterion"),
        ("    target: {macs: 50}\n    criterion: lasso\n    protocol: global\n", "goes with protocol uniform"),
        (
            "  - kind: quantize\n    scheme: weight-only-int8\n  - kind: prune\n    target: {macs: 5}\n",
            "write it before the quantize step",
        ),
    ],
)
def test_a_step_that_is_wrong_is_bad_input_with_its_line(
    run: Callable[..., list[Product]], step: str, message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        run((STEP if "kind" not in step else "") + step)
    assert message in caught.value.as_text()
    assert "tiny-prune.yaml" in caught.value.as_text()


class Sections:
    """A problem on a tiny network, for protocols."""

    def __init__(self, tmp_path: Path, step: Prune) -> None:
        from compressors.pruning import target_of

        self.model, shape = made("residual")
        structure = trace(self.model, shape)

        def none(*_: object) -> object:
            raise AssertionError("this protocol looks at no data and trains nothing")

        self.problem = Problem(
            model=self.model, structure=structure, target=target_of(step, structure), criterion=step.criterion,
            round_to=step.round_to, evaluate=none, batches=none, train=none,  # type: ignore[arg-type]
            seed=0, progress=Silent(), folder=tmp_path, options=step, shape=shape,
        )  # fmt: skip


@pytest.mark.parametrize("target", [{"macs": 30.0}, {"parameters": 55.0}, {"speed_up": 2.5}])
@pytest.mark.parametrize("name", ["uniform", "global"])
def test_protocols_hold_the_target(tmp_path: Path, name: str, target: dict[str, float]) -> None:
    step = Prune.model_validate({"kind": "prune", "protocol": name, "target": target})
    problem = Sections(tmp_path, step).problem
    problem = replace(problem, structure=trace(mobile := load_network(), (1, 1, 28, 28)), model=mobile)
    from compressors.pruning import target_of

    problem = replace(problem, target=target_of(step, problem.structure))
    solution = protocol(name)(problem)
    assert problem.target.held(problem.structure, solution.kept)
    assert isinstance(solution, Solution)


def test_the_counts_of_mobilenetv1_at_224_are_within_a_percent_of_paddleslims() -> None:
    from compressors import architectures
    from compressors.search.uniform import at_ratio, uniform

    model = architectures.build("mobilenetv1")
    structure = trace(model, (1, 3, 224, 224))
    base = structure.macs({})
    assert round(base / 1e6, 1) == 568.7
    for percent in (50, 60, 70):
        step = Prune.model_validate({"kind": "prune", "target": {"macs": float(percent)}, "criterion": "filter-l1"})
        problem = replace(
            Sections(Path(), step).problem, model=model, structure=structure,
            target=Target("macs", base, base * (1 - percent / 100)),
        )  # fmt: skip
        kept = uniform(problem).kept
        assert abs(1 - structure.macs(kept) / base - percent / 100) < 0.01
        assert kept == at_ratio(problem, 1 - kept["features.12.3"] / 1024) or len(set(kept.values())) > 1


def test_every_protocol_has_a_function() -> None:
    for name in PROTOCOLS:
        assert callable(protocol(name))
    with pytest.raises(BadInput, match="no protocol 'amc'"):
        protocol("amc")


@pytest.mark.parametrize("kind", ["bn", "greg", "group-sl"])
@pytest.mark.parametrize("name", ["residual", "depthwise", "concat"])
def test_gradients_are_torch_prunings(kind: str, name: str) -> None:
    model, shape = made(name)
    other = copy.deepcopy(model)
    sample = torch.randn((4, *shape[1:]), generator=torch.Generator().manual_seed(0))
    for network in (model, other):
        network(sample).square().sum().backward()
    plain = {key: parameter.grad.clone() for key, parameter in model.named_parameters() if parameter.grad is not None}
    mine = GroupRegulariser(trace(model, shape), Sparse.model_validate({"regulariser": kind, "train": {"epochs": 1}}))
    magnitude = torch_pruning.importance.MagnitudeImportance
    types = [nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm]
    last = [other.get_submodule("fc")]
    fresh: dict[str, object] = {"in_channel_groups": {}, "out_channel_groups": {}, "num_heads": {}}
    with quiet():
        if kind == "bn":
            theirs = torch_pruning.pruner.BNScalePruner(
                other, sample, importance=magnitude(p=1), reg=1e-5, ignored_layers=last, **fresh
            )
        elif kind == "greg":
            theirs = torch_pruning.pruner.GrowingRegPruner(
                other, sample, importance=magnitude(p=2, target_types=types), reg=1e-4, delta_reg=1e-5,
                ignored_layers=last, **fresh,
            )  # fmt: skip
        else:
            theirs = torch_pruning.pruner.GroupNormPruner(
                other, sample, importance=magnitude(p=2, normalizer="max", target_types=types), reg=5e-4, alpha=4,
                ignored_layers=last, **fresh,
            )  # fmt: skip
    if kind == "greg":
        mine.after_epoch(model)
        theirs.update_reg()
    mine.after_backward(model)
    theirs.regularize(other)
    changed = 0
    for key, parameter in model.named_parameters():
        theirs_grad = other.get_parameter(key).grad
        assert parameter.grad is not None and theirs_grad is not None
        torch.testing.assert_close(parameter.grad, theirs_grad, rtol=1e-5, atol=1e-7)
        changed += int(not torch.equal(parameter.grad, plain[key]))
    assert changed


def small() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1),
        nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, 4),
    )  # fmt: skip


def greg_task(model: nn.Module) -> Task:
    how = Sparse.model_validate({"regulariser": "greg", "strength": 1e-3, "growth": 1e-2, "train": {"epochs": 1}})
    plan = Train(epochs=3, batch=16, lr=0.05, checkpoint_steps=4)
    regulariser = GroupRegulariser(trace(model, (1, 1, 12, 12)), how)
    return Task("t", squares(128, 0), squares(64, 1), HOW, plan, seed=0, identity="greg", regulariser=regulariser)


KILLED = """
import os, signal, sys
from pathlib import Path
from compressors.progress import Silent
from compressors.train.loop import train
from tests.compressors.test_prune_step import greg_task, small

class Dies(Silent):
    seen = 0
    def advance(self):
        self.seen += 1
        if self.seen == 19:
            os.kill(os.getpid(), signal.SIGKILL)

model = small()
train(model, greg_task(model), Path(sys.argv[1]), Dies())
"""


def test_growing_strengths_survive_a_kill(tmp_path: Path) -> None:
    whole = small()
    done = train(whole, greg_task(whole), tmp_path / "whole", Silent())
    assert done.steps == 24
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        check=False, capture_output=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (tmp_path / "killed" / CHECKPOINT).is_file()
    resumed = small()
    task = greg_task(resumed)
    again = train(resumed, task, tmp_path / "killed", Silent())
    assert again.resumed_at is not None and again.resumed_at >= 16
    assert weights_of(resumed) == weights_of(whole)
    grown = task.regulariser.state() if task.regulariser is not None else {}
    assert all(float(value.max()) > 1e-3 + 1e-2 for value in grown.values())  # it grew before and after the kill


def test_a_teacher_adds_its_softened_answers() -> None:
    teacher, student = nn.Linear(3, 4), nn.Linear(3, 4)
    inputs, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 3, 0])
    objective = Objective(teacher, losses_of(Distil(temperature=4.0, weight=4.0)), Train(epochs=1))
    hard = nn.functional.cross_entropy(student(inputs), labels)
    soft = -((teacher(inputs) / 4).softmax(1) * (student(inputs) / 4).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(objective(student, inputs, labels), hard + 4 * soft)


def test_every_row_of_the_documents_has_its_recipe_and_its_twin() -> None:
    methods = ("l1", "bn", "greg", "norm", "group-sl")
    rows = [f"resnet56-{{}}-prune{speed}x-{method}" for speed in ("2.11", "2.55") for method in methods]
    rows += [f"vgg19-{{}}-prune8.84x-{method}" for method in ("norm", "group-sl")]
    for row in rows:
        network = row.partition("-")[0]
        published, twin = row.format("cifar10" if network == "resnet56" else "cifar100"), row.format("fashion")
        step, short = load(published).recipe.prunes[-1], load(twin).recipe.prunes[-1]
        assert (step.protocol, step.criterion, step.target) == (short.protocol, short.criterion, short.target)
        assert step.protocol == "global" and step.target is not None
        assert f"prune{step.target.speed_up:g}x" in published
        for how in (step.finetune, step.sparse.train if step.sparse else None):
            if how is not None:
                assert (how.epochs, how.batch, how.lr, how.milestones) == (100, 128, 0.01, [60, 80])
        assert step.finetune is not None and step.finetune.weight_decay == 5e-4
        if step.sparse:
            assert step.sparse.train.weight_decay == 0
    for percent in (50, 60, 70):
        for name in (f"mobilenetv1-prune{percent}-uniform", f"mobilenetv1-fashion-prune{percent}-uniform"):
            step = load(name).recipe.prunes[-1]
            assert step.target is not None and step.target.macs == percent
            assert (step.protocol, step.criterion) == ("uniform", "filter-l1")
        how = load(f"mobilenetv1-prune{percent}-uniform").recipe.prunes[-1].finetune
        assert how is not None
        assert (how.epochs, how.batch, how.lr, how.milestones, how.weight_decay) == (120, 256, 0.1, [30, 60, 90], 1e-4)
    wanted = {f"mobilenetv1{twin}-prune{p}-pocketflow" for p in (50, 60, 70, 80) for twin in ("", "-fashion")}
    wanted |= {f"mobilenetv1{twin}-prune{p}-paddlex" for p in (30, 50) for twin in ("", "-fashion")}
    wanted |= {"resnet50-prune2.04x-l1", "resnet50-fashion-prune2.04x-l1"}
    assert wanted <= set(shipped())


def test_the_list_shows_prune_steps() -> None:
    from click.testing import CliRunner

    found = CliRunner().invoke(cli, ["list"])
    assert found.exit_code == 0
    assert "prune global" in found.output
