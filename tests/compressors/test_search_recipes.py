"""Recipes that search for ratios: real images, a small network, the whole way to the file; and the shipped ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compressors.pipeline import Product, compress
from compressors.progress import Silent
from compressors.prune_section import Prune
from compressors.recipe import load, shipped
from compressors.search import sensitivity
from pocketzoo.errors import BadInput
from tests.compressors.small_sets import FASHION, needs_fashion

FLOAT = """
name: tiny
title: a slice of Fashion-MNIST
dataset: fashion-mnist
model: {{architecture: mobilenetv1, options: {{classes: 10, width: 0.125, in_channels: 1}}}}
preprocessing: {{resize: null, crop: 28, mean: [0.286], std: [0.353]}}
data:
  training: {{kind: fashion-mnist, folder: {folder}, limit: 1000, held_out: 0.2}}
  evaluation: {{kind: fashion-mnist, dataset: fashion-mnist, split: test, limit: 200}}
train: {{epochs: 2, batch: 32, lr: 0.05, weight_decay: 1.0e-4, warmup_epochs: 0.5}}
"""
PLAN = "{epochs: 1, batch: 32, lr: 0.01}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("searching")


def write(folder: Path, step: str) -> Path:
    (folder / "tiny.yaml").write_text(FLOAT.format(folder=FASHION))
    path = folder / "tiny-prune.yaml"
    path.write_text(f"name: tiny-prune\ntitle: pruned\nparent: tiny\nsteps:\n  - {{kind: prune, {step}}}\n")
    return path


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Product]]:
    """Runs a pruned child of the float recipe; stages are shared by the tests of this file."""
    monkeypatch.setenv("POCKETZOO_HOME", str(home))
    return lambda step: compress(load(str(write(tmp_path, step))), Silent())


def left(tiny: Product, pruned: Product) -> float:
    assert tiny.artifact.macs is not None and pruned.artifact.macs is not None
    return pruned.artifact.macs / tiny.artifact.macs


def found(home: Path, name: str) -> list[Path]:
    return sorted((home / "cache" / "compress").glob(f"*/{name}"))


@needs_fashion
def test_sensitivity_in_steps_with_training_between(run: Callable[[str], list[Product]], home: Path) -> None:
    tiny, pruned = run(
        "protocol: sensitivity-iterative, criterion: filter-l1, target: {macs: 40}, "
        f"search: {{images: 50, each: 0.2, between: {PLAN}}}"
    )
    assert left(tiny, pruned) == pytest.approx(0.6, abs=0.01)
    told = " ".join(pruned.artifact.notes)
    assert "step 1 of 2, -22.5 %: fitted sensitivity curves of 14 groups" in told
    assert "step 2 of 2, -40.0 %" in told
    curves = sensitivity.read(found(home, "step-2-sensitivity.json")[0])
    assert len(curves.curves) == 14
    assert all(0 <= accuracy <= 1 for curve in curves.curves for accuracy in curve.accuracies)


@needs_fashion
def test_pocketflow_with_group_fine_tuning(run: Callable[[str], list[Product]], home: Path) -> None:
    tiny, pruned = run(
        f"protocol: ddpg-pocketflow-groups, target: {{macs: 50}}, episodes: 6, finetune: {PLAN}, "
        "search: {images: 50, batches: 2, layers_at_once: 7}"
    )
    assert left(tiny, pruned) == pytest.approx(0.5, abs=0.01)
    told = " ".join(pruned.artifact.notes)
    assert "6 roll-outs" in told
    assert "group 2 of 2" in told
    assert "fine-tune: 1 epochs" in told
    rolled = [json.loads(line) for line in found(home, "search-rollouts.jsonl")[0].read_text().splitlines()]
    assert len(rolled) == 6
    assert pruned.artifact.metric("top1") is not None


KILLED = """
import os, signal, sys
from compressors import judging
from compressors.pipeline import compress
from compressors.progress import Silent
from compressors.recipe import load
left = 5
plain = judging.HeldOut.__call__
def dies(self, model, images=None):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, model, images)
judging.HeldOut.__call__ = dies
compress(load(sys.argv[1]), Silent())
"""


@needs_fashion
def test_amc_killed_in_the_middle_gives_the_same_file(
    run: Callable[[str], list[Product]], home: Path, tmp_path: Path
) -> None:
    step = "protocol: ddpg-amc, target: {macs: 30}, round_to: 2, episodes: 8, search: {images: 50, batches: 2}"
    path, before = write(tmp_path, step), found(home, "search-rollouts.jsonl")
    environment = {**os.environ, "POCKETZOO_HOME": str(home)}
    argv = [sys.executable, "-c", KILLED, str(path)]
    dead = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    started = list((home / "cache" / "pruning").glob("*/search/evaluations.jsonl"))
    assert len(started) == 1
    assert len(started[0].read_text().splitlines()) == 1 + 4
    tiny, resumed = run(step)
    assert left(tiny, resumed) == pytest.approx(0.7, abs=0.01)
    # The same search in one go: everything the first one left of the step is forgotten.
    rolled = {path: path.read_text() for path in found(home, "search-rollouts.jsonl") if path not in before}
    ((stage, text),) = rolled.items()
    shutil.rmtree(stage.parent)
    _, whole = run(step)
    assert stage.read_text() == text
    assert whole.artifact.files[0].sha256 == resumed.artifact.files[0].sha256


@needs_fashion
@pytest.mark.parametrize("protocol", ["sensitivity", "ddpg-amc", "ddpg-pocketflow"])
def test_targets_out_of_reach_say_what_is_reachable(run: Callable[[str], list[Product]], protocol: str) -> None:
    criterion = ", criterion: l1" if protocol == "sensitivity" else ""
    with pytest.raises(BadInput, match=r"of the whole cost; (the curves reach|at least) \d+\.\d%"):
        run(f"protocol: {protocol}, target: {{macs: 99.5}}, search: {{images: 50, batches: 1}}{criterion}")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("protocol: ddpg-amc, criterion: l2, target: {macs: 50}", "leave criterion out"),
        ("protocol: sensitivity-iterative, target: {macs: 50}", "needs a finetune section"),
        ("protocol: ddpg-pocketflow-groups, target: {macs: 50}", "needs a finetune section"),
        ("protocol: uniform, target: {macs: 50}, episodes: 3", "episodes are for the ddpg protocols"),
        (f"protocol: sensitivity, target: {{macs: 50}}, search: {{between: {PLAN}}}", "search.between is for"),
        ("protocol: sensitivity, target: {macs: 0}", "greater than 0"),
        ("protocol: sensitivity, target: {macs: 100}", "less than 100"),
        ("protocol: sensitivity, target: {macs: -5}", "greater than 0"),
        ("protocol: sensitivity, target: {macs: 50}, search: {lowest: 1.5}", "less than 1"),
    ],
)
def test_steps_that_make_no_sense(tmp_path: Path, step: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(str(write(tmp_path, step)))
    assert message in caught.value.as_text()


def step_of(name: str) -> Prune:
    step = load(name).recipe.steps[-1]
    assert isinstance(step, Prune)
    return step


ROWS = [
    *(f"prune{percent}-{kind}" for percent in (50, 60, 70, 80) for kind in ("rl", "rl-groups")),
    *(f"prune{percent}-iterative" for percent in (50, 60, 70)),
    "prune50-sensitivity",
    *(f"prune{percent}-stepwise" for percent in (20, 36, 50)),
    "prune50-amc",
]


def test_every_searched_row_has_a_recipe_and_a_twin() -> None:
    wanted = {f"{model}-{row}" for model in ("mobilenetv1", "mobilenetv1-fashion") for row in ROWS}
    assert {*wanted, "mobilenetv2-prune30-amc", "mobilenetv2-fashion-prune30-amc"} <= set(shipped())
    for row in ROWS:
        whole, twin = step_of(f"mobilenetv1-{row}"), step_of(f"mobilenetv1-fashion-{row}")
        assert (whole.protocol, whole.target) == (twin.protocol, twin.target)


def test_the_published_schedules() -> None:
    for row in ROWS:
        step = step_of(f"mobilenetv1-{row}")
        how = step.finetune
        assert how is not None
        if row.endswith("amc"):
            assert (how.epochs, how.batch, how.lr, how.weight_decay, how.schedule) == (150, 256, 0.05, 4e-5, "cosine")
            assert (step.episodes, step.round_to) == (800, 8)
            continue
        if "-rl" in row:
            uniform = step_of(f"mobilenetv1-{row.partition('-')[0]}-pocketflow").finetune
            assert how == uniform, "the same training as its authors' uniform row"
            assert step.episodes == 200
            assert (step.search.group_share, step.search.group_rate) == (0.2, 1e-4)
        else:
            assert (how.epochs, how.lr, how.weight_decay, how.milestones) == (120, 0.1, 1e-4, [30, 60, 90])
            assert (step.criterion, step.search.solver) == ("filter-l1", "fitted")
    for percent, steps in ((50, 10), (60, 13), (70, 17)):
        step = step_of(f"mobilenetv1-prune{percent}-iterative")
        assert step.search.each == 0.07 and step.search.between is not None
        assert len(sensitivity.iterative_targets(percent / 100, 0.07)) == steps
        assert (step.search.between.epochs, step.search.between.lr) == (3, 0.01)


def test_three_steps_of_20_percent_are_a_chain_of_three_rows() -> None:
    chain = load("mobilenetv1-prune50-stepwise").chain
    assert [link.recipe.name for link in chain] == [
        "mobilenetv1", "mobilenetv1-prune20-stepwise", "mobilenetv1-prune36-stepwise", "mobilenetv1-prune50-stepwise",
    ]  # fmt: skip
    left = 1.0
    for step in chain[-1].recipe.steps:
        assert isinstance(step, Prune) and step.target is not None
        left *= step.target.stays
    assert 1 - left == pytest.approx(0.488)
