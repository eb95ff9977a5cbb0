"""A device made ready to measure: probed, held against the inventory, its runner there and asked what it is."""

from __future__ import annotations

from dataclasses import dataclass

from devices.facts import DeviceFacts
from devices.probe import check_expectations
from devices.session import Session
from devices.spec import LocalTransport
from harness.during import Look, look
from harness.job import Cell, Protocol
from harness.registry import Registry
from harness.runner import Runner
from harness.runners.choose import prepare_runner
from harness.runners.prepared import Prepared
from zoo.measurement import Provenance


def repeat_deadline_s(protocol: Protocol) -> float:
    """Seconds after which a repeat is ended: a minute to load, and 3 s an inference (a large model, emulated)."""
    return 60.0 + 3.0 * (protocol.warmup + protocol.runs)


@dataclass(frozen=True)
class Bench:
    """A device ready to measure: its session, what was probed, and the runners that will measure there.

    ``opened`` is how busy it was when that began.
    """

    session: Session
    facts: DeviceFacts
    prepared: Prepared
    opened: Look | None = None

    def runner_of(self, cell: Cell) -> Runner:
        """The runner of a cell's ABI."""
        return self.prepared.runners[cell.abi]

    @property
    def provenance(self) -> Provenance:
        """Emulated where the inventory says so; such a device is made by ``devices lab``."""
        return "emulated" if "emulated" in self.session.spec.tags else "hardware"

    @property
    def here(self) -> bool:
        """Whether it is the machine that this process runs on."""
        return _here(self.session)


def prepare(session: Session, registry: Registry | None = None) -> Bench:
    """Probe the device and make its runner ready.

    Args:
        session: of the device.
        registry: the binaries to choose from; default: those that are registered here.

    Raises:
        BadInput: there is no binary of its runner for it.
        RunnerFailed: the device has no runtime, or the runner does not start there.
        DeviceError: it is not reachable, or is not the device the inventory describes.
    """
    opened = look(session, here=_here(session))
    facts = session.facts()
    check_expectations(session.spec, facts)
    prepared = prepare_runner(session, facts, session.spec, registry)
    return Bench(session=session, facts=facts, prepared=prepared, opened=opened)


def _here(session: Session) -> bool:
    return isinstance(session.spec.transport, LocalTransport)
