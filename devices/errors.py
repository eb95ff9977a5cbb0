"""What can go wrong with a device. The class says whether trying again can help, and which exit code results.

DeviceError                       carries device, command, its exit code and the tail of its output
├── TransientDeviceError          tried again with back-off; exit 3 when it persists
│   ├── ConnectionLost            the connection dropped before the exit code was known
│   ├── DeviceOffline             known to the server or host, but not answering now
│   └── TransferCorrupted         what arrived does not have the hash of what was sent
└── PermanentDeviceError          never tried again
    ├── DeviceMissing             exit 3   not attached, no such host, no server
    ├── NotAuthorised             exit 3   the phone or the host does not let us in
    ├── HostKeyRejected           exit 3   the host's key is unknown, or not the recorded one
    ├── DeviceBusy                exit 3   somebody else owns it
    ├── WrongDevice               exit 3   what answered is not what the inventory describes
    ├── DeadlineExceeded          exit 1   the command did not end in time and was killed
    ├── CommandFailed             exit 1   a command the session itself needs ended with an error
    ├── OutputTooLarge            exit 1   more output than may be held in memory
    ├── TransferRefused           exit 1   disk full, read-only, no permission, no such file
    └── DeviceIncapable           exit 1   the device lacks something the work needs
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pocketzoo.errors import DeviceUnavailable, PocketzooError, WorkFailed

TAIL_LINES = 12
TAIL_CHARS = 2000


def tail(*outputs: bytes) -> tuple[str, ...]:
    """The last lines of the outputs as text, for an error message: at most 12 lines and 2000 characters."""
    text = "\n".join(part.decode("utf-8", "replace").strip() for part in outputs if part.strip())
    return tuple(line.rstrip() for line in text[-TAIL_CHARS:].splitlines()[-TAIL_LINES:])


class DeviceError(PocketzooError):
    """Base of every device error.

    Args:
        what: one sentence that says what went wrong.
        device: the device's name in the inventory; becomes ``where``.
        command: the argv that was running.
        command_exit: its exit code where one is known.
        output: the last lines it printed (see :func:`tail`).
        hint: the next command to type.
    """

    def __init__(
        self,
        what: str,
        *,
        device: str | None = None,
        command: Sequence[str] | None = None,
        command_exit: int | None = None,
        output: tuple[str, ...] = (),
        hint: str | None = None,
    ) -> None:
        detail = list(output)
        if command is not None:
            shown = shlex.join(command)
            shown = shown if len(shown) <= 300 else f"{shown[:297]}..."
            ended = f" (exit {command_exit})" if command_exit is not None else ""
            detail.insert(0, f"command: {shown}{ended}")
        super().__init__(what, where=device, hint=hint, detail=tuple(detail))
        self.device = device
        self.command = tuple(command) if command is not None else None
        self.command_exit = command_exit
        self.output = output

    def on(self, device: str) -> DeviceError:
        """The same error with the device's name filled in where the transport did not know it."""
        if self.device is None:
            self.device = device
            self.where = device if self.where is None else f"{device} ({self.where})"
        return self


class TransientDeviceError(DeviceError, DeviceUnavailable):
    """May pass by itself: worth another try after a pause."""


class ConnectionLost(TransientDeviceError):
    """The connection dropped; whether the command finished is not known."""


class DeviceOffline(TransientDeviceError):
    """Known, but not answering at the moment."""


class TransferCorrupted(TransientDeviceError):
    """The bytes on the device do not have the hash of the bytes that were sent."""


class PermanentDeviceError(DeviceError):
    """Trying again without changing something gives the same result."""


class DeviceMissing(PermanentDeviceError, DeviceUnavailable):
    """Nothing answers under that address, or no attached device fits."""


class NotAuthorised(PermanentDeviceError, DeviceUnavailable):
    """The device is there and does not let us in."""


class HostKeyRejected(PermanentDeviceError, DeviceUnavailable):
    """The host's key is not recorded, or differs from the one that is."""


class DeviceBusy(PermanentDeviceError, DeviceUnavailable):
    """Somebody else owns the device."""


class WrongDevice(PermanentDeviceError, DeviceUnavailable):
    """The device that answered contradicts the inventory."""


class DeadlineExceeded(PermanentDeviceError, WorkFailed):
    """The command did not end in time; it and everything it started was killed."""


class CommandFailed(PermanentDeviceError, WorkFailed):
    """A command that the session itself depends on ended with an error."""


class OutputTooLarge(PermanentDeviceError, WorkFailed):
    """The command printed more than may be held in memory; it was killed."""


class TransferRefused(PermanentDeviceError, WorkFailed):
    """The file could not be written or read there: disk full, read-only, no permission, not there."""


class DeviceIncapable(PermanentDeviceError, WorkFailed):
    """The device lacks something the work needs (a tool, a file system, an ABI)."""
