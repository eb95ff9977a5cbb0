"""Deep deterministic policy gradient (Lillicrap et al., 2016, arXiv:1509.02971) for a search with one action a step.

As PocketFlow and AMC use it: actor and critic of two hidden layers, soft target networks, a replay of all steps, the
reward of the whole roll-out copied to each of its steps, a moving average of the rewards taken off. The two differ in
their noise: PocketFlow disturbs the actor's parameters (Plappert et al., 2018, arXiv:1706.01905), AMC draws the action
from a normal distribution cut at the bounds.

Everything random comes from one generator whose state is part of :meth:`Agent.state`, so an agent that is restored
goes on exactly as it would have.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Vector = NDArray[np.float32]
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Learner:
    """How an agent learns and explores.

    Attributes:
        hidden: units of both hidden layers.
        layer_norm: after each hidden layer (with parameter noise, so that one noise suits all layers).
        actor_rate, critic_rate: Adam's.
        tau: share of the new weights in a step of the target networks.
        gamma: discount.
        batch: transitions of one update.
        replay: roll-outs that are remembered; 0: all.
        baseline: share of the old value in the moving average of the rewards.
        noise: on the actor's parameters, or a truncated normal around its action.
        sigma: standard deviation of the first noise; ``last_sigma`` of the last roll-out's, geometric between
            (parameters); ``decay`` multiplies it after each roll-out (truncated normal).
        random: roll-outs at the beginning with actions at random.
        stores: what is learnt from: the action as the agent chose it, or as the budget let it be carried out.
        episodes: the published length of the search.
    """

    hidden: int
    layer_norm: bool
    actor_rate: float
    critic_rate: float
    tau: float
    gamma: float
    batch: int
    replay: int
    baseline: float
    noise: Literal["parameters", "truncated-normal"]
    sigma: float
    last_sigma: float
    decay: float
    random: int
    stores: Literal["chosen", "carried-out"]
    episodes: int


POCKETFLOW = Learner(
    hidden=64, layer_norm=True, actor_rate=1e-3, critic_rate=1e-3, tau=0.01, gamma=0.9, batch=64, replay=0,
    baseline=0.95, noise="parameters", sigma=1.0, last_sigma=1e-5, decay=1.0, random=0, stores="carried-out",
    episodes=200,
)  # fmt: skip
AMC = Learner(
    hidden=300, layer_norm=False, actor_rate=1e-4, critic_rate=1e-3, tau=0.01, gamma=1.0, batch=64, replay=100,
    baseline=0.5, noise="truncated-normal", sigma=0.5, last_sigma=0.0, decay=0.95, random=100, stores="chosen",
    episodes=800,
)  # fmt: skip


class Network(nn.Module):
    """(N, inputs) to (N, 1); ``bounds`` squeezes the answer between two numbers, as an actor's is."""

    def __init__(self, inputs: int, learner: Learner, bounds: tuple[float, float] | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, learner.hidden), nn.Linear(learner.hidden, learner.hidden)
        self.last = nn.Linear(learner.hidden, 1)
        normed = learner.layer_norm
        self.norms = nn.ModuleList(nn.LayerNorm(learner.hidden) if normed else nn.Identity() for _ in range(2))
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = torch.relu(self.norms[0](self.first(x)))
        x = torch.relu(self.norms[1](self.second(x)))
        x = self.last(x)
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * torch.sigmoid(x)


@dataclass(frozen=True)
class Step:
    """One step of a roll-out: ``state`` (features,), the action, and the state that followed."""

    state: Vector
    action: float
    following: Vector


class Agent:
    """An actor, a critic, their targets and what they remember.

    Args:
        features: of a state.
        steps: of a roll-out, which decides how much is remembered.
        learner: how it learns.
        bounds: lowest and highest action.
        seed: of the first weights, the noise and the draws from the replay.
        episodes: of this search; the noise of :data:`POCKETFLOW` shrinks over them.
    """

    def __init__(
        self, features: int, steps: int, learner: Learner, bounds: tuple[float, float], seed: int, episodes: int
    ) -> None:
        self.learner, self.bounds, self.episodes = learner, bounds, max(1, episodes)
        self.random = np.random.default_rng([seed, 0xDD9])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.random.integers(1 << 31)))
            self.actor = Network(features, learner, bounds)
            self.critic = Network(features + 1, learner, None)
        self.actor_target, self.critic_target = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.disturbed = copy.deepcopy(self.actor)
        self.actor_steps = torch.optim.Adam(self.actor.parameters(), lr=learner.actor_rate)
        self.critic_steps = torch.optim.Adam(self.critic.parameters(), lr=learner.critic_rate)
        self.memory = _Memory(features, learner.replay * steps if learner.replay else steps * self.episodes)
        self.baseline: float | None = None

    def begin(self, episode: int) -> None:
        """Draw the parameter noise of a roll-out, numbered from 0."""
        if self.learner.noise != "parameters":
            return
        self.disturbed.load_state_dict(self.actor.state_dict())
        sigma = self.sigma(episode)
        with torch.no_grad():
            for name, parameter in self.disturbed.named_parameters():
                if not name.startswith("norms."):
                    noise = self.random.normal(0, sigma, parameter.shape).astype(np.float32)
                    parameter.add_(torch.from_numpy(noise))

    def sigma(self, episode: int) -> float:
        """The standard deviation of a roll-out's noise."""
        how = self.learner
        if how.noise == "parameters":
            return float(how.sigma * (how.last_sigma / how.sigma) ** (episode / max(1, self.episodes - 1)))
        return how.sigma * how.decay ** max(0, episode - how.random)

    def act(self, state: Vector, episode: int) -> float:
        """The action for a state (features,), with the roll-out's noise."""
        low, high = self.bounds
        if episode < self.learner.random:
            return float(self.random.uniform(low, high))
        acting = self.disturbed if self.learner.noise == "parameters" else self.actor
        with _one_thread(), torch.no_grad():
            action = float(acting(torch.from_numpy(state)[None])[0, 0])
        if self.learner.noise == "truncated-normal":
            action = truncated_normal(action, self.sigma(episode), low, high, float(self.random.random()))
        return min(max(action, low), high)

    def learn(self, steps: Sequence[Step], reward: float, episode: int) -> None:
        """Remember a roll-out, its reward copied to each step, and learn once for each."""
        with _one_thread():
            for number, step in enumerate(steps):
                self.memory.add(step, reward, number == len(steps) - 1)
                if episode >= self.learner.random and self.memory.filled >= self.learner.batch:
                    self._update()

    def _update(self) -> None:
        how = self.learner
        states, actions, rewards, following, ended = self.memory.draw(how.batch, self.random)
        mean = float(rewards.mean())
        self.baseline = mean if self.baseline is None else how.baseline * self.baseline + (1 - how.baseline) * mean
        rewards = rewards - self.baseline
        with torch.no_grad():
            later = self.critic_target(torch.cat([following, self.actor_target(following)], 1))
            wanted = rewards + how.gamma * (1 - ended) * later
        loss = nn.functional.mse_loss(self.critic(torch.cat([states, actions], 1)), wanted)
        self.critic_steps.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic_steps.step()
        value = -self.critic(torch.cat([states, self.actor(states)], 1)).mean()
        self.actor_steps.zero_grad()
        value.backward()
        self.actor_steps.step()
        with torch.no_grad():
            for target, learnt in ((self.actor_target, self.actor), (self.critic_target, self.critic)):
                for slow, fast in zip(target.parameters(), learnt.parameters(), strict=True):
                    slow.lerp_(fast, how.tau)

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """All of it: tensors by name, and JSON values."""
        tensors: Tensors = {}
        for name in ("actor", "critic", "actor_target", "critic_target"):
            tensors.update({f"{name}.{key}": value for key, value in getattr(self, name).state_dict().items()})
        for name, optimizer in (("actor", self.actor_steps), ("critic", self.critic_steps)):
            for number, slots in optimizer.state_dict()["state"].items():
                tensors.update({f"adam.{name}.{number}.{slot}": value for slot, value in slots.items()})
        tensors.update(self.memory.tensors())
        numbers = {
            "random": self.random.bit_generator.state,
            "baseline": self.baseline,
            "memory": [self.memory.filled, self.memory.place],
        }
        return {name: value.detach().clone() for name, value in tensors.items()}, json.loads(json.dumps(numbers))

    def restore(self, tensors: Tensors, numbers: dict[str, Any]) -> None:
        """Become what :meth:`state` was taken of.

        Raises:
            KeyError, ValueError, RuntimeError, TypeError: the state is of another agent or damaged.
        """
        for name in ("actor", "critic", "actor_target", "critic_target"):
            network: nn.Module = getattr(self, name)
            network.load_state_dict({key: tensors[f"{name}.{key}"] for key in network.state_dict()})
        for name, optimizer in (("actor", self.actor_steps), ("critic", self.critic_steps)):
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                kind, _, rest = key.partition(".")
                if kind == "adam" and rest.startswith(f"{name}."):
                    number, _, slot = rest.removeprefix(f"{name}.").partition(".")
                    slots.setdefault(int(number), {})[slot] = value
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        self.memory.restore(tensors, *numbers["memory"])
        self.random.bit_generator.state = numbers["random"]
        self.baseline = numbers["baseline"]


class _Memory:
    """A ring of transitions: state, action, reward, following state, whether the roll-out ended."""

    def __init__(self, features: int, size: int) -> None:
        self.rows = np.zeros((size, 2 * features + 3), np.float32)
        self.features, self.filled, self.place = features, 0, 0

    def add(self, step: Step, reward: float, ended: bool) -> None:
        """One more, in place of the oldest where the ring is full."""
        self.rows[self.place] = np.concatenate([step.state, step.following, [step.action, reward, float(ended)]])
        self.place = (self.place + 1) % len(self.rows)
        self.filled = min(self.filled + 1, len(self.rows))

    def draw(self, count: int, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """States, actions, rewards, following states, ends: (count, features) or (count, 1)."""
        rows = torch.from_numpy(self.rows[random.integers(0, self.filled, count)])
        n = self.features
        return rows[:, :n], rows[:, 2 * n : 2 * n + 1], rows[:, -2:-1], rows[:, n : 2 * n], rows[:, -1:]

    def tensors(self) -> Tensors:
        return {"memory": torch.from_numpy(self.rows[: self.filled].copy())}

    def restore(self, tensors: Tensors, filled: int, place: int) -> None:
        rows = tensors["memory"].numpy()
        if rows.shape != (filled, self.rows.shape[1]) or filled > len(self.rows) or not 0 <= place < len(self.rows):
            raise ValueError(f"a memory of shape {rows.shape} for one of {self.rows.shape}")
        self.rows[:filled] = rows
        self.filled, self.place = filled, place


def truncated_normal(mean: float, sigma: float, low: float, high: float, drawn: float) -> float:
    """A draw of a normal distribution cut at two bounds, by its inverse distribution function.

    Args:
        mean, sigma: of the uncut one.
        low, high: the bounds.
        drawn: uniform in 0..1.
    """
    mean = min(max(mean, low), high)
    if sigma < 1e-6 * (high - low):
        return mean
    normal = NormalDist(mean, sigma)
    below, above = normal.cdf(low), normal.cdf(high)
    share = below + drawn * (above - below)
    if not 0 < share < 1:
        return mean
    return min(max(normal.inv_cdf(share), low), high)


@contextmanager
def _one_thread() -> Iterator[None]:
    """These networks are so small that sharing them out costs more than computing them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
