"""From a device's ``runner:`` in the inventory to a runner that stands ready on it."""

from __future__ import annotations

from devices.facts import DeviceFacts
from devices.session import Session
from devices.spec import DeviceSpec
from harness.registry import Registry
from harness.runners.prepared import Prepared


def prepare_runner(
    session: Session, facts: DeviceFacts, spec: DeviceSpec, registry: Registry | None = None
) -> Prepared:
    """Push what the device's runner needs, and ask it what it is there.

    Args:
        session: of the device.
        facts: as probed.
        spec: as the inventory has it.
        registry: the binaries to choose from; default: those that are registered here.

    Raises:
        BadInput: there is no binary of that runner for the device.
        RunnerFailed: it does not start there, or is not what its name says.
        DeviceError: the device cannot be reached.
    """
    match spec.runner:
        case "python":
            from harness.runners import python

            return python.prepare(session, facts)
        case "benchmark_model":
            from harness.runners import benchmark_model

            return benchmark_model.prepare(session, facts, registry=registry)
        case "torch":
            from harness.runners import torch

            return torch.prepare(session, facts)
        case "trtexec":
            from harness.runners import trtexec

            return trtexec.prepare(session, facts)
