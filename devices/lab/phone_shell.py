"""Commands on the virtual phone: the services ``shell:``, ``shell,v2:`` and ``exec:``.

As on a phone, a command outlives the connection that started it; only its pipes are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import subprocess
from collections.abc import Mapping

from devices.lab.phone_root import SHELL
from devices.lab.phone_wire import Stream, StreamClosed

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_CHUNK = 64 << 10
_ENV = {
    "PATH": "/system/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": "/",
    "TMPDIR": "/data/local/tmp",
    "ANDROID_DATA": "/data",
    "USER": "shell",
}


async def run(stream: Stream, service: str, env: Mapping[str, str]) -> None:
    """Run one command and tell its output; returns when it has ended, or closes its pipes when the host goes away.

    Args:
        stream: the host.
        service: ``shell,v2,raw:COMMAND`` and its variants.
        env: the profile's variables.
    """
    words, _, line = service.partition(":")
    split = "v2" in words.split(",")
    command = _Command(line, env, split=split)
    work = asyncio.create_task(_converse(stream, command, split=split))
    left = asyncio.create_task(stream.closed.wait())
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work, left):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, StreamClosed):
            await work
        command.let_go()


def children() -> int:
    """How many commands run, also those nobody listens to any more."""
    _running[:] = [one for one in _running if one.poll() is None]
    return len(_running)


_running: list[subprocess.Popen[bytes]] = []


class _Command:
    """A process and our ends of its pipes."""

    def __init__(self, line: str, env: Mapping[str, str], *, split: bool) -> None:
        theirs_in, self.stdin = os.pipe()
        self.stdout, theirs_out = os.pipe()
        self.stderr, theirs_err = os.pipe() if split else (-1, -1)
        try:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", line] if line else ["/bin/sh"],
                stdin=theirs_in,
                stdout=theirs_out,
                stderr=theirs_err if split else subprocess.STDOUT,
                env={**_ENV, **env},
                cwd="/",
                user=SHELL,
                group=SHELL,
                extra_groups=[],
                umask=0o022,
                start_new_session=True,
            )
        finally:
            for end in (theirs_in, theirs_out, theirs_err):
                if end >= 0:
                    os.close(end)
        _running.append(self.process)
        for end in (self.stdin, self.stdout, self.stderr):
            if end >= 0:
                os.set_blocking(end, False)

    async def exit_code(self) -> int:
        """When it has ended; death by signal N is 128 + N."""
        watch = os.pidfd_open(self.process.pid) if self.process.poll() is None else -1
        try:
            if watch >= 0:
                await _ready(watch)
        finally:
            if watch >= 0:
                os.close(watch)
        code = self.process.wait()
        return code if code >= 0 else 128 - code

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def let_go(self) -> None:
        """Close the pipes; it may run on."""
        self.close_stdin()
        for end in (self.stdout, self.stderr):
            if end >= 0:
                os.close(end)
        self.stdout = self.stderr = -1


async def _converse(stream: Stream, command: _Command, *, split: bool) -> None:
    feeding = asyncio.create_task(_feed(stream, command, split=split))
    outputs = [asyncio.create_task(_forward(stream, command.stdout, _STDOUT if split else None))]
    if split:
        outputs.append(asyncio.create_task(_forward(stream, command.stderr, _STDERR)))
    try:
        for output in outputs:
            await output
        code = await command.exit_code()
        if split:
            await stream.write(struct.pack("<BIB", _EXIT, 1, code))
    finally:
        # Before the pipes are closed: their numbers are another's afterwards.
        for task in (feeding, *outputs):
            task.cancel()
        await asyncio.gather(feeding, *outputs, return_exceptions=True)


async def _forward(stream: Stream, end: int, kind: int | None) -> None:
    while True:
        try:
            data = os.read(end, _CHUNK)
        except BlockingIOError:
            await _ready(end)
            continue
        if not data:
            return
        await stream.write(data if kind is None else struct.pack("<BI", kind, len(data)) + data)


async def _feed(stream: Stream, command: _Command, *, split: bool) -> None:
    """Give the command its input. What it does not want is read all the same: the host must not wait for ever."""
    while True:
        if split:
            kind, size = struct.unpack("<BI", await stream.read(5))
            data = await stream.read(size)
        else:
            kind, data = _STDIN, await stream.some()
            if not data:
                kind = _CLOSE_STDIN
        if kind == _STDIN and command.stdin >= 0:
            await _put(command, data)
        elif kind == _CLOSE_STDIN:
            command.close_stdin()
            if not split:
                return


async def _put(command: _Command, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(command.stdin, view) :]
        except BlockingIOError:
            await _ready(command.stdin, write=True)
        except BrokenPipeError:
            command.close_stdin()
            return


async def _ready(end: int, *, write: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    if write:
        loop.add_writer(end, tell)
    else:
        loop.add_reader(end, tell)
    try:
        await ready
    finally:
        if write:
            loop.remove_writer(end)
        else:
            loop.remove_reader(end)
