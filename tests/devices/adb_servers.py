"""Two adb servers for tests: the real one, with a home and port of its own, and one that answers as it is told."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import adbutils

from tests.devices.sshd import free_port


@contextlib.contextmanager
def real_server(folder: Path) -> Iterator[str]:
    """The adb program's own server, without a phone; its address."""
    port = free_port()
    env = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder), "ANDROID_ADB_SERVER_PORT": str(port)}
    adb = [adbutils.adb_path(), "-P", str(port)]
    subprocess.run([*adb, "start-server"], env=env, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([*adb, "kill-server"], env=env, check=True, stdin=subprocess.DEVNULL)


Shell = Callable[["Talk", str], None]


class Talk:
    """One connection, seen from the server: what a phone would send."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.connection.recv(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def packet(self, kind: int, data: bytes) -> None:
        self.connection.sendall(struct.pack("<BI", kind, len(data)) + data)

    def block(self, text: str) -> None:
        self.connection.sendall(b"OKAY" + f"{len(text):04x}".encode() + text.encode())

    def fail(self, text: str) -> None:
        self.connection.sendall(b"FAIL" + f"{len(text):04x}".encode() + text.encode())

    def wait_for_the_end(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while self.connection.recv(65536):
                pass


class ScriptedServer(socketserver.ThreadingTCPServer):
    """Answers the server's questions from ``phones``; a shell or sync request is given to ``shell`` or ``sync``.

    Anything it is not told about is refused.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.phones: dict[str, str] = {}
        self.properties: dict[str, dict[str, str]] = {}
        self.features = "shell_v2,cmd"
        self.shell: Shell | None = None
        self.sync: Callable[[Talk], None] | None = None
        self.connects: list[str] = []
        self.on_connect: Callable[[str], None] | None = None
        self.silent = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def answer(self, talk: Talk) -> None:
        chosen = ""
        while True:
            service = talk.read(int(talk.read(4), 16)).decode()
            if self.silent:
                talk.wait_for_the_end()
                return
            if service == "host:version":
                talk.block("0029")
                return
            if service == "host:devices-l":
                talk.block("".join(f"{serial}    {state} product:p\n" for serial, state in self.phones.items()))
                return
            if service.startswith(("host:connect:", "host:disconnect:")):
                self.connects.append(service)
                if self.on_connect is not None:
                    self.on_connect(service)
                talk.block("connected to it")  # as it says also where nothing is
                return
            if service.startswith("host-serial:") and service.endswith(":features"):
                talk.block(self.features)
                return
            if service.startswith("host:transport:"):
                chosen = service.removeprefix("host:transport:")
                state = self.phones.get(chosen)
                if state != "device":
                    talk.fail(f"device '{chosen}' not found" if state is None else f"device {state}.")
                    return
                talk.connection.sendall(b"OKAY")
                continue
            if chosen and service == "shell,v2,raw:getprop":
                talk.connection.sendall(b"OKAY")
                lines = (f"[{key}]: [{value}]\n" for key, value in self.properties.get(chosen, {}).items())
                talk.packet(1, "".join(lines).encode())
                talk.packet(3, b"\0")
                return
            if chosen and service.startswith("shell,v2,raw:") and self.shell is not None:
                self.shell(talk, service.removeprefix("shell,v2,raw:"))
                return
            if chosen and service == "sync:" and self.sync is not None:
                talk.connection.sendall(b"OKAY")
                self.sync(talk)
                return
            talk.fail(f"unknown service {service[:30]}")
            return


class _Handler(socketserver.BaseRequestHandler):
    server: ScriptedServer

    def handle(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.server.answer(Talk(self.request))


@contextlib.contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A scripted server, running."""
    with ScriptedServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def run_here(talk: Talk, line: str) -> None:
    """A shell v2 that runs the line on this machine: what a phone does when nothing is wrong."""
    talk.connection.sendall(b"OKAY")
    with subprocess.Popen(
        ["sh", "-c", line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        sending = threading.Lock()

        def forward(stream: object, kind: int) -> None:
            while chunk := os.read(stream.fileno(), 65536):  # type: ignore[attr-defined]
                with sending, contextlib.suppress(OSError):
                    talk.packet(kind, chunk)

        def feed() -> None:
            with contextlib.suppress(OSError, EOFError, ValueError):
                while True:
                    kind, size = struct.unpack("<BI", talk.read(5))
                    data = talk.read(size)
                    if kind == 4:
                        break
                    process.stdin.write(data)  # type: ignore[union-attr]
                    process.stdin.flush()  # type: ignore[union-attr]
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]

        threads = [
            threading.Thread(target=forward, args=(process.stdout, 1)),
            threading.Thread(target=forward, args=(process.stderr, 2)),
        ]
        feeder = threading.Thread(target=feed)
        for thread in (*threads, feeder):
            thread.start()
        code = process.wait()
        for thread in threads:
            thread.join()
        with contextlib.suppress(OSError):
            talk.packet(3, bytes([code if code >= 0 else 128 - code]))
            talk.connection.shutdown(socket.SHUT_RDWR)
        feeder.join()


def sync_here(talk: Talk) -> None:
    """A sync v1 that writes and reads files on this machine."""
    kind, size = struct.unpack("<4sI", talk.read(8))
    path = talk.read(size).decode("utf-8", "surrogateescape")
    if kind == b"RECV":
        _send_file(talk, path)
        return
    path = path.rpartition(",")[0]
    try:
        with Path(path).open("wb") as file:
            while True:
                kind, size = struct.unpack("<4sI", talk.read(8))
                if kind == b"DONE":
                    break
                file.write(talk.read(size))
    except OSError as error:
        _sync_fail(talk, f"couldn't write file: {error.strerror}")
        return
    talk.connection.sendall(b"OKAY" + bytes(4))


def _send_file(talk: Talk, path: str) -> None:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        _sync_fail(talk, f"open failed: {error.strerror}")
        return
    for start in range(0, len(content), 65536):
        block = content[start : start + 65536]
        talk.connection.sendall(b"DATA" + struct.pack("<I", len(block)) + block)
    talk.connection.sendall(b"DONE" + bytes(4))


def _sync_fail(talk: Talk, reason: str) -> None:
    talk.connection.sendall(b"FAIL" + struct.pack("<I", len(reason)) + reason.encode())
    talk.wait_for_the_end()
