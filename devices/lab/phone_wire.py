"""The adb transport protocol, seen from the phone: messages of 24 bytes and a payload, and streams inside of them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from typing import Protocol

from devices.lab.phone_faults import Direction, Fault, Faults

VERSION = 0x01000001  # of which both sides no longer look at checksums
MOST = 1 << 20  # the largest payload
_HEADER = struct.Struct("<6I")
_CNXN, _AUTH, _OPEN, _OKAY, _WRTE, _CLSE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
_TOKEN, _SIGNATURE, _PUBLIC_KEY = 1, 2, 3


class StreamClosed(Exception):
    """The other side closed the stream, or the connection is gone."""


class Owner(Protocol):
    """What a connection needs of the phone."""

    faults: Faults
    banner: bytes
    authorised: bool
    speaking: asyncio.Event

    def away(self, seconds: float) -> None:
        """Drop every connection; refuse new ones for a while."""

    async def serve(self, stream: Stream, service: str) -> None:
        """Do what a service does, until it ends or StreamClosed is raised."""


class Stream:
    """One service's conversation. The host may send one message before it is answered, and so may we."""

    def __init__(self, connection: Connection, number: int, theirs: int) -> None:
        self.number = number
        self.theirs = theirs
        self.operation = ""
        self.accepted = False
        self.closed = asyncio.Event()
        self._connection = connection
        self._faults = connection.owner.faults
        self._arrived = bytearray()
        self._unanswered = 0
        self._more = asyncio.Event()
        self._clear = asyncio.Event()
        self._clear.set()
        self._sending = asyncio.Lock()
        self._passed: dict[Direction, int] = {"in": 0, "out": 0}
        self._trickle: Fault | None = None

    async def begin(self, operation: str) -> None:
        """Name what is done from here on: faults are matched against it, and count its bytes."""
        self.operation = operation
        self._passed = {"in": 0, "out": 0}
        self._trickle = self._faults.take("trickle", operation)
        fault = self._faults.at_start(operation)
        if fault is not None:
            await self._act(fault)

    async def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes.

        Raises:
            StreamClosed: it ended before.
        """
        while len(self._arrived) < count:
            self._answer()
            self._more.clear()
            if self.closed.is_set():
                raise StreamClosed
            await self._more.wait()
        return await self._consume(count)

    async def some(self) -> bytes:
        """What is there, at least a byte; empty at the end."""
        try:
            first = await self.read(1)
        except StreamClosed:
            return b""
        rest = len(self._arrived)
        return first + (await self._consume(rest) if rest else b"")

    async def write(self, data: bytes) -> None:
        """Send, and wait until the other side has it.

        Raises:
            StreamClosed: it does not want it any more.
        """
        async with self._sending:
            if self._trickle is not None:
                for at in range(len(data)):
                    await self._write(data[at : at + 1])
                    await asyncio.sleep(self._trickle.seconds)
                return
            for start in range(0, len(data), self._connection.most):
                await self._write(data[start : start + self._connection.most])

    async def close(self) -> None:
        """End it from this side."""
        await self._clear.wait()
        if not self.closed.is_set():
            self.end()
            # A refusal has no number of ours: the server knows it only once the stream is accepted.
            await self._connection.send(_CLSE, self.number if self.accepted else 0, self.theirs)

    def end(self) -> None:
        """It is over, whoever ended it."""
        self.closed.set()
        self._more.set()
        self._clear.set()
        self._connection.forget(self)

    def on_okay(self) -> None:
        """The host has taken our message."""
        self._clear.set()

    def on_data(self, data: bytes) -> None:
        """A message of the host. It is answered when there is room for the next."""
        self._arrived += data
        self._unanswered += 1
        self._more.set()
        if len(self._arrived) <= MOST and not any(fault.left for fault in self._faults.all()):
            self._answer()  # the next message travels while this one is worked on

    def _answer(self) -> None:
        for _ in range(self._unanswered):
            self._connection.post(_OKAY, self.number, self.theirs)
        self._unanswered = 0

    async def _consume(self, count: int) -> bytes:
        data = bytes(memoryview(self._arrived)[:count])
        fault = self._faults.cutting(self.operation, "in", self._passed["in"], count)
        if fault is not None:
            await self._act(fault)
        del self._arrived[:count]
        self._passed["in"] += count
        if len(self._arrived) <= MOST:
            self._answer()
        return data

    async def _write(self, data: bytes) -> None:
        passed = self._passed["out"]
        fault = self._faults.cutting(self.operation, "out", passed, len(data))
        data = data if fault is None else data[: (fault.after or 0) - passed]
        if data:
            await self._clear.wait()
            if self.closed.is_set():
                raise StreamClosed
            self._clear.clear()
            self._passed["out"] += len(data)
            await self._connection.send(_WRTE, self.number, self.theirs, data)
        if fault is not None:
            await self._act(fault)

    async def _act(self, fault: Fault) -> None:
        if fault.kind == "drop":
            if fault.seconds:
                self._connection.owner.away(fault.seconds)
            self._connection.drop()
        elif fault.kind == "close":
            await self.close()
        else:
            await self.closed.wait()
        raise StreamClosed


class Connection:
    """One adb server that is connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, owner: Owner) -> None:
        self.owner = owner
        self.most = 4096
        self._reader = reader
        self._writer = writer
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._greeted = self._awaited = False
        link: socket.socket = writer.get_extra_info("socket")
        # asyncio does it only for sockets whose protocol number it knows; without it a push takes five times as long.
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self) -> None:
        """Until the connection ends. What was started then runs on, as it does on a phone."""
        try:
            while True:
                command, first, second, size, _, magic = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
                if magic != command ^ 0xFFFFFFFF or size > MOST:
                    return
                data = await self._reader.readexactly(size)
                await self.owner.speaking.wait()
                if (slow := self.owner.faults.take("latency", f"message {command:08x}")) is not None:
                    await asyncio.sleep(slow.seconds)
                self._take(command, first, second, data)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self.drop()

    async def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        """Send one message, no faster than the host takes it."""
        await self.owner.speaking.wait()
        self.post(command, first, second, data)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def post(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        """Send one message without waiting."""
        if not self._writer.is_closing():
            check = sum(data) if command in (_CNXN, _AUTH) else 0  # before the versions are known, it is looked at
            self._writer.write(_HEADER.pack(command, first, second, len(data), check, command ^ 0xFFFFFFFF) + data)

    def drop(self) -> None:
        """Break the connection after what was sent."""
        if not self._writer.is_closing():
            self._writer.close()
        for stream in list(self._streams.values()):
            stream.end()

    def forget(self, stream: Stream) -> None:
        """A stream that has ended."""
        self._streams.pop(stream.number, None)

    def greet(self) -> None:
        """Let the host in: it waits for this after a confirmation."""
        if self._awaited:
            self._awaited, self._greeted = False, True
            self.post(_CNXN, VERSION, MOST, self.owner.banner)

    def _take(self, command: int, first: int, second: int, data: bytes) -> None:
        """One message. Of a stream's, ``first`` is the host's number of it and ``second`` ours."""
        if command == _CNXN:
            self.most = min(second, MOST)
            self._awaited = True
            if self.owner.authorised:
                self.greet()
            else:
                self.post(_AUTH, _TOKEN, 0, secrets.token_bytes(20))
        elif command == _AUTH:
            if self.owner.authorised:
                self.greet()
            elif first == _SIGNATURE:  # of a key that is not known; after its last one the host sends its public key
                self.post(_AUTH, _TOKEN, 0, secrets.token_bytes(20))
        elif command == _OPEN and self._greeted:
            self._open(first, data.rstrip(b"\0").decode("utf-8", "surrogateescape"))
        elif (stream := self._streams.get(second)) is None:
            if command == _WRTE:
                self.post(_CLSE, 0, first)
        elif command == _OKAY:
            stream.on_okay()
        elif command == _WRTE:
            stream.on_data(data)
        elif command == _CLSE:
            stream.end()

    def _open(self, theirs: int, service: str) -> None:
        self._count += 1
        stream = Stream(self, self._count, theirs)
        self._streams[stream.number] = stream
        task = asyncio.create_task(self._serve(stream, service))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream, service: str) -> None:
        try:
            await stream.begin(service)
            if not service.startswith(("shell:", "shell,", "exec:", "sync:")):
                await stream.close()
                return
            stream.accepted = True
            await self.send(_OKAY, stream.number, stream.theirs)
            await self.owner.serve(stream, service)
            await stream.close()
        except StreamClosed:
            return
