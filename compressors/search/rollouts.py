"""A search by roll-outs: an agent prunes the network in the mind, the candidate is judged, the agent learns.

The state folder holds ``evaluations.jsonl`` (each candidate's accuracy, as it comes), ``agent.safetensors`` (the agent
and the roll-outs behind it, every few roll-outs) and in the end ``rollouts.jsonl`` (all of them in order). A search
that was killed goes on from there and ends with the same counts as one that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from compressors.progress import Progress
from compressors.search.budget import Counts
from compressors.search.course import Course, Features
from compressors.search.ddpg import Agent, Learner, Step, Tensors
from compressors.search.evaluations import Evaluate, Remembered
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_json, write_atomically

CHECKPOINT = "agent.safetensors"
EVALUATIONS = "evaluations.jsonl"
ROLLOUTS = "rollouts.jsonl"
VERSION = "1"
TOLD = 50  # roll-outs between two lines of progress


class Environment(Protocol):
    """What a kind of search brings: its states, its rewards and its course."""

    @property
    def course(self) -> Course:
        """Layers and budget."""

    @property
    def features(self) -> int:
        """Of a state."""

    def state(self, number: int, decided: Mapping[str, int], previous: float) -> Features:
        """Before layer ``number``."""

    def reward(self, accuracy: float, cost: float) -> float:
        """Of a roll-out."""


@dataclass(frozen=True)
class RollOut:
    """One candidate: its counts, their cost, top-1 (0..1) on the held-out split, and the reward."""

    counts: Counts
    cost: float
    accuracy: float
    reward: float


@dataclass(frozen=True)
class Found:
    """What a search found: the roll-out with the highest reward, all roll-outs, and how many candidates they were."""

    best: RollOut
    history: tuple[RollOut, ...]
    candidates: int


def search(
    environment: Environment,
    learner: Learner,
    evaluate: Evaluate,
    folder: Path,
    progress: Progress,
    *,
    seed: int,
    identity: str,
    episodes: int | None = None,
    checkpoint_every: int = 20,
) -> Found:
    """Search for the counts with the highest reward that meet the budget.

    Args:
        environment: states, rewards, course.
        learner: the agent's settings.
        evaluate: counts to top-1 in 0..1; asked once for each candidate.
        folder: of the state; kept, so that nothing is evaluated twice.
        progress: one advance for each roll-out.
        seed: of the agent. The same seed, evaluations and machine give the same search.
        identity: all that an evaluation depends on besides the counts.
        episodes: roll-outs; None: as published.
        checkpoint_every: roll-outs between two checkpoints.

    Raises:
        BadInput: a budget that cannot be met; a state folder of another search.
    """
    return _Search(environment, learner, evaluate, folder, progress, seed, identity, episodes or learner.episodes).run(
        checkpoint_every
    )


class _Search:
    def __init__(
        self,
        environment: Environment,
        learner: Learner,
        evaluate: Evaluate,
        folder: Path,
        progress: Progress,
        seed: int,
        identity: str,
        episodes: int,
    ) -> None:
        course = environment.course
        course.bounded.check()
        self.environment, self.course, self.progress = environment, course, progress
        self.episodes, self.checkpoint = episodes, folder / CHECKPOINT
        settings = [
            identity, type(environment).__name__, asdict(learner), seed, course.lowest, episodes, course.budget.target,
            {group: list(options) for group, options in course.bounded.options.items()},
            [asdict(layer) for layer in course.layers],
        ]  # fmt: skip
        self.settings = sha256_json(settings)
        self.evaluate = Remembered(evaluate, folder / EVALUATIONS, identity)
        self.agent = Agent(environment.features, len(course.layers), learner, (course.lowest, 1.0), seed, episodes)
        self.history: list[RollOut] = []

    def run(self, every: int) -> Found:
        self._restore()
        self.progress.begin(f"search, {len(self.course.layers)} layers", self.episodes)
        for _ in self.history:
            self.progress.advance()
        while len(self.history) < self.episodes:
            self._roll_out(len(self.history))
            self.progress.advance()
            done = len(self.history)
            if done % every == 0 or done == self.episodes:
                self._save()
            if done % TOLD == 0:
                best = self._best()
                self.progress.say(
                    f"roll-out {done} of {self.episodes}: best top-1 {best.accuracy:.2%} before fine-tuning, "
                    f"{len(self.evaluate)} candidates evaluated"
                )
        lines = "".join(json.dumps(asdict(found)) + "\n" for found in self.history)
        write_atomically(self.checkpoint.with_name(ROLLOUTS), lines.encode())
        return Found(best=self._best(), history=tuple(self.history), candidates=len(self.evaluate))

    def _best(self) -> RollOut:
        return max(self.history, key=lambda found: found.reward)  # of equals the first

    def _roll_out(self, episode: int) -> None:
        course, steps = self.course, []
        decided: Counts = {}
        previous = 1.0
        self.agent.begin(episode)
        state = self.environment.state(0, decided, previous)
        for number in range(len(course.layers)):
            chosen = self.agent.act(state, episode)
            decided, previous = course.carried_out(number, decided, chosen)
            last = number == len(course.layers) - 1
            following = state if last else self.environment.state(number + 1, decided, previous)
            action = chosen if self.agent.learner.stores == "chosen" else previous
            steps.append(Step(state, action, following))
            state = following
        counts = {**course.budget.full, **decided}
        cost, accuracy = course.cost(counts), self.evaluate(counts)
        reward = self.environment.reward(accuracy, cost)
        self.agent.learn(steps, reward, episode)
        self.history.append(RollOut(counts, cost, accuracy, reward))

    def _save(self) -> None:
        from safetensors.torch import save

        tensors, numbers = self.agent.state()
        state: dict[str, Any] = {"agent": numbers, "history": [asdict(found) for found in self.history]}
        header = {"version": VERSION, "settings": self.settings, "state": json.dumps(state)}
        content = {name: value.contiguous() for name, value in tensors.items()}
        write_atomically(self.checkpoint, save(content, metadata=header))

    def _restore(self) -> None:
        from safetensors import SafetensorError, safe_open

        if not self.checkpoint.is_file():
            return
        again = f"rm {self.checkpoint}, and the search begins anew with the candidates it knows"
        try:
            with safe_open(self.checkpoint, framework="pt") as file:
                header = file.metadata() or {}
                tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
            if header["version"] != VERSION or header["settings"] != self.settings:
                raise BadInput("the checkpoint is of another search", where=str(self.checkpoint), hint=again)
            state = json.loads(header["state"])
            history = [RollOut(**found) for found in state["history"]]
            if not all(math.isfinite(found.reward) for found in history):
                raise ValueError("a reward that is no number")
            self.agent.restore(tensors, state["agent"])
        except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise BadInput(
                "a damaged checkpoint of a search",
                where=str(self.checkpoint),
                detail=(str(error)[:200],),
                hint=again,
            ) from error
        self.history = history
        self.progress.say(f"goes on after roll-out {len(history)} of {self.episodes}")
