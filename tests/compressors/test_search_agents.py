"""The agents: what the environments say, budgets that hold, the same search from one seed and after kill -9."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors.progress import Silent
from compressors.search.amc import AmcEnvironment
from compressors.search.budget import Budget, Counts, choices
from compressors.search.course import Course, Layer
from compressors.search.ddpg import AMC, POCKETFLOW, Agent, Learner, Step, truncated_normal
from compressors.search.pocketflow import PocketFlowEnvironment
from compressors.search.rollouts import CHECKPOINT, EVALUATIONS, Environment, Found, search
from pocketzoo.errors import BadInput

CHANNELS = {"a": 64, "b": 128, "c": 128, "d": 192}
SIZES = (16, 16, 8, 8, 1)  # of each layer's output, the last is linear


def layer_costs(counts: Mapping[str, int]) -> list[float]:
    """MACs of four 3x3 or 1x1 convolutions and a classifier."""
    sides = [3, *counts.values(), 10]
    areas = [9, 1, 1, 1, 1]
    return [i * o * s * s * a for i, o, s, a in zip(sides, sides[1:], SIZES, areas, strict=False)]


def cost(counts: Mapping[str, int]) -> float:
    return float(sum(layer_costs(counts)))


def course(share: float, *, lowest: float = 0.2, round_to: int = 8, amc: bool = True) -> Course:
    options = {group: choices(count, lowest, round_to) for group, count in CHANNELS.items()}
    sides = [3, *CHANNELS.values(), 10]
    layers = tuple(
        Layer(name=f"layer{n}", kind="linear" if n == 4 else "conv", group=group, inputs=sides[n], outputs=sides[n + 1],
              height=SIZES[n], width=SIZES[n], stride=0 if n == 4 else 1, kernel=3 if n == 0 else 1,
              weights=sides[n] * sides[n + 1] * (9 if n == 0 else 1), cost=layer_costs(CHANNELS)[n])
        for n, group in enumerate([None, *CHANNELS])
    )  # fmt: skip
    whole = frozenset() if amc else frozenset({"d"})
    return Course(layers, Budget(cost, share * cost(CHANNELS), options), round_up=amc, lowest=lowest, whole=whole)


def accuracy(counts: Mapping[str, int]) -> float:
    """Group b matters most, c hardly at all."""
    weight = {"a": 0.2, "b": 0.6, "c": 0.02, "d": 0.18}
    return sum(weight[group] * math.sqrt(count / CHANNELS[group]) for group, count in counts.items())


def run(folder: Path, episodes: int, learner: Learner, seed: int = 1, share: float = 0.5) -> Found:
    environment: Environment = (
        AmcEnvironment(course(share)) if learner.hidden == AMC.hidden else PocketFlowEnvironment(
            course(share, lowest=0.1, round_to=1, amc=False))
    )  # fmt: skip
    return search(
        environment, learner, accuracy, folder, Silent(), seed=seed, identity="toy", episodes=episodes,
        checkpoint_every=5,
    )  # fmt: skip


QUICK = replace(AMC, random=10)


def test_states_are_those_of_amc() -> None:
    environment = AmcEnvironment(course(0.5))
    first = environment.state(0, {}, 1.0)
    assert first.shape == (10,)
    #       index, type, in, out, stride, kernel, weights, reduced
    assert first[:2].tolist() == [0, 0]
    assert first[2] == 0  # 3 inputs are the fewest
    assert first[7] == 0
    assert first[8] == pytest.approx(1 - layer_costs(CHANNELS)[0] / cost(CHANNELS))
    assert first[9] == 1
    last = environment.state(4, {"a": 16, "b": 128, "c": 128}, 0.5)
    assert last[0] == last[1] == 1
    assert last[7] == pytest.approx(1 - cost({**CHANNELS, "a": 16}) / cost(CHANNELS))
    assert last[8:].tolist() == [0, 0.5]
    table = np.stack([environment.state(number, {}, 1.0)[:7] for number in range(5)])
    assert table.min() == 0
    assert table.max() == 1


def test_states_are_those_of_pocketflow() -> None:
    environment = PocketFlowEnvironment(course(0.5, lowest=0.1, round_to=1, amc=False))
    table = np.stack([environment.state(number, {}, 1.0) for number in range(5)])
    assert table.shape == (5, 8)
    assert table.max(0).tolist() == [1] * 8
    assert table[0, 6] == table[4, 6] == 0  # nothing of the first and of the last layer's input may go


def test_rewards() -> None:
    amc, flow = AmcEnvironment(course(0.5)), PocketFlowEnvironment(course(0.5, amc=False))
    assert amc.reward(0.7, 1e6) == flow.reward(0.7, 1e6) == 0.7
    assert replace(amc, reward_by="accuracy-and-cost").reward(0.7, 1e6) == pytest.approx(-0.3 * math.log(1e6))
    assert replace(flow, reward_by="accuracy-and-cost").reward(0.9, 1e6) == pytest.approx(-0.15 * math.log(1e6))
    with pytest.raises(ValueError, match="smaller unit"):
        replace(amc, reward_by="accuracy-and-cost").reward(0.7, 0.5)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0.2, 0.9), st.booleans())
def test_whatever_the_actions_the_budget_holds(actions: list[float], share: float, amc: bool) -> None:
    made = course(share, lowest=0.2 if amc else 0.1, round_to=8 if amc else 1, amc=amc)
    if made.budget.cost(made.least) > made.budget.target:
        with pytest.raises(BadInput, match="stay when every group keeps as little"):
            made.bounded.check()
        return
    decided: Counts = {}
    for number, action in enumerate(actions):
        decided, ratio = made.carried_out(number, decided, action)
        assert 0 < ratio <= 1
    assert set(decided) == set(CHANNELS)
    assert cost(decided) <= made.budget.target
    if not amc:
        assert decided["d"] == CHANNELS["d"]
    try:
        settled = made.bounded.settle(decided)
    except BadInput as error:
        assert amc and "cannot be met within 1% of the whole cost" in error.what
        return
    assert abs(cost(settled) - made.budget.target) <= 0.01 * cost(CHANNELS)


def test_amc_rounds_up_to_multiples_of_8() -> None:
    made = course(0.9)
    assert made.carried_out(1, {}, 0.27)[0] == {"a": 24}
    assert made.carried_out(1, {}, 0.25) == ({"a": 16}, 0.25)
    assert made.carried_out(1, {}, 1.0)[0] == {"a": 64}
    assert made.carried_out(0, {}, 0.2) == ({}, 1.0)  # the image is not pruned
    assert made.carried_out(2, {"b": 24}, 0.9) == ({"b": 24}, 24 / 128)  # decided by another reader before


def test_a_search_of_milliseconds_works_alike(tmp_path: Path) -> None:
    def milliseconds(counts: Mapping[str, int]) -> float:  # a step every 16 channels, as vector units make them
        return 1e-6 * cost({group: math.ceil(count / 16) * 16 for group, count in counts.items()}) + 0.05

    made = course(0.5)
    timed = Budget(milliseconds, 0.6 * milliseconds(CHANNELS), made.budget.options)
    environment = AmcEnvironment(replace(made, budget=timed))
    found = search(environment, QUICK, accuracy, tmp_path, Silent(), seed=0, identity="ms", episodes=30)
    assert milliseconds(found.best.counts) <= timed.target
    assert all(rolled.cost <= timed.target for rolled in found.history)


@pytest.mark.parametrize("learner", [QUICK, replace(POCKETFLOW, batch=16)], ids=["amc", "pocketflow"])
def test_one_seed_gives_one_search_and_another_another(tmp_path: Path, learner: Learner) -> None:
    first, again, other = (run(tmp_path / name, 30, learner, seed) for name, seed in (("1", 1), ("2", 1), ("3", 2)))
    assert first == again
    assert first.history != other.history


@pytest.mark.parametrize("learner", [AMC, POCKETFLOW], ids=["amc", "pocketflow"])
def test_an_agent_finds_what_matters(tmp_path: Path, learner: Learner) -> None:
    """Better than the mean of actions at random, and the layer that matters keeps more than the one that does not."""
    learner = replace(learner, random=min(learner.random, 30))
    found = run(tmp_path, 120, learner)
    early = np.mean([rolled.accuracy for rolled in found.history[:30]])
    late = np.mean([rolled.accuracy for rolled in found.history[-30:]])
    assert late > early
    shares = {group: found.best.counts[group] / count for group, count in CHANNELS.items()}
    assert shares["b"] > shares["c"]


def test_an_agent_learns_which_action_is_rewarded() -> None:
    """One state, one action, a reward with a peak at 0.7: the actor goes there."""
    learner = replace(AMC, random=100, actor_rate=1e-3, critic_rate=1e-2, hidden=64)
    agent = Agent(2, 1, learner, (0.0, 1.0), 0, 600)
    state = np.ones(2, np.float32)
    for episode in range(600):
        agent.begin(episode)
        action = agent.act(state, episode)
        agent.learn([Step(state, action, state)], 1 - 4 * (action - 0.7) ** 2, episode)
    with torch.no_grad():
        assert agent.actor(torch.from_numpy(state)[None]).item() == pytest.approx(0.7, abs=0.1)


KILLED = """
import os, signal, sys
from pathlib import Path
from compressors.progress import Silent
from tests.compressors import test_search_agents as toy
left = int(sys.argv[2])
def dies(counts):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(counts)
plain, toy.accuracy = toy.accuracy, dies
toy.run(Path(sys.argv[1]), 40, toy.QUICK)
"""


def test_a_killed_search_goes_on_to_the_same_counts(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 40, QUICK)
    moment = int(np.random.default_rng(int.from_bytes(os.urandom(4), "big")).integers(2, whole.candidates))
    argv = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(moment)]
    dead = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    known = len((tmp_path / "killed" / EVALUATIONS).read_text().splitlines()) - 1
    assert known == moment - 1, "each answer is on the disk before the next is asked for"
    assert run(tmp_path / "killed", 40, QUICK) == whole, f"killed at evaluation {moment}"
    lines = (tmp_path / "killed" / EVALUATIONS).read_text().splitlines()[1:]
    asked = [json.dumps(json.loads(line)["counts"]) for line in lines]
    assert len(set(asked)) == len(asked) == whole.candidates


def test_a_checkpoint_of_another_search_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 10, QUICK)
    with pytest.raises(BadInput, match="checkpoint is of another search"):
        run(tmp_path, 10, QUICK, seed=2)
    with pytest.raises(BadInput, match="checkpoint is of another search"):
        run(tmp_path, 10, QUICK, share=0.6)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadInput, match="damaged checkpoint") as caught:
        run(tmp_path, 10, QUICK)
    assert str(path) in str(caught.value.hint)


def test_an_unreachable_target_ends_before_anything_is_evaluated(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="stay when every group keeps as little as it may"):
        run(tmp_path, 10, QUICK, share=0.01)
    assert not (tmp_path / EVALUATIONS).exists()


def test_groups_that_nothing_reads_are_a_mistake() -> None:
    made = course(0.5)
    with pytest.raises(ValueError, match="no layer reads: d"):
        replace(made, layers=made.layers[:-1])


@given(st.floats(0, 1), st.floats(1e-9, 10), st.floats(0, 1, exclude_max=True))
def test_a_truncated_normal_stays_inside(mean: float, sigma: float, drawn: float) -> None:
    assert 0.2 <= truncated_normal(mean, sigma, 0.2, 1.0, drawn) <= 1.0


def test_a_truncated_normal_has_its_moments() -> None:
    random = np.random.default_rng(0)
    drawn = [truncated_normal(0.5, 0.1, 0.0, 1.0, float(random.random())) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.01)
    assert np.std(drawn) == pytest.approx(0.1, abs=0.01)


def test_noise_shrinks_as_published() -> None:
    amc, flow = (Agent(2, 3, learner, (0.2, 1.0), 0, 200) for learner in (AMC, POCKETFLOW))
    assert amc.sigma(100) == 0.5
    assert amc.sigma(120) == pytest.approx(0.5 * 0.95**20)
    assert (flow.sigma(0), flow.sigma(199)) == (1.0, pytest.approx(1e-5))
