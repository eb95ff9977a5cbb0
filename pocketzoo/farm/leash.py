"""A process that ends when whoever started it is gone, also by ``kill -9``: a training must not run on unwatched.

The child runs under a small process of its own (``python -m pocketzoo.farm.leash ARGV``) whose standard input is a pipe
that the parent holds. The pipe closes with the parent, however it ends; then the child and everything that it started
is ended, by SIGTERM and, after a while, SIGKILL. Linux has a signal for the death of a parent, but it comes when the
*thread* ends that started the child, and grandchildren (one for each GPU) do not get it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

GRACE_S = 10.0
"""Between SIGTERM and SIGKILL."""
LOOK_S = 0.2


def run_leashed(
    argv: Sequence[str],
    *,
    stop: Callable[[], bool],
    stdout: IO[bytes],
    stderr: IO[bytes],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> int | None:
    """Run a command to its end, and not beyond this process's own.

    Args:
        argv: the command.
        stop: asked every LOOK_S seconds; when it is true the command is ended.
        stdout: a file for what it prints.
        stderr: a file for what it says.
        cwd: its folder.
        env: its environment.

    Returns:
        Its exit code, 128 + N where signal N ended it; None where ``stop`` did.
    """
    lead, leash = os.pipe()  # neither is inherited by whatever else is started meanwhile
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "pocketzoo.farm.leash", *argv], stdin=lead, stdout=stdout, stderr=stderr,
            cwd=cwd, env=env,
        )  # fmt: skip
    except BaseException:
        os.close(leash)
        raise
    finally:
        os.close(lead)
    stopped = False
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(LOOK_S)
                return None if stopped else code
            if not stopped and stop():
                os.close(leash)
                stopped = True
    finally:
        if not stopped:
            os.close(leash)
        process.wait()


def main(argv: Sequence[str], grace_s: float = GRACE_S) -> int:
    """Run a command until it ends or standard input does; returns its exit code."""
    # A session of its own: what it starts is in its process group, and Ctrl-C in a terminal is the parent's business.
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _end(child.pid, grace_s))
    threading.Thread(target=_watch, args=(child.pid, grace_s), daemon=True).start()
    # Not reaped before what it left behind is ended too: as long as it is there, its number is nobody else's.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    _signal(child.pid, signal.SIGKILL)
    code = child.wait()
    return 128 - code if code < 0 else code


def _watch(group: int, grace_s: float) -> None:
    while os.read(0, 4096):
        pass
    _end(group, grace_s)


def _end(group: int, grace_s: float) -> None:
    _signal(group, signal.SIGTERM)

    def later() -> None:
        time.sleep(grace_s)
        _signal(group, signal.SIGKILL)

    threading.Thread(target=later, daemon=True).start()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
