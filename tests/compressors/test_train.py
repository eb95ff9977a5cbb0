"""Training: the same result in one go and after kill -9, an honest log, and a loss that breaks is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compressors.data.dataset import Arrays
from compressors.progress import Silent
from compressors.sections import Train
from compressors.train import checkpoint, log
from compressors.train.checkpoint import Position
from compressors.train.loop import CHECKPOINT, LOG, Task, train
from compressors.train.schedule import learning_rate
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_bytes
from zoo.artifact import Preprocessing

HOW = Preprocessing(resize=None, crop=12, mean=(0.5,), std=(0.25,))
PLAN = Train(epochs=3, batch=16, lr=0.05, checkpoint_steps=4)


def squares(count: int, seed: int) -> Arrays:
    """Grey images with a bright square; its quarter of the image is the class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 4
    images = random.integers(0, 60, (count, 12, 12, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = 6 * (label // 2) + 1, 6 * (label % 2) + 1
        image[top : top + 4, left : left + 4] += 150
    return Arrays(images, labels, ("a", "b", "c", "d"), Path("made-up"))


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8 * 36, 4),
    )


def task(plan: Train = PLAN, **changes: object) -> Task:
    return Task("t", squares(256, 0), squares(64, 1), HOW, plan, seed=0, **changes)  # type: ignore[arg-type]


def weights_of(model: nn.Module) -> str:
    return sha256_bytes(b"".join(value.numpy().tobytes() for value in model.state_dict().values()))


def test_it_learns_and_the_log_says_how(tmp_path: Path) -> None:
    model = network()
    done = train(model, task(), tmp_path, Silent())
    assert done.accuracy > 95
    assert (done.epochs, done.steps, done.resumed_at) == (3, 48, None)
    assert not model.training
    lines = log.read(tmp_path / LOG)
    epochs = [line for line in lines if line["kind"] == "epoch"]
    steps = [line for line in lines if line["kind"] == "steps"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert steps[-1]["step"] == 48
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert all(line["images_per_s"] > 0 and line["lr"] > 0 for line in lines)
    assert epochs[done.kept - 1]["accuracy"] == done.accuracy == max(line["accuracy"] for line in epochs)


KILLED = """
import os, signal, sys
from pathlib import Path
from compressors.progress import Silent
from compressors.train.loop import train
from tests.compressors.test_train import network, task

class Dies(Silent):
    left = int(sys.argv[2])
    def advance(self):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

train(network(), task(), Path(sys.argv[1]), Dies())
"""


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = network()
    train(whole, task(), tmp_path / "whole", Silent())
    moment = int(np.random.default_rng(int.from_bytes(os.urandom(4), "big")).integers(2, 47))
    argv = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(moment)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    dead = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    resumed = network()
    done = train(resumed, task(), tmp_path / "killed", Silent())
    assert weights_of(resumed) == weights_of(whole), f"killed in step {moment}"
    if moment > 4:
        assert done.resumed_at is not None
        assert done.resumed_at % 4 == 0
    both = [[(line["step"], line["loss"]) for line in log.read(tmp_path / name / LOG) if line["kind"] == "epoch"]
            for name in ("whole", "killed")]  # fmt: skip
    assert both[0] == both[1]


@pytest.mark.parametrize(
    "plan",
    [
        PLAN.model_copy(update={"optimizer": "adam", "lr": 0.002, "ema": 0.9}),
        PLAN.model_copy(update={"precision": "bfloat16", "label_smoothing": 0.1, "nesterov": True, "keep": "last"}),
        PLAN.model_copy(update={"schedule": "step", "milestones": [1.0, 2.5], "warmup_epochs": 0.5}),
    ],
)
def test_every_option_learns_and_resumes(tmp_path: Path, plan: Train) -> None:
    class Stop(Exception):
        pass

    class Stops(Silent):
        left = 22

        def advance(self) -> None:
            self.left -= 1
            if not self.left:
                raise Stop

    whole, resumed = network(), network()
    done = train(whole, task(plan), tmp_path / "whole", Silent())
    assert done.accuracy > 90
    with pytest.raises(Stop):
        train(network(), task(plan), tmp_path / "stopped", Stops())
    again = train(resumed, task(plan), tmp_path / "stopped", Silent())
    assert again.resumed_at == 20
    assert weights_of(whole) == weights_of(resumed)


def test_a_loss_that_breaks_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    calls = []

    def objective(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return nn.functional.cross_entropy(model(inputs), labels) * (float("nan") if len(calls) == 23 else 1.0)

    with pytest.raises(WorkFailed, match=r"loss became nan at step 23 \(epoch 2\)") as caught:
        train(network(), task(objective=objective), tmp_path, Silent())
    assert "last good checkpoint" in caught.value.as_text()
    kept = checkpoint.load(tmp_path / CHECKPOINT, task().settings)
    assert kept is not None
    assert kept[0].step == 20
    assert all(bool(value.isfinite().all()) for value in kept[1].values())


def test_it_stops_early_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"epochs": 50, "early_stop": 2})
    model = network()
    done = train(model, task(plan), tmp_path, Silent())
    assert done.epochs == done.kept + 2 < 50


def test_a_checkpoint_of_another_training_is_refused_and_a_damaged_one_too(tmp_path: Path) -> None:
    train(network(), task(), tmp_path, Silent())
    with pytest.raises(BadInput, match="other settings"):
        train(network(), task(PLAN.model_copy(update={"lr": 0.01})), tmp_path, Silent())
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match="damaged"):
        train(network(), task(), tmp_path, Silent())


def test_a_batch_larger_than_the_data(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a batch of 999 from 256 training images"):
        train(network(), task(PLAN.model_copy(update={"batch": 999})), tmp_path, Silent())


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """What ``accelerate launch`` starts on two GPUs, here on two CPUs: both end with the same weights."""
    program = tmp_path / "together.py"
    program.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from compressors.progress import Silent\n"
        "from compressors.train.loop import train\n"
        "from tests.compressors.test_train import network, task, weights_of\n"
        "model = network()\n"
        "done = train(model, task(), Path(sys.argv[1]), Silent())\n"
        "rank = os.environ['RANK']\n"
        "Path(sys.argv[1], f'rank{rank}').write_text(f'{weights_of(model)} {done.accuracy}')\n"
    )
    # On several CPUs accelerate's own launcher wants MPI; on GPUs it starts this one, with these arguments.
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
            str(program), str(tmp_path)]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ((tmp_path / f"rank{rank}").read_text().split() for rank in (0, 1))
    assert first == second
    assert float(first[1]) > 95


@given(
    step=st.integers(0, 1000), per_epoch=st.integers(1, 100), epochs=st.integers(2, 50), warmup=st.floats(0, 1.5),
    schedule=st.sampled_from(["cosine", "step", "constant"]),
)  # fmt: skip
def test_the_learning_rate_lies_between_nothing_and_its_top(
    step: int, per_epoch: int, epochs: int, warmup: float, schedule: str
) -> None:
    plan = Train(epochs=epochs, lr=0.3, warmup_epochs=warmup, schedule=schedule, milestones=[1, 2])  # type: ignore[arg-type]
    assert 0 <= learning_rate(plan, step, per_epoch) <= 0.3 + 1e-12


def test_the_published_schedules() -> None:
    step = Train(epochs=90, lr=0.1, schedule="step", milestones=[30, 60])
    assert [round(learning_rate(step, 10 * epoch, 10), 6) for epoch in (0, 29, 30, 60, 89)] == [
        0.1, 0.1, 0.01, 0.001, 0.001,
    ]  # fmt: skip
    cosine = Train(epochs=10, lr=1.0, warmup_epochs=1)
    assert [round(learning_rate(cosine, at, 4), 3) for at in (0, 3, 4, 22, 40)] == [0.25, 1.0, 1.0, 0.5, 0.0]


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    tensor = {"w": torch.ones(2)}
    state = {"state": {0: {"momentum_buffer": torch.zeros(2), "step": 3}}, "param_groups": []}
    checkpoint.save(tmp_path / "c", Position("s", step=5), tensor, state, {}, tensor)
    found = checkpoint.load(tmp_path / "c", "s")
    assert found is not None
    assert found[0] == Position("s", step=5)
    assert found[2][0]["step"] == 3
    assert torch.equal(found[4]["w"], tensor["w"])
    assert b"pickle" not in (tmp_path / "c").read_bytes()
