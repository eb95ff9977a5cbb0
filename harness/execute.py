"""A device made ready to measure: probed, held against the inventory, its runner pushed and asked what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devices.facts import DeviceFacts
from devices.probe import check_expectations
from devices.session import Session
from devices.spec import LocalTransport
from harness.job import Protocol
from harness.runner import Runner
from harness.runners import python
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from zoo.measurement import Provenance

DESCRIBE_DEADLINE_S = 120.0


def repeat_deadline_s(protocol: Protocol) -> float:
    """Seconds after which a repeat is ended: a minute to load, and 3 s an inference (a large model, emulated)."""
    return 60.0 + 3.0 * (protocol.warmup + protocol.runs)


@dataclass(frozen=True)
class Bench:
    """A device ready to measure: its session, what was probed, and the runner that will measure there."""

    session: Session
    facts: DeviceFacts
    runner: Runner
    runner_abi: str | None
    placed: Mapping[str, str]

    @property
    def provenance(self) -> Provenance:
        """Emulated where the inventory says so; such a device is made by ``devices lab``."""
        return "emulated" if "emulated" in self.session.spec.tags else "hardware"

    @property
    def here(self) -> bool:
        """Whether it is the machine that this process runs on."""
        return isinstance(self.session.spec.transport, LocalTransport)


def prepare(session: Session) -> Bench:
    """Probe the device, push the runner, and ask what it would measure with.

    Raises:
        BadInput: the inventory names a runner this version does not have.
        RunnerFailed: the device has no runtime.
        DeviceError: it is not reachable, or is not the device the inventory describes.
    """
    if session.spec.runner != python.NAME:
        raise BadInput(
            f"{session.spec.name}: the {session.spec.runner} runner is not part of this version",
            detail=("runners it has: python (ai-edge-litert or tflite-runtime on the device)",),
            hint="write `runner: python` for this device in an inventory file and pass it with --inventory",
        )
    facts = session.facts()
    check_expectations(session.spec, facts)
    agent = {sha256_file(python.AGENT): python.AGENT}
    placed = session.push(agent)
    argv = python.describe_argv(session.python, placed[next(iter(agent))])
    description = python.parse_description(session.run(argv, deadline_s=DESCRIBE_DEADLINE_S))
    runner = python.PythonRunner(interpreter=session.python, description=description)
    return Bench(session=session, facts=facts, runner=runner, runner_abi=description.abi, placed=placed)
