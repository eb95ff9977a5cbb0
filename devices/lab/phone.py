"""A virtual phone: a daemon that speaks adb's transport protocol and runs commands in a root file system.

``python -m devices.lab.phone --root DIR --port N --profile FILE.json --control SOCKET --log FILE [--qemu-cpu NAME]``

Needs root and a Linux with namespaces. Three processes: the one that was started, which lives as long as the phone and
with whose end all others are killed by the kernel; the first process of the phone's own PID namespace, which waits for
what nobody else waits for; and the daemon, inside the phone's root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import msgspec

from devices.lab import phone_root
from devices.lab.phone_control import at_socket
from devices.lab.phone_daemon import Phone, bind
from devices.lab.phone_profile import Profile, load_profile
from pocketzoo.errors import PocketzooError


def start(root: Path, port: int, profile: Profile, control: Path, log: Path) -> int:
    """Be a phone until killed, or until SIGTERM.

    Args:
        root: a root file system, or ``/`` for this machine's programs.
        port: on 127.0.0.1; 0 for any, which the log tells.
        profile: what it pretends to be.
        control: the socket faults are asked for at; beside it a folder is made to mount on.
        log: one JSON line is appended for each event.

    Returns:
        The exit code.
    """
    at = control.parent / f".{control.name}.root"
    at.mkdir(parents=True, exist_ok=True)
    code = 1
    try:
        phone_root.unshare(pids=True)
        init = os.fork()
        if init == 0:
            _first(root, port, profile, control, log, at)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: os.kill(init, signal.SIGKILL))
        _, status = os.waitpid(init, 0)
        code = os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 0
    except OSError as error:
        print(f"error: the virtual phone cannot start: {error}", file=sys.stderr)
    control.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        at.rmdir()
    return code


def _first(root: Path, port: int, profile: Profile, control: Path, log: Path, at: Path) -> NoReturn:
    """The first process of the namespace."""
    code = 1
    try:
        phone_root.die_with_parent()
        phone_root.unshare(pids=False)
        tell = _logger(log)
        waiting = _control_socket(control)
        bound = bind(("127.0.0.1", port))
        phone_root.build(root, at, profile)
        daemon = os.fork()
        if daemon == 0:
            phone_root.enter(at)
            phone_root.become_shell()
            asyncio.run(_serve(profile, bound, waiting, tell))
        waiting.close()
        bound.close()
        while True:
            ended, status = os.wait()
            if ended == daemon:
                code = os.waitstatus_to_exitcode(status) & 255
                break
    except OSError as error:
        print(f"error: the virtual phone cannot start: {error}", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


async def _serve(profile: Profile, bound: socket.socket, control: socket.socket, tell: Callable[..., None]) -> None:
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: tell("error", text=str(context.get("exception") or context["message"]))
    )
    await Phone(profile, bound, tell).run(control)


def _control_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    waiting = socket.socket(socket.AF_UNIX)
    with at_socket(path) as address:
        waiting.bind(address)
    waiting.listen()
    return waiting


def _logger(path: Path) -> Callable[..., None]:
    """A function that appends one JSON line for each event."""
    file = path.open("a", encoding="utf-8", buffering=1)

    def tell(event: str, /, **fields: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        file.write(json.dumps({"at": now, "event": event, **fields}) + "\n")

    return tell


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m devices.lab.phone", description="A virtual phone for adb.")
    parser.add_argument("--root", type=Path, required=True, help="a root file system, or / for this machine's programs")
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1; 0 for any, which the log tells")
    parser.add_argument("--profile", type=Path, required=True, help="JSON: devices/lab/phone_profile.py")
    parser.add_argument("--control", type=Path, required=True, help="a socket: devices/lab/phone_control.py")
    parser.add_argument("--log", type=Path, required=True, help="one JSON line is appended for each event")
    parser.add_argument("--qemu-cpu", help="the processor QEMU shows: QEMU_CPU of every command")
    options = parser.parse_args()
    try:
        profile = load_profile(options.profile)
    except PocketzooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.qemu_cpu:
        profile = msgspec.structs.replace(profile, env={**profile.env, "QEMU_CPU": options.qemu_cpu})
    paths = (path.absolute() for path in (options.root, options.control, options.log))
    root, control, log = paths
    return start(root, options.port, profile, control, log)


if __name__ == "__main__":
    sys.exit(main())
