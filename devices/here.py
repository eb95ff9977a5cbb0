"""What this machine is, asked without becoming its owner: reading facts disturbs no measurement that is running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from devices.facts import DeviceFacts
from devices.probe import read_facts
from devices.spec import DeviceSpec, LocalTransport
from devices.transport import Completed


def this_machine(spec: DeviceSpec) -> DeviceFacts:
    """The facts of the device that the inventory describes as this machine; the same as a session's.

    Raises:
        ValueError: the device is another machine.
        DeviceError: this machine cannot be asked.
    """
    if not isinstance(spec.transport, LocalTransport):
        raise ValueError(f"{spec.name} is another machine")
    return read_facts(_Here(spec))


class _Here:
    """Implements :class:`devices.probe.Probed` for reading alone."""

    work_dir = "."

    def __init__(self, spec: DeviceSpec) -> None:
        from devices.transports.local import LocalTransport as Local

        self.spec = spec
        self._transport = Local()

    def run(
        self, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Completed:
        return self._transport.run(argv, deadline_s=deadline_s, env=env or {}, stdin=stdin)

    def push(self, files: Mapping[str, Path]) -> dict[str, str]:
        raise AssertionError(f"this machine is asked without sending it anything, not {len(files)} files")
