"""The adb server's protocol, as far as it is needed: device list, connect, shell v2, sync. Every call has a deadline.

Written here and not taken from adbutils' client, which loses what this must know (docs/decisions/0101-adb-wire.md).
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from devices.errors import (
    ConnectionLost,
    DeviceError,
    DeviceMissing,
    DeviceOffline,
    NotAuthorised,
    OutputTooLarge,
    TransferRefused,
)
from devices.transport import MOST_OUTPUT

CONNECT_S = 5.0
CHUNK = 64 << 10  # the most a sync DATA block may hold
AT_ONCE = 8  # blocks of a pushed file that are sent together: each look whether the phone objects costs a system call
WAIT_S = 0.25  # the longest wait in one system call
Server = tuple[str, int]


class Attached(NamedTuple):
    """A line of the server's list: serial, state (device, offline, unauthorized, ...), and its ``key:value`` words."""

    serial: str
    state: str
    about: dict[str, str]


class Refused(Exception):
    """The server or the device answered FAIL; the text is its reason."""


class Late(Exception):
    """The deadline passed. ``stdout`` and ``stderr`` are what had arrived."""

    def __init__(self, stdout: bytes = b"", stderr: bytes = b"") -> None:
        super().__init__("deadline")
        self.stdout = stdout
        self.stderr = stderr


class Wire:
    """One connection to the server: exact reads and whole writes, none of them beyond ``until`` (monotonic)."""

    def __init__(self, server: Server, until: float) -> None:
        self._until = until
        left = until - time.monotonic()
        if left <= 0:
            raise Late
        try:
            self.socket = socket.create_connection(server, timeout=min(CONNECT_S, left))
        except OSError as error:
            reason = error.strerror or str(error)
            raise DeviceMissing(
                f"no adb server answers at {server[0]}:{server[1]}: {reason}",
                hint="adb start-server   (or write where it runs in an inventory file: transport: {server: HOST:PORT})",
            ) from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def send(self, data: bytes | memoryview, *, watch: bool = False) -> bool:
        """Send everything. With ``watch``, stop and return False as soon as the other side says something."""
        view = memoryview(data)
        while view:
            readable, _ = self.ready(write=True, read=watch)
            if watch and readable:
                return False
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise ConnectionLost(f"the connection to the adb server broke: {error.strerror or error}") from error
        return True

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes.

        Raises:
            ConnectionLost: the other side closed before.
            Late: the deadline passed.
        """
        data = bytearray()
        while len(data) < count:
            self.ready(read=True)
            chunk = self.some(count - len(data))
            if not chunk:
                raise ConnectionLost("the connection to the phone dropped")
            data += chunk
        return bytes(data)

    def some(self, most: int) -> bytes:
        """What is there now, up to ``most`` bytes; empty at the end of the stream."""
        try:
            return self.socket.recv(most)
        except BlockingIOError:
            self.ready(read=True)
            return self.some(most)
        except OSError as error:
            raise ConnectionLost(f"the connection to the adb server broke: {error.strerror or error}") from error

    def ready(self, *, read: bool = False, write: bool = False) -> tuple[bool, bool]:
        """Wait until the socket can be read or written; raises Late at the deadline."""
        poll = select.poll()
        poll.register(self.socket, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        while (left := self._until - time.monotonic()) > 0:
            # Never long in one call: what is raised in this thread from another arrives when the call returns.
            for _, events in poll.poll(min(left, WAIT_S) * 1000):
                broken = bool(events & ~(select.POLLIN | select.POLLOUT))  # the next read or write says how
                return (
                    read and (broken or bool(events & select.POLLIN)),
                    write and (broken or bool(events & select.POLLOUT)),
                )
        raise Late

    def request(self, service: bytes) -> None:
        """Ask for a service and wait for OKAY. Raises Refused with the reason."""
        if len(service) > 0xFFFF:
            raise ValueError("a command longer than 65535 bytes cannot be sent over adb")
        self.send(b"%04x" % len(service) + service)
        self.okay()

    def okay(self) -> None:
        """Read OKAY, or FAIL and its reason."""
        status = self.read(4)
        if status == b"FAIL":
            raise Refused(self.text())
        if status != b"OKAY":
            raise ConnectionLost(f"the adb server answered {status!r}")

    def text(self) -> str:
        """A block with its length in hexadecimal before it."""
        size = self.read(4)
        try:
            return self.read(int(size, 16)).decode("utf-8", "replace")
        except ValueError as error:
            raise ConnectionLost(f"the adb server answered {size!r}") from error


@contextmanager
def wire(server: Server, until: float) -> Iterator[Wire]:
    """A connection that is closed at the end of the block."""
    connection = Wire(server, until)
    try:
        yield connection
    finally:
        connection.socket.close()


def ask(server: Server, service: str, until: float) -> str:
    """One question to the server itself, such as ``host:version``."""
    with wire(server, until) as connection:
        connection.request(service.encode())
        return connection.text()


def attached(server: Server, until: float) -> list[Attached]:
    """The server's device list."""
    found = []
    for line in ask(server, "host:devices-l", until).splitlines():
        match = re.match(r"(\S+)\s+(no permissions|\S+)\s*(.*)", line)
        if match:
            about = dict(word.split(":", 1) for word in match[3].split() if ":" in word)
            found.append(Attached(match[1], match[2], about))
    return found


@contextmanager
def phone(server: Server, serial: str, service: bytes, until: float) -> Iterator[Wire]:
    """A connection to a service on the phone itself.

    Raises:
        DeviceOffline, DeviceMissing, NotAuthorised: the server cannot give us that phone now.
        Refused: the phone does not offer the service.
    """
    with wire(server, until) as connection:
        try:
            connection.request(b"host:transport:" + serial.encode())
        except Refused as error:
            raise unusable(serial, str(error)) from error
        connection.request(service)
        yield connection


def unusable(serial: str, reason: str) -> DeviceError:
    """The error for a state of the device list, or for the server's reason why a phone cannot be had."""
    said = reason.strip().splitlines()[0] if reason.strip() else "no reason"
    if "unauthorized" in said or "authorizing" in said:
        return NotAuthorised(
            f"the phone {serial} does not trust this computer yet",
            hint="unlock the phone and confirm 'Allow USB debugging?'; then `adb devices` lists it as 'device'",
        )
    if "no permissions" in said:
        return NotAuthorised(
            f"this user may not open the USB device of phone {serial}",
            hint="install the udev rules (apt-get install android-sdk-platform-tools-common), plug it in again",
        )
    return DeviceOffline(
        f"the phone {serial} does not answer: {said}",
        hint="plug it in again, or `adb reconnect`; a phone over TCP must be on the same network",
    )


def shell(server: Server, serial: str, command: bytes, stdin: bytes, until: float) -> tuple[int, bytes, bytes]:
    """Run a command line over shell v2: its exit code, stdout and stderr.

    Raises:
        Late: the deadline passed; the command may still run on the phone.
        ConnectionLost: the stream ended before the exit code.
        OutputTooLarge: more than MOST_OUTPUT bytes.
    """
    output = {1: bytearray(), 2: bytearray()}
    try:
        with phone(server, serial, b"shell,v2,raw:" + command, until) as connection:
            code = _converse(connection, stdin, output)
    except Late as late:
        raise Late(bytes(output[1]), bytes(output[2])) from late
    return code, bytes(output[1]), bytes(output[2])


def _converse(connection: Wire, stdin: bytes, output: dict[int, bytearray]) -> int:
    sending = memoryview(_stdin_packets(stdin))
    arrived = bytearray()
    while True:
        readable, writable = connection.ready(read=True, write=bool(sending))
        if writable:
            try:
                sending = sending[connection.socket.send(sending[:CHUNK]) :]
            except BlockingIOError:
                pass
            except OSError:
                sending = sending[:0]  # reading tells what happened
        if not readable:
            continue
        chunk = connection.some(CHUNK)
        if not chunk:
            raise ConnectionLost("the connection to the phone dropped before the command's exit code arrived")
        arrived += chunk
        at = 0
        while len(arrived) - at >= 5:
            kind, size = struct.unpack_from("<BI", arrived, at)
            if len(arrived) - at - 5 < size:
                break
            if kind == 3:
                return int(arrived[at + 5])
            if kind in output:
                output[kind] += arrived[at + 5 : at + 5 + size]
            at += 5 + size
        del arrived[:at]
        if max(len(arrived), *(len(part) for part in output.values())) > MOST_OUTPUT:
            raise OutputTooLarge(f"the command printed more than {MOST_OUTPUT >> 20} MiB and was ended")


def _stdin_packets(stdin: bytes) -> bytes:
    parts = bytearray()
    for start in range(0, len(stdin), CHUNK):
        block = stdin[start : start + CHUNK]
        parts += struct.pack("<BI", 0, len(block)) + block
    return bytes(parts + struct.pack("<BI", 4, 0))


def push(server: Server, serial: str, reading: IO[bytes], remote: str, until: float) -> None:
    """Send a file with sync v1, which every adbd speaks.

    Raises:
        Refused: the phone's reason (no space, read-only, no such folder).
        ConnectionLost, Late: the file there may be incomplete.
    """
    with phone(server, serial, b"sync:", until) as connection:
        path = remote.encode("utf-8", "surrogateescape") + b",33261"  # a regular file, mode 755
        open_ = connection.send(b"SEND" + struct.pack("<I", len(path)) + path)
        while open_ and (blocks := reading.read(CHUNK * AT_ONCE)):
            framed = bytearray()
            for start in range(0, len(blocks), CHUNK):
                block = memoryview(blocks)[start : start + CHUNK]
                framed += b"DATA" + struct.pack("<I", len(block))
                framed += block
            # A phone that cannot write says so in the middle, and need not read on.
            open_ = connection.send(memoryview(framed), watch=True)
        if open_:
            connection.send(b"DONE" + struct.pack("<I", int(time.time())))
        status, size = struct.unpack("<4sI", connection.read(8))
        if status == b"FAIL":
            raise Refused(connection.read(min(size, CHUNK)).decode("utf-8", "replace"))
        if status != b"OKAY" or not open_:
            raise ConnectionLost(f"the phone answered {status!r} in the middle of a push")


def pull(server: Server, serial: str, remote: str, writing: IO[bytes], until: float) -> None:
    """Fetch a file with sync v1.

    Raises:
        Refused: the phone's reason (no such file, a folder).
        ConnectionLost, Late: what was written is incomplete.
    """
    with phone(server, serial, b"sync:", until) as connection:
        path = remote.encode("utf-8", "surrogateescape")
        connection.send(b"RECV" + struct.pack("<I", len(path)) + path)
        while True:
            kind, size = struct.unpack("<4sI", connection.read(8))
            if kind == b"DONE":
                return
            if kind == b"FAIL":
                raise Refused(connection.read(min(size, CHUNK)).decode("utf-8", "replace"))
            if kind != b"DATA" or size > CHUNK:
                raise ConnectionLost(f"the phone answered {kind!r} in the middle of a pull")
            writing.write(connection.read(size))


def refusing(what: str, error: Refused) -> TransferRefused:
    """A phone's reason for not taking or giving a file, as an error."""
    reason = str(error) or "the phone gives no reason"
    full = "space" in reason.lower()
    return TransferRefused(
        f"{what}: {reason}", hint="free some space on the phone: adb shell df /data/local/tmp" if full else None
    )


def opened(path: Path) -> IO[bytes]:
    """A local file to send; what cannot be read is the caller's mistake, not the phone's."""
    try:
        return path.open("rb")
    except OSError as error:
        raise TransferRefused(f"cannot read {path}: {error.strerror}") from error
