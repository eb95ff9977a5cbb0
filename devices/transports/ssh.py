"""A board or server over ssh: commands and files over one connection that is made again when it was lost."""

from __future__ import annotations

import contextlib
import io
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import paramiko

from devices import spec as written
from devices.errors import (
    ConnectionLost,
    DeadlineExceeded,
    DeviceError,
    DeviceMissing,
    DeviceOffline,
    OutputTooLarge,
    TransferRefused,
    tail,
)
from devices.quoting import command_line
from devices.transport import MOST_OUTPUT, Completed, checked
from devices.transports.ssh_login import CONNECT_S, Address, connect
from pocketzoo.files import replacing

ALIVE_S = 15  # between keep-alive messages, so that a network that drops idle connections does not drop ours
ALARM_S = 0.5  # after a deadline, until a connection that keeps us waiting is broken
BLOCK = 1 << 15
WINDOW = 1 << 24  # bytes that may be under way to us


class SshTransport:
    """Implements :class:`devices.transport.Transport` over one ssh connection."""

    def __init__(self, way: written.SshTransport) -> None:
        self.address = Address(way)
        self.where = str(self.address)
        self._client: paramiko.SSHClient | None = None
        self._socket: socket.socket | paramiko.ProxyCommand | None = None
        self._was_connected = False

    def run(self, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str], stdin: bytes) -> Completed:
        """See :meth:`devices.transport.Transport.run`. At the deadline the session ends what runs on."""
        command = checked(argv, env)
        start = time.monotonic()
        stdout, stderr = io.BytesIO(), io.BytesIO()
        try:
            line = command_line(command, env)
            code = self._converse(line, io.BytesIO(stdin), stdout, stderr, start + deadline_s)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the command did not end within {deadline_s:g} s and was killed",
                command=command,
                output=tail(stdout.getvalue(), stderr.getvalue()),
            ) from error
        except OverflowError as error:
            raise OutputTooLarge(
                f"the command printed more than {MOST_OUTPUT >> 20} MiB and was ended", command=command
            ) from error
        return Completed(
            argv=command,
            exit_code=code,
            stdout=stdout.getvalue(),
            stderr=stderr.getvalue(),
            seconds=time.monotonic() - start,
        )

    def push(self, local: Path, remote: str, *, deadline_s: float) -> None:
        """See :meth:`devices.transport.Transport.push`. Through ``cat``: sftp loses why a file cannot be written."""
        try:
            reading = local.open("rb")
        except OSError as error:
            raise TransferRefused(f"cannot read {local}: {error.strerror}") from error
        line = command_line(["sh", "-c", 'cat > "$1"', "sh", remote], {})
        with reading:
            self._transfer(line, reading, io.BytesIO(), f"cannot write {remote}", deadline_s)

    def pull(self, remote: str, local: Path, *, deadline_s: float) -> None:
        """See :meth:`devices.transport.Transport.pull`."""
        with replacing(local, durable=False) as writing:
            line = command_line(["sh", "-c", 'exec cat < "$1"', "sh", remote], {})
            self._transfer(line, io.BytesIO(), writing, f"cannot read {remote}", deadline_s, limited=False)

    def close(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _transfer(
        self, line: bytes, source: IO[bytes], sink: IO[bytes], what: str, deadline_s: float, *, limited: bool = True
    ) -> None:
        stderr = io.BytesIO()
        try:
            code = self._converse(line, source, sink, stderr, time.monotonic() + deadline_s, limited=limited)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{what}: it did not end within {deadline_s:g} s") from error
        if code:
            said = stderr.getvalue().decode("utf-8", "replace").strip() or f"exit {code}"
            full = "space left" in said or "quota" in said.lower()
            raise TransferRefused(f"{what}: {said}", hint="free some space there: df -h" if full else None)

    def _converse(
        self,
        line: bytes,
        source: IO[bytes],
        stdout: IO[bytes],
        stderr: IO[bytes],
        until: float,
        *,
        limited: bool = True,
    ) -> int:
        """Run a line; TimeoutError at the deadline, OverflowError at too much output, else its exit code."""
        with self._mapped(until), self._alarm(until), contextlib.closing(self._channel(line, until)) as channel:
            pending: bytes | None = source.read(BLOCK)
            arrived = 0
            while True:
                moved = 0
                while channel.recv_ready() and (chunk := channel.recv(BLOCK)):
                    moved += stdout.write(chunk)
                while channel.recv_stderr_ready() and (chunk := channel.recv_stderr(BLOCK)):
                    moved += stderr.write(chunk)
                arrived += moved
                if limited and arrived > MOST_OUTPUT:
                    raise OverflowError
                if pending is not None and channel.send_ready():
                    pending, sent = _feed(channel, pending, source)
                    moved += sent
                if moved:
                    if time.monotonic() >= until:
                        raise TimeoutError
                    continue
                if channel.exit_status_ready() and (channel.eof_received or channel.closed):
                    if channel.exit_status < 0:
                        raise ConnectionLost(f"the connection to {self.where} dropped before the exit code arrived")
                    if not channel.recv_ready() and not channel.recv_stderr_ready():
                        return channel.exit_status
                    continue
                self._wait(channel, until, sending=pending is not None)

    def _wait(self, channel: paramiko.Channel, until: float, *, sending: bool) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        # Room to send and a broken connection are not announced on the descriptor: look now and then.
        pause = min(left, 0.005 if sending else 0.25)
        if channel.eof_received:  # the descriptor is readable for ever; only the exit code is still to come
            channel.status_event.wait(pause)
        else:
            select.select([channel], [], [], pause)
        transport = channel.get_transport()
        if not transport.is_active() and not channel.exit_status_ready():
            raise ConnectionLost(f"the connection to {self.where} dropped")

    def _channel(self, line: bytes, until: float) -> paramiko.Channel:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        transport = self._connected(left)
        channel = transport.open_session(window_size=WINDOW, timeout=max(0.1, until - time.monotonic()))
        channel.settimeout(max(0.1, until - time.monotonic()))
        channel.exec_command(line)  # bytes: what a file name is made of
        return channel

    def _connected(self, left: float) -> paramiko.Transport:
        if self._client is not None:
            transport = self._client.get_transport()
            if transport is not None and transport.is_active():
                return transport
            self.close()
        try:
            self._socket = self.address.socket()
            self._client = connect(self.address, min(left, CONNECT_S), self._socket)
        except DeviceMissing as error:
            if self._was_connected:  # it was there a moment ago and may come back
                raise DeviceOffline(error.what, hint=error.hint) from error
            raise
        self._was_connected = True
        transport = self._client.get_transport()
        if transport is None:
            raise ConnectionLost(f"the connection to {self.where} dropped")
        transport.set_keepalive(ALIVE_S)
        return transport

    @contextlib.contextmanager
    def _alarm(self, until: float) -> Iterator[None]:
        """Break the connection a moment after the deadline.

        paramiko waits without limit for the answer to a request, and for room to send on a network that swallows
        everything. While all is well, a deadline is kept without this.
        """

        def ring() -> None:
            if (link := self._socket) is not None:
                with contextlib.suppress(OSError):
                    if isinstance(link, socket.socket):
                        link.shutdown(socket.SHUT_RDWR)
                    else:
                        link.close()

        timer = threading.Timer(max(0.0, until - time.monotonic()) + ALARM_S, ring)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def _mapped(self, until: float) -> Iterator[None]:
        """paramiko's and the socket's errors as ours. A new error of paramiko is one of its SSHException."""
        try:
            yield
        except (DeviceError, TimeoutError, OverflowError):
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.close()
            if time.monotonic() >= until:
                raise TimeoutError from error
            raise ConnectionLost(f"the connection to {self.where} broke: {error or type(error).__name__}") from error


def _feed(channel: paramiko.Channel, pending: bytes, source: IO[bytes]) -> tuple[bytes | None, int]:
    """Send the next block, or the end of the input; returns what is left to send, None after the end."""
    if not pending:
        channel.shutdown_write()
        return None, 1
    try:
        sent = channel.send(pending)
    except OSError:
        return None, 0  # it does not want the rest; the exit code says why
    return pending[sent:] or source.read(BLOCK), sent
