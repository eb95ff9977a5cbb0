"""The ``python`` runner: a single-file agent around ai-edge-litert or tflite-runtime, every sample in nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from devices.facts import DeviceFacts
from devices.session import Session
from devices.transport import Completed
from harness.job import Cell
from harness.runner import RunnerFailed
from harness.runners.prepared import Prepared
from pocketzoo.decodable import decodable
from pocketzoo.files import sha256_bytes, sha256_file
from zoo.measurement import Repeat, RunnerRecord

NAME = "python"
AGENT = Path(__file__).parents[1] / "agents" / "tflite_agent.py"
AGENT_PROTOCOL = 1
DESCRIBE_DEADLINE_S = 120.0


class Description(msgspec.Struct, frozen=True):
    """What the agent says it would measure with on a device."""

    runtime: str
    runtime_version: str
    library_sha256: str
    abi: str | None
    abi_proof: str
    python: str


class Answer(msgspec.Struct, frozen=True):
    """An agent's result; what the device prints is untrusted, so every field has its type."""

    runtime: str
    runtime_version: str
    abi: str | None
    abi_proof: str
    samples_ns: tuple[int, ...]
    init_ns: int
    first_ns: int
    pool_threads: int
    cpus_allowed: tuple[int, ...] | None
    own_cpu_ns: int
    wall_ns: int
    foreign_cpu_share: float | None
    involuntary_switches: int
    peak_memory_bytes: int | None
    output_sha256: str
    library_sha256: str


decodable(Description, Answer)


def prepare(session: Session, facts: DeviceFacts) -> Prepared:
    """Push the agent and ask what it would measure with.

    Raises:
        RunnerFailed: the device has no runtime.
        DeviceError: it cannot be reached.
    """
    agent = {sha256_file(AGENT): AGENT}
    placed = session.push(agent)
    argv = describe_argv(session.python, placed[next(iter(agent))])
    description = parse_description(session.run(argv, deadline_s=DESCRIBE_DEADLINE_S))
    runner = PythonRunner(interpreter=session.python, description=description)
    # An interpreter that is no ELF proves nothing; the answer of each repeat is then refused with that reason.
    abi = description.abi or next(iter(facts.abis), "unknown")
    return Prepared(runners={abi: runner}, placed=placed)


def describe_argv(interpreter: str, agent: str) -> list[str]:
    """The command that makes the agent describe its runtime."""
    return [interpreter, agent, "--describe"]


def parse_description(done: Completed) -> Description:
    """What :func:`describe_argv` printed.

    Raises:
        RunnerFailed: no runtime on the device, or an answer that is not understood.
    """
    try:
        return msgspec.convert(document_in(done), Description)
    except msgspec.ValidationError as error:
        raise RunnerFailed(f"the agent's description is not understood: {error}") from error


@dataclass(frozen=True)
class PythonRunner:
    """The agent on one device.

    Args:
        interpreter: the Python on the device.
        description: what the agent said of its runtime there.
    """

    interpreter: str
    description: Description

    @property
    def record(self) -> RunnerRecord:
        """The digest covers the agent's text and the runtime's native libraries: what ran, whole."""
        parts = f"{sha256_file(AGENT)}\n{self.description.library_sha256}\n"
        runtime = f"{self.description.runtime} {self.description.runtime_version}"
        return RunnerRecord(
            name=NAME,
            version=self.description.runtime_version,
            binary_sha256=sha256_bytes(parts.encode()),
            runtime=runtime,
            delegate="xnnpack",
        )

    def files(self) -> Mapping[str, Path]:
        """The agent."""
        return {sha256_file(AGENT): AGENT}

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        """The agent's command line for one repeat of ``cell``."""
        argv = [self.interpreter, placed[sha256_file(AGENT)], "--model", model, "--threads", str(cell.threads)]
        argv += ["--warmup", str(cell.protocol.warmup), "--runs", str(cell.protocol.runs), "--seed", str(cell.seed)]
        if cell.affinity is not None:
            argv += ["--cpus", cell.affinity]
        return argv

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        """One repeat; refuses an answer that is not what was asked for (ABI, CPUs, number of runs, runtime)."""
        try:
            answer = msgspec.convert(document_in(done), Answer)
        except msgspec.ValidationError as error:
            raise RunnerFailed(f"the agent's answer is not understood: {error}") from error
        check_answer(cell, answer, self.description)
        return repeat_of(answer)


def repeat_of(answer: Answer) -> Repeat:
    """An agent's answer as a repeat."""
    cpus = len(answer.cpus_allowed) if answer.cpus_allowed is not None else None
    return Repeat(
        samples_ns=answer.samples_ns,
        init_ns=answer.init_ns,
        first_ns=answer.first_ns,
        pool_threads=answer.pool_threads,
        cpus_allowed=answer.cpus_allowed,
        threads_actual=min(answer.pool_threads, cpus) if cpus else answer.pool_threads,
        peak_memory_bytes=answer.peak_memory_bytes,
        own_cpu_ns=answer.own_cpu_ns,
        wall_ns=answer.wall_ns,
        foreign_cpu_share=answer.foreign_cpu_share,
        involuntary_switches=answer.involuntary_switches,
        abi_proof=answer.abi_proof,
        output_sha256=answer.output_sha256,
    )


def check_answer(cell: Cell, answer: Answer, description: Description) -> None:
    """Refuse an answer to another question.

    Raises:
        RunnerFailed: another number of runs, ABI, set of CPUs, or build of the runtime than asked for.
    """
    if len(answer.samples_ns) != cell.protocol.runs or min(answer.samples_ns) <= 0:
        raise RunnerFailed(f"{len(answer.samples_ns)} samples came back instead of {cell.protocol.runs}")
    if answer.abi != cell.abi:
        raise RunnerFailed(f"it ran as {answer.abi or 'an unknown ABI'} ({answer.abi_proof}), not as {cell.abi}")
    if cell.cpus is not None and answer.cpus_allowed != cell.cpus:
        raise RunnerFailed(f"it ran on CPUs {answer.cpus_allowed}, not on {cell.cpus}")
    if answer.library_sha256 != description.library_sha256:
        raise RunnerFailed("the runtime on the device changed during the campaign")


def document_in(done: Completed) -> dict[str, Any]:
    """The agent's document: the last line of stdout that is one. Anything else on stdout is somebody's chatter.

    Raises:
        RunnerFailed: there is none, or it holds an error.
    """
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(b'{"pocketzoo_agent"'):
            try:
                document = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise RunnerFailed(f"the agent's answer is cut off or damaged: {error}") from error
            if document.pop("pocketzoo_agent", None) != AGENT_PROTOCOL:
                raise RunnerFailed("the agent on the device speaks another protocol version")
            if "error" in document:
                raise RunnerFailed(str(document["error"])[:2000])
            return dict(document)
    tail = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
    how = f"signal {done.exit_code - 128}" if done.exit_code > 128 else f"exit code {done.exit_code}"
    raise RunnerFailed(f"the agent ended without an answer ({how})", detail=tuple(tail))
