"""The ``python-count`` runner: the instructions of each inference, counted by the lab's QEMU plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from devices.lab.counter import COMMAND, About
from devices.transport import Completed
from harness.job import Cell
from harness.runner import RunnerFailed
from harness.runners.python import AGENT, PythonRunner, document_in
from pocketzoo.decodable import decodable
from pocketzoo.files import sha256_bytes, sha256_file
from zoo.measurement import Repeat, RunnerRecord

NAME = "python-count"
COUNT_AGENT = Path(__file__).parents[1] / "agents" / "count_agent.py"


class _Answer(msgspec.Struct, frozen=True):
    """The agent's result; what the device prints is untrusted, so every field has its type."""

    abi: str | None
    abi_proof: str
    instructions: tuple[int, ...]
    pool_threads: int
    cpus_allowed: tuple[int, ...] | None
    peak_memory_bytes: int | None
    output_sha256: str
    library_sha256: str


decodable(_Answer)


@dataclass(frozen=True)
class CountedRunner:
    """The counting agent on one device.

    Args:
        measuring: the runner of latencies there; its agent loads the runtime for both.
        about: what counts.
    """

    measuring: PythonRunner
    about: About

    @property
    def record(self) -> RunnerRecord:
        """The digest covers both agents, the runtime's libraries, the plugin and QEMU."""
        known = self.measuring.record
        parts = f"{known.binary_sha256}\n{sha256_file(COUNT_AGENT)}\n{self.about.key}\n"
        return msgspec.structs.replace(known, name=NAME, binary_sha256=sha256_bytes(parts.encode()))

    def files(self) -> Mapping[str, Path]:
        """Both agents."""
        return {**self.measuring.files(), sha256_file(COUNT_AGENT): COUNT_AGENT}

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        """The agent's command line for one repeat of ``cell``."""
        argv = [self.measuring.interpreter, placed[sha256_file(COUNT_AGENT)], "--agent", placed[sha256_file(AGENT)]]
        argv += ["--counter", COMMAND, "--model", model, "--threads", str(cell.threads)]
        argv += ["--warmup", str(cell.protocol.warmup), "--runs", str(cell.protocol.runs), "--seed", str(cell.seed)]
        if cell.affinity is not None:
            argv += ["--cpus", cell.affinity]
        return argv

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        """One repeat; refuses an answer that is not what was asked for (ABI, threads, number of runs, runtime)."""
        try:
            answer = msgspec.convert(document_in(done), _Answer)
        except msgspec.ValidationError as error:
            raise RunnerFailed(f"the agent's answer is not understood: {error}") from error
        if len(answer.instructions) != cell.protocol.runs or min(answer.instructions) <= 0:
            raise RunnerFailed(f"{len(answer.instructions)} counts came back instead of {cell.protocol.runs}")
        if answer.abi != cell.abi:
            raise RunnerFailed(f"it ran as {answer.abi or 'an unknown ABI'} ({answer.abi_proof}), not as {cell.abi}")
        if answer.pool_threads != 1:
            raise RunnerFailed(f"the runtime started {answer.pool_threads} threads: a count of several is not exact")
        if cell.cpus is not None and answer.cpus_allowed != cell.cpus:
            raise RunnerFailed(f"it ran on CPUs {answer.cpus_allowed}, not on {cell.cpus}")
        if answer.library_sha256 != self.measuring.description.library_sha256:
            raise RunnerFailed("the runtime on the device changed during the campaign")
        return Repeat(
            samples_ns=(),
            instructions=answer.instructions,
            pool_threads=answer.pool_threads,
            cpus_allowed=answer.cpus_allowed,
            threads_actual=answer.pool_threads,
            peak_memory_bytes=answer.peak_memory_bytes,
            abi_proof=answer.abi_proof,
            output_sha256=answer.output_sha256,
        )
