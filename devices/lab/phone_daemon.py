"""The daemon of a virtual phone: who is connected, what is served, and what its faults do to all of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import traceback
from collections.abc import Awaitable, Callable

from devices.lab import phone_answers, phone_root, phone_shell, phone_sync
from devices.lab.phone_faults import Faults
from devices.lab.phone_heat import Heat
from devices.lab.phone_profile import Profile
from devices.lab.phone_wire import Connection, Stream

TICK_S = 0.2
_BUFFER = 4 << 20


class Phone:
    """The daemon's state. Implements :class:`devices.lab.phone_wire.Owner`.

    Args:
        profile: what it pretends to be.
        bound: a TCP socket with the phone's address.
        log: told what happens.
    """

    def __init__(self, profile: Profile, bound: socket.socket, log: Callable[..., None]) -> None:
        self.profile = profile
        self.properties = dict(profile.properties)
        self.battery = dict(profile.battery)
        self.wakefulness = profile.wakefulness
        self.faults = Faults(log)
        self.banner = profile.banner()
        self.authorised = True
        self.speaking = asyncio.Event()
        self.speaking.set()
        self.connections: set[Connection] = set()
        self.log = log
        self._bound = bound
        self._address = bound.getsockname()
        self.port: int = self._address[1]
        self._server: asyncio.Server | None = None
        self._later: set[asyncio.Task[None]] = set()
        with phone_root.files_as(0):
            self.heat = Heat(profile)
            phone_answers.write(self)

    async def run(self, control: socket.socket) -> None:
        """Serve until the process is killed."""
        await self._listen()
        commands = await asyncio.start_unix_server(lambda r, w: phone_answers.converse(self, r, w), sock=control)
        self.log("ready", port=self.port)
        async with commands:
            while True:
                self.warm()
                await asyncio.sleep(TICK_S)

    async def serve(self, stream: Stream, service: str) -> None:
        """See :class:`devices.lab.phone_wire.Owner`."""
        self.log("open", service=service[:500])
        try:
            if service.startswith("sync:"):
                await phone_sync.serve(stream, self.faults)
            else:
                running = asyncio.create_task(phone_shell.run(stream, service, self.profile.env))
                await asyncio.sleep(0)
                self.warm()
                await running
        except OSError:
            self.log("error", text=traceback.format_exc())

    def warm(self) -> None:
        """Bring temperatures and clocks up to date."""
        with phone_root.files_as(0):
            self.heat.update(phone_shell.children() > 0)

    @property
    def listening(self) -> bool:
        """Whether it can be connected to now."""
        return self._server is not None and self.speaking.is_set()

    def away(self, seconds: float) -> None:
        """See :class:`devices.lab.phone_wire.Owner`: as a phone whose cable is pulled, and put back later."""
        self.log("away", seconds=seconds)
        if self._server is not None:
            self._server.close()
            self._server = None
            # Bound and not listening: the address stays ours, and whoever connects is refused.
            self._bound = bind(self._address)
        self.drop()
        self.later(seconds, self._return)

    def silent(self, seconds: float) -> None:
        """Connected, but nothing is read or said."""
        self.speaking.clear()
        self.later(seconds, self._return)

    def come_back(self) -> None:
        """Be there again now, however long it was to be away or silent."""
        self.later(0, self._return)

    def forget_host(self, seconds: float) -> None:
        """Let nobody in until it is confirmed on the screen: after some time, or by :meth:`authorise` where 0."""
        self.authorised = False
        self.drop()

        async def confirm() -> None:
            self.authorise()

        if seconds:
            self.later(seconds, confirm)

    def authorise(self) -> None:
        """'Allow USB debugging?' Yes."""
        self.authorised = True
        for connection in self.connections:
            connection.greet()

    def drop(self) -> None:
        """Break every connection."""
        for connection in list(self.connections):
            connection.drop()

    def later(self, seconds: float, what: Callable[[], Awaitable[None]]) -> None:
        """Do something after some time."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await what()

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _return(self) -> None:
        self.speaking.set()
        await self._listen()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, sock=self._bound, limit=_BUFFER)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self)
        self.connections.add(connection)
        self.log("connected", connections=len(self.connections))
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            self.log("disconnected", connections=len(self.connections))
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def bind(address: tuple[str, int]) -> socket.socket:
    """A TCP socket that has an address and does not listen yet."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(address)
    return bound
