"""What a process has cost so far, seen from outside, and what it holds together with those that it started."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> float:
    """MB that a process and all its descendants hold now: PSS, which counts shared pages once. 0 where it is gone."""
    return sum(_kb(one, "smaps_rollup", "Pss:") for one in _tree(pid)) * 1024 / 1e6


@dataclass(frozen=True)
class Cost:
    """What a process and those it started cost: seconds, and MB (2^20 bytes) resident at once at the most."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def costed(argv: Sequence[str], every_s: float = 0.5, environment: Mapping[str, str] | None = None) -> tuple[str, Cost]:
    """Run a command to its end: its stdout, and what it and all it started cost.

    The memory of a tree is looked at every ``every_s``, pages that several share counted once (PSS); what the first
    process had at its highest, which the kernel keeps, is the least it can be. (``ru_maxrss`` would begin with what
    the process that started it had.)

    Raises:
        subprocess.CalledProcessError: it did not end with 0.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(argv, stdout=out, env=environment)
        ended, highest = threading.Event(), [0]

        def watch() -> None:
            while not ended.wait(every_s):
                tree = sum(_kb(pid, "smaps_rollup", "Pss:") for pid in _tree(process.pid))
                highest[0] = max(highest[0], tree, _kb(process.pid, "status", "VmHWM:"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            ended.set()
            watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(argv))
        wall = time.monotonic() - began
        out.seek(0)
        return out.read().decode(), Cost(wall, used.ru_utime + used.ru_stime, highest[0] / 1024)


def _tree(pid: int) -> list[int]:
    """A process and its descendants, as far as they are still there."""
    found, new = [], [pid]
    while new:
        found += new
        new = [int(child) for parent in new for child in _children(parent)]
    return found


def _children(pid: int) -> list[str]:
    try:
        return [one for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kb(pid: int, file: str, line: str) -> int:
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(one.split()[1]) for one in text.splitlines() if one.startswith(line))
