"""One owner at a time for a device, across the processes of this host.

The lock is an flock on a file: the kernel frees it when its owner dies, however it dies. The file's content says who
holds it; it is only ever read for messages.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from devices.errors import DeviceBusy

POLL_S = 0.2


class Lock:
    """A held lock. Use :func:`acquire`; release with :meth:`release` or as a context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let the next one in. Safe to call twice."""
        if self._descriptor is None:
            return
        # The file stays: removing it would let two processes lock two files of one name.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def acquire(folder: Path, key: str, *, device: str, wait_s: float = 0) -> Lock:
    """Become the owner of the device behind ``key``.

    Args:
        folder: where lock files live; made where it is missing.
        key: names the hardware, not the inventory entry: two names for one phone are one lock.
        device: the inventory's name, for messages.
        wait_s: how long to wait for another owner, in seconds.

    Raises:
        DeviceBusy: somebody else still owned it after ``wait_s``; says who, and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', key)}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    until = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0:
                    raise _busy(path, device, wait_s) from None
                time.sleep(min(POLL_S, left))
        record = json.dumps(owner()).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, record, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(path, descriptor)


def owner() -> dict[str, str | int]:
    """This process as it is named to others: pid, host, user, and now in UTC."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without an entry in the user database
        user = str(os.getuid())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": now}


def lessee() -> str:
    """This process in the words of a lease on a device, which other hosts read too."""
    me = owner()
    return f"process {me['pid']} of {me['user']}@{me['host']} [{_here()}] since {me['since']}"


def ended_here(words: str) -> bool:
    """Whether the owner that a lease names was a process of this host and has ended.

    A process that has its number now but began later is another one.
    """
    found = re.fullmatch(r"process (\d+) of .* \[(\S+)\] since (\S+)", words)
    if found is None or found[2] != _here():
        return False
    try:
        # After the name, which may hold anything, the 20th field: ticks from the start of the system.
        ticks = int(Path("/proc", found[1], "stat").read_text(errors="replace").rpartition(")")[2].split()[19])
        began = _system_start() + ticks / os.sysconf("SC_CLK_TCK")
        return began > datetime.fromisoformat(found[3]).timestamp() + 2  # whole seconds on both sides
    except FileNotFoundError:
        return True
    except (OSError, ValueError, IndexError):
        return False


def _here() -> str:
    """Names where process numbers mean the same: this boot of this kernel, and the PID namespace in it."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        text = socket.gethostname()
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _system_start() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("btime ")).split()[1])


def _busy(path: Path, device: str, wait_s: float) -> DeviceBusy:
    waited = f" after waiting {wait_s:g} s" if wait_s else ""
    try:
        held = json.loads(path.read_text())
        who = f"process {held['pid']} of {held['user']}@{held['host']} since {held['since']}"
        hint = f"wait until it has ended (`ps -p {held['pid']}` on {held['host']} shows it), or end it"
    except (OSError, ValueError, KeyError, TypeError):
        who, hint = "another process", "try again when it has ended"
    return DeviceBusy(f"{device} is in use by {who}{waited}", device=device, hint=hint)
