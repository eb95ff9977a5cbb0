"""What of the lab was started, as it is on disk, and what of that still lives. Light: the inventory reads it too."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from pocketzoo.decodable import decodable
from pocketzoo.errors import WorkFailed
from pocketzoo.files import write_atomically
from pocketzoo.home import home

# In the environment of every process the lab starts: <this lab>.<one process>. Finds what no file knows of.
MARK = "POCKETZOO_LAB"
VERSION = 1


class Process(Struct, frozen=True):
    """One process and no other that may have its number later: number, start time in ticks, boot."""

    pid: int
    started: int
    boot: str
    nonce: str


class Running(Struct, frozen=True, kw_only=True):
    """A virtual device that was started: which, how it is reached, and its process."""

    name: str
    kind: Literal["board", "phone"]
    abi: str
    port: int
    qemu_cpu: str
    root: str
    process: Process
    digest: str  # of everything it was started with: another one is started anew
    entry: dict[str, object]  # as the inventory has it


class Server(Struct, frozen=True):
    """The adb server of the lab."""

    port: int
    process: Process


class LabState(Struct, frozen=True, kw_only=True):
    """Everything that was started. ``wanted`` are the identities asked for, which `up` brings back."""

    version: int = VERSION
    wanted: tuple[str, ...] = ()
    devices: tuple[Running, ...] = ()
    adb: Server | None = None


decodable(Process, Running, Server, LabState)


def folder() -> Path:
    """Where the lab keeps its state."""
    return home() / "lab"


def load() -> LabState:
    """What was started; empty where nothing was, or where the file is of another version or damaged."""
    try:
        state = msgspec.json.decode((folder() / "state.json").read_bytes(), type=LabState)
    except (OSError, msgspec.DecodeError):
        return LabState()
    return state if state.version == VERSION else LabState()


def save(state: LabState) -> None:
    """Replace the state as a whole."""
    write_atomically(folder() / "state.json", msgspec.json.format(msgspec.json.encode(state), indent=2))


@contextlib.contextmanager
def held(*, wait_s: float = 600) -> Iterator[None]:
    """Nobody else changes this lab meanwhile; the kernel lets go of it when the process ends."""
    import fcntl

    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder() / "lock").open("ab") as file:
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise WorkFailed(
                        "another `devices lab` command is at work on this lab", hint="devices lab status"
                    ) from None
                time.sleep(0.1)
        yield


def this_lab() -> str:
    """Names this lab among those of other state folders, in the environment of what it starts."""
    return hashlib.sha256(os.fsencode(folder().absolute())).hexdigest()[:16]


def process(pid: int, nonce: str) -> Process | None:
    """The record of a process that runs now; None where it has ended."""
    ticks = _started(pid)
    return None if ticks is None else Process(pid=pid, started=ticks, boot=_boot(), nonce=nonce)


def alive(one: Process) -> bool:
    """Whether that very process runs: the same number, start time and boot."""
    return one.boot == _boot() and _started(one.pid) == one.started


def strays(known: LabState) -> list[Process]:
    """Processes of this lab that its state does not know of: `up` was killed before it could write them down."""
    mine = {one.process.nonce for one in known.devices} | ({known.adb.process.nonce} if known.adb else set())
    sign = f"{MARK}={this_lab()}.".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            nonce = variable.removeprefix(sign).decode("ascii", "replace")
            if variable.startswith(sign) and nonce not in mine and (one := process(int(entry.name), nonce)):
                found.append(one)
    return found


def end(one: Process, *, politely_s: float = 0.0) -> None:
    """End that very process and its children, and wait until they are gone.

    Args:
        one: the process.
        politely_s: how long it may take to end by itself before it is killed.
    """
    family = [found for pid in _children(one.pid) if (found := process(pid, one.nonce))] if alive(one) else []
    if politely_s:
        _signal(one, signal.SIGTERM)
        _gone([one], politely_s)
    _signal(one, signal.SIGKILL)
    if not _gone([one], 10):
        raise WorkFailed(f"process {one.pid} of the lab does not end", hint="devices lab down")
    # A board's namespace dies with its first process, which the kernel kills with its parent.
    if not _gone(family, 2):
        for child in family:
            _signal(child, signal.SIGKILL)
        _gone(family, 10)


def _signal(one: Process, number: int) -> None:
    if alive(one):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, number)


def _gone(several: list[Process], patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while any(alive(one) for one in several):
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


def _started(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
