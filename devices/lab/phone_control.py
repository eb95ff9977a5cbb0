"""Starting a virtual phone from Python, and asking it for faults at its control socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from devices.lab.phone_faults import Direction, Kind
from devices.lab.phone_profile import Profile
from pocketzoo.errors import WorkFailed

ANSWER_S = 30.0
READY_S = 30.0
PROFILE, CONTROL, LOG = "profile.json", "control", "phone.log"  # in a phone's folder


class PhoneControl:
    """The control socket of a virtual phone.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fault(
        self,
        kind: Kind,
        *,
        match: str = "",
        after: int | None = None,
        direction: Direction = "in",
        times: int = 1,
        seconds: float = 0.0,
        silent: bool = False,
    ) -> int:
        """Ask for a fault; its number. See :class:`devices.lab.phone_faults.Fault`."""
        asked = {"kind": kind, "match": match, "after": after, "direction": direction}
        return int(self.ask("fault", **asked, times=times, seconds=seconds, silent=silent)["id"])

    def clear(self) -> None:
        """Forget the faults that may still happen."""
        self.ask("clear")

    def reset_faults(self) -> None:
        """Be reachable and without faults."""
        for what in ("clear", "return", "authorise"):
            self.ask(what)

    def happened(self, fault: int) -> int:
        """How often a fault has happened."""
        return next((int(one["done"]) for one in self.status()["faults"] if one["id"] == fault), 0)

    def authorise(self) -> None:
        """Confirm on the screen that this computer may use it."""
        self.ask("authorise")

    def heat(self, celsius: float) -> None:
        """Be that warm now."""
        self.ask("heat", celsius=celsius)

    def status(self) -> dict[str, Any]:
        """Temperatures, clocks, faults, connections."""
        return self.ask("status")

    def processes(self) -> dict[int, str]:
        """What runs on the phone: command lines by process number, as it counts there."""
        return {int(pid): str(line) for pid, line in self.ask("processes")["processes"].items()}

    def files(self, folder: str = "/data/local/tmp") -> list[str]:
        """Every file below a folder of the phone."""
        return [str(name) for name in self.ask("files", folder=folder)["files"]]

    def reset(self) -> None:
        """Be as new, but for the state of heat and battery: no faults to come, nothing running, no files."""
        self.reset_faults()
        for what in ("kill", "wipe"):
            self.ask(what)

    def ask(self, do: str, **fields: object) -> dict[str, Any]:
        """Any command, as :mod:`devices.lab.phone_answers` lists them.

        Raises:
            WorkFailed: the phone does not answer, or refuses.
        """
        try:
            with socket.socket(socket.AF_UNIX) as talk, at_socket(self.path) as address:
                talk.settimeout(ANSWER_S)
                talk.connect(address)
                talk.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
                with talk.makefile("rb") as reading:
                    answer: dict[str, Any] = json.loads(reading.readline() or b'{"ok": false, "error": "no answer"}')
        except (OSError, ValueError) as error:
            raise WorkFailed(f"the virtual phone does not answer: {error}", where=str(self.path)) from error
        if not answer.pop("ok"):
            raise WorkFailed(f"the virtual phone refuses {do}: {answer['error']}", where=str(self.path))
        return answer


@contextlib.contextmanager
def at_socket(path: Path) -> Iterator[str]:
    """An address for a socket's path, however long that is: the kernel takes no more than 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def command(*, root: Path, port: int, folder: Path, qemu_cpu: str | None = None) -> list[str]:
    """The command line of a phone whose profile, socket and log are in a folder."""
    argv = [sys.executable, "-m", "devices.lab.phone", "--root", str(root), "--port", str(port)]
    argv += ["--profile", str(folder / PROFILE), "--control", str(folder / CONTROL)]
    argv += ["--log", str(folder / LOG)]
    return argv if qemu_cpu is None else [*argv, "--qemu-cpu", qemu_cpu]


def ready(control: PhoneControl, running: subprocess.Popen[bytes], *, stderr: Path) -> int:
    """Wait until a phone answers; its port.

    Raises:
        WorkFailed: it ended, or does not answer in time.
    """
    until = time.monotonic() + READY_S
    while True:
        if running.poll() is not None:
            said = stderr.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
            raise WorkFailed("the virtual phone ended as soon as it was started", detail=tuple(said))
        with contextlib.suppress(WorkFailed):
            return int(control.status()["port"])
        if time.monotonic() >= until:
            raise WorkFailed(f"the virtual phone does not answer after {READY_S:g} s", where=str(control.path))
        time.sleep(0.02)


@contextlib.contextmanager
def phone(
    folder: Path, profile: Profile, *, root: Path = Path("/"), port: int = 0, qemu_cpu: str | None = None
) -> Iterator[tuple[PhoneControl, int]]:
    """A running phone for the length of a block: its control and its port. Nothing of it is left.

    Args:
        folder: for its profile, socket and log; made where it is missing.
        profile: what it pretends to be.
        root: a root file system, or ``/`` for this machine's programs.
        port: on 127.0.0.1; 0 for any.
        qemu_cpu: the processor QEMU shows.

    Raises:
        WorkFailed: it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROFILE).write_bytes(msgspec.json.format(msgspec.json.encode(profile)))
    argv: Sequence[str] = command(root=root, port=port, folder=folder, qemu_cpu=qemu_cpu)
    control = PhoneControl(folder / CONTROL)
    with (folder / "stderr").open("wb") as said:
        running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=said, start_new_session=True)
    try:
        yield control, ready(control, running, stderr=folder / "stderr")
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
