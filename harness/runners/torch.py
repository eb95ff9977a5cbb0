"""The ``torch`` runner: a program that PyTorch saved, on the CPU or the GPU of a host, every sample in nanoseconds.

It runs files that bring their own code: TorchScript (``torch.jit.save``) and exported programs (``torch.export.save``).
A checkpoint of weights is no program, and is refused when the plan is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from devices.facts import DeviceFacts
from devices.session import Session
from devices.transport import Completed
from harness.job import Cell
from harness.runner import Runner, RunnerFailed
from harness.runners import python
from harness.runners.prepared import Prepared, Setting
from pocketzoo.decodable import decodable
from pocketzoo.files import sha256_bytes, sha256_file
from zoo.measurement import Repeat, RunnerRecord

NAME = "torch"
AGENT = Path(__file__).parents[1] / "agents" / "torch_agent.py"
FORMATS = ("torchscript", "pt2")
SETTINGS = (
    Setting("precision", ("fp32", "tf32", "fp16", "bf16", "int8"), "fp32"),
    Setting("layout", ("contiguous", "channels_last"), "contiguous"),
    Setting("batch", ("1", "8", "64"), "1", r"[1-9][0-9]{0,4}"),
    Setting("shape", ("3x224x224",), "3x224x224", r"[1-9][0-9]{0,4}(x[1-9][0-9]{0,4}){0,5}"),
    Setting("graph", ("on", "off"), "off"),
    # What holds where it is not given depends on the cell: CUDA events on a GPU, the host's clock elsewhere.
    Setting("timer", ("events", "host")),
)
ON_GPU_ALONE = {("precision", "tf32"), ("graph", "on"), ("timer", "events")}


class Description(python.Description, frozen=True):
    """What the agent says it would measure with on a host."""

    cuda: str | None = None
    gpu: str | None = None
    no_cuda: str | None = None


class _Answer(python.Answer, frozen=True):
    """The agent's result: as the Python runner's, and what it ran on and with."""

    gpu: str | None
    ran: dict[str, str]


decodable(Description, _Answer)


@dataclass(frozen=True)
class TorchRunner:
    """The agent on one host, for its CPU or for its GPU.

    Args:
        interpreter: the Python on the host.
        description: what the agent said of torch there.
        abi: ``cuda`` for the GPU, else the CPU's.
    """

    interpreter: str
    description: Description
    abi: str

    @property
    def record(self) -> RunnerRecord:
        """The digest covers both scripts and torch's list of installed files, which holds the digest of each."""
        found = self.description
        parts = f"{sha256_file(AGENT)}\n{sha256_file(python.AGENT)}\n{found.library_sha256}\n"
        runtime = f"torch {found.runtime_version}"
        if self.abi == "cuda":
            runtime += f", CUDA {found.cuda} on {found.gpu}"
        return RunnerRecord(
            name=NAME,
            version=found.runtime_version,
            binary_sha256=sha256_bytes(parts.encode()),
            runtime=runtime,
            delegate="cuda" if self.abi == "cuda" else None,
        )

    def files(self) -> Mapping[str, Path]:
        """The agent, and the one whose knowledge of processes it uses."""
        return {sha256_file(path): path for path in (AGENT, python.AGENT)}

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        """The agent's command line for one repeat of ``cell``.

        Raises:
            RunnerFailed: a setting that only a GPU has, on a CPU.
        """
        options = _settings(cell)
        argv = [self.interpreter, placed[sha256_file(AGENT)], "--agent", placed[sha256_file(python.AGENT)]]
        argv += ["--model", model, "--format", cell.format]
        for name, value in options.items():
            argv += [f"--{name}", value]
        argv += ["--threads", str(cell.threads), "--warmup", str(cell.protocol.warmup)]
        argv += ["--runs", str(cell.protocol.runs), "--seed", str(cell.seed)]
        if cell.affinity is not None:
            argv += ["--cpus", cell.affinity]
        return argv

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        """One repeat; refuses an answer that is not what was asked for (device, settings, CPUs, number of runs)."""
        try:
            answer = msgspec.convert(python.document_in(done), _Answer)
        except msgspec.ValidationError as error:
            raise RunnerFailed(f"the agent's answer is not understood: {error}") from error
        python.check_answer(cell, answer, self.description)
        asked = _settings(cell)
        if answer.ran != asked:
            wrong = sorted(f"{name}={answer.ran.get(name)}" for name in asked if answer.ran.get(name) != asked[name])
            raise RunnerFailed(f"it ran with {', '.join(wrong) or 'settings of its own'}, which was not asked for")
        if answer.gpu != (self.description.gpu if cell.abi == "cuda" else None):
            raise RunnerFailed(f"it ran on {answer.gpu or 'no GPU'}, not on {self.description.gpu or 'the CPU'}")
        return python.repeat_of(answer)


def prepare(session: Session, facts: DeviceFacts) -> Prepared:
    """Push the agent and ask what it would measure with. Where the device has a GPU, torch must find it.

    Raises:
        RunnerFailed: the host has no torch, or CUDA is there and torch cannot use it.
    """
    placed = session.push({sha256_file(path): path for path in (AGENT, python.AGENT)})
    argv = [session.python, placed[sha256_file(AGENT)], "--agent", placed[sha256_file(python.AGENT)], "--describe"]
    description = parse_description(session.run(argv, deadline_s=python.DESCRIBE_DEADLINE_S))
    cpu = description.abi or next((abi for abi in facts.abis if abi != "cuda"), "unknown")
    runners: dict[str, Runner] = {cpu: TorchRunner(session.python, description, cpu)}
    missing = {}
    if description.gpu is not None:
        runners = {"cuda": TorchRunner(session.python, description, "cuda"), **runners}
    elif "cuda" in facts.abis:
        missing["cuda"] = description.no_cuda or "torch finds no CUDA device"
    return Prepared(
        runners=runners,
        placed=placed,
        formats=FORMATS,
        settings=SETTINGS,
        missing=missing,
        default_abis=("cuda",) if "cuda" in facts.abis else (),
    )


def parse_description(done: Completed) -> Description:
    """What the agent said of torch.

    Raises:
        RunnerFailed: no torch on the host, or an answer that is not understood.
    """
    try:
        return msgspec.convert(python.document_in(done), Description)
    except msgspec.ValidationError as error:
        raise RunnerFailed(f"the agent's description is not understood: {error}") from error


def _settings(cell: Cell) -> dict[str, str]:
    """Every setting of a cell with its value, the defaults included."""
    on_gpu = cell.abi == "cuda"
    for option in cell.options:
        if option in ON_GPU_ALONE and not on_gpu:
            raise RunnerFailed(f"{option[0]}={option[1]} is for a GPU, and this cell runs on {cell.abi}")
    known = {setting.name: setting.default or "" for setting in SETTINGS}
    given = {**known, "timer": "events" if on_gpu else "host", **dict(cell.options)}
    return {"device": "cuda" if on_gpu else "cpu", **given}
