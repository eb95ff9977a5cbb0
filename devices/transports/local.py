"""This machine: a subprocess in a process group of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from devices.errors import DeadlineExceeded, OutputTooLarge, TransferRefused, tail
from devices.transport import MOST_OUTPUT, Completed, checked
from pocketzoo.files import CHUNK, replacing

POLL_S = 0.05  # how often an ended command is noticed while something it started still holds its output open
PIPE = 1 << 16


class LocalTransport:
    """Implements :class:`devices.transport.Transport` on this machine."""

    def run(self, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str], stdin: bytes) -> Completed:
        """See :meth:`devices.transport.Transport.run`. Its process group is gone when this returns or raises."""
        command = checked(argv, env)
        start = time.monotonic()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **env},
                start_new_session=True,
                bufsize=0,
            )
        except (FileNotFoundError, NotADirectoryError):
            return _not_started(command, 127, "not found", start)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.ELOOP):
                return _not_started(command, 126, os.strerror(error.errno), start)
            if error.errno == errno.E2BIG:
                raise ValueError("the arguments are longer than this system can pass on") from error
            raise
        streams = _Streams(process, stdin)
        try:
            streams.follow(start + deadline_s)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the command did not end within {deadline_s:g} s and was killed",
                command=command,
                output=tail(bytes(streams.stdout), bytes(streams.stderr)),
            ) from error
        except OverflowError as error:
            raise OutputTooLarge(
                f"the command printed more than {MOST_OUTPUT >> 20} MiB and was killed", command=command
            ) from error
        finally:
            # Also on Ctrl-C: the group does not share our terminal's, so nobody else ends it.
            _kill_group(process)
            streams.close()
        code = process.returncode
        return Completed(
            argv=command,
            exit_code=code if code >= 0 else 128 - code,
            stdout=bytes(streams.stdout),
            stderr=bytes(streams.stderr),
            seconds=time.monotonic() - start,
        )

    def push(self, local: Path, remote: str, *, deadline_s: float) -> None:
        """Copy a file on this machine."""
        with _refusing(f"cannot write {remote}"), local.open("rb") as reading, Path(remote).open("wb") as writing:
            _copy(reading, writing, deadline_s)

    def pull(self, remote: str, local: Path, *, deadline_s: float) -> None:
        """Copy a file on this machine; ``local`` appears whole."""
        source = Path(remote)
        if not source.is_file():
            raise TransferRefused(f"cannot read {remote}: no such file")
        with (
            replacing(local, durable=False) as writing,
            _refusing(f"cannot read {remote}"),
            source.open("rb") as reading,
        ):
            _copy(reading, writing, deadline_s)

    def close(self) -> None:
        """Nothing is held."""


class _Streams:
    """stdin, stdout and stderr of a process, moved without any of them blocking another."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes) -> None:
        self.process = process
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._input = memoryview(stdin)
        self._pipes = [_pipe(process.stdin), _pipe(process.stdout), _pipe(process.stderr)]
        self._selector = selectors.DefaultSelector()
        self._reading = 2
        for stream, buffer in zip(self._pipes[1:], (self.stdout, self.stderr), strict=True):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream.fileno(), selectors.EVENT_READ, buffer)
        if stdin:
            os.set_blocking(self._pipes[0].fileno(), False)
            self._selector.register(self._pipes[0].fileno(), selectors.EVENT_WRITE)
        else:
            self._pipes[0].close()

    def follow(self, until: float) -> None:
        """Until the process ended and its output was read. Raises TimeoutError, or OverflowError at too much output."""
        pause = 0.001
        while True:
            ended = _ended(self.process)
            left = max(0.0, until - time.monotonic())
            moved = self._move(0.0 if ended else min(POLL_S, left))
            # What the process wrote is in the pipes before it ends. One that is still open and empty then is held by
            # something the process left behind, which is not waited for.
            if ended and (not moved or left <= 0):
                return
            if not ended and left <= 0:
                raise TimeoutError
            if not ended and not self._reading:
                time.sleep(min(pause, left))
                pause = min(2 * pause, POLL_S)

    def _move(self, timeout: float) -> bool:
        moved = False
        if not self._selector.get_map():
            return False
        for key, _ in self._selector.select(timeout):
            if key.events & selectors.EVENT_WRITE:
                self._feed(key.fd)
                continue
            try:
                chunk = os.read(key.fd, PIPE)
            except BlockingIOError:
                continue
            if not chunk:
                self._selector.unregister(key.fd)
                self._reading -= 1
                continue
            moved = True
            key.data.extend(chunk)
            if len(key.data) > MOST_OUTPUT:
                raise OverflowError
        return moved

    def _feed(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, self._input[:PIPE])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._input)  # it does not want the rest
        self._input = self._input[written:]
        if not self._input:
            self._selector.unregister(descriptor)
            self._pipes[0].close()

    def close(self) -> None:
        self._selector.close()
        for stream in self._pipes:
            with contextlib.suppress(OSError):
                stream.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without a pipe")
    return stream


def _ended(process: subprocess.Popen[bytes]) -> bool:
    # Without reaping it: until it is reaped, its number (which is its group's) cannot be given to another process.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _not_started(command: tuple[str, ...], code: int, reason: str, start: float) -> Completed:
    return Completed(
        argv=command,
        exit_code=code,
        stdout=b"",
        stderr=f"{command[0]}: {reason}\n".encode("utf-8", "surrogateescape"),
        seconds=time.monotonic() - start,
    )


def _copy(reading: IO[bytes], writing: IO[bytes], deadline_s: float) -> None:
    until = time.monotonic() + deadline_s
    while chunk := reading.read(CHUNK):
        if time.monotonic() > until:
            raise DeadlineExceeded(f"copying did not end within {deadline_s:g} s")
        writing.write(chunk)


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransferRefused(f"{what}: {error.strerror or error}", hint=_advice(error.errno)) from error


def _advice(number: int | None) -> str | None:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or point POCKETZOO_HOME at another disk"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "check the owner and mode of that path, or point POCKETZOO_HOME at a folder you can write to"
    return None
