"""A relay in front of a board's sshd that breaks what passes through it: the faults of a network, on request."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

Kind = Literal["drop", "hang", "flip", "latency", "offline"]
_BLOCK = 32 << 10


@dataclass(frozen=True)
class Trouble:
    """One thing to go wrong, once.

    Attributes:
        kind: drop: the connection breaks; hang: nothing passes any more; flip: a bit is another one; latency: every
            block waits; offline: no connection is let in.
        after: bytes that still pass, in both directions together.
        seconds: how long it is offline after a drop, or how long a block waits.
    """

    kind: Kind
    after: int = 0
    seconds: float = 0.0


class Relay:
    """Listens on a port of its own. Use as a context manager.

    Args:
        port: of the sshd behind it, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._links: list[socket.socket] = []
        self._lock = threading.Lock()
        self._trouble: Trouble | None = None
        self._passed = 0
        self._away_until = 0.0
        self.happened = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def ask(self, trouble: Trouble) -> None:
        """Have something go wrong from now on."""
        with self._lock:
            self._passed = 0
            self._trouble = trouble
            if trouble.kind == "offline":
                self._away_until = time.monotonic() + trouble.seconds
                self.happened += 1
        if trouble.kind == "offline":
            self._cut()

    def calm(self) -> None:
        """Pass everything again; connections that hang are broken."""
        with self._lock:
            hung = self._trouble is not None and self._trouble.kind in ("hang", "flip")
            self._trouble = None
            self._away_until = 0.0
        if hung:
            self._cut()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # A thread that waits in accept() is not woken by close().
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            _close(link)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if time.monotonic() < self._away_until:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            for link in (near, far):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._links += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while block := source.recv(_BLOCK):
                allowed = self._through(block)
                if allowed is None:
                    continue  # swallowed: the other side waits for ever
                target.sendall(allowed)
        except OSError:
            return
        finally:
            _close(source)
            _close(target)

    def _through(self, block: bytes) -> bytes | None:
        """The block as it goes on; None where nothing does."""
        with self._lock:
            trouble, before = self._trouble, self._passed
            self._passed += len(block)
            at = 0 if trouble is None else trouble.after - before
            if trouble is None or at >= len(block):
                return block
            if at >= 0 and trouble.kind != "offline":
                self.happened += 1
            if trouble.kind == "drop":
                self._trouble = None
                self._away_until = time.monotonic() + trouble.seconds
        if trouble.kind == "drop":
            self._cut()
            raise ConnectionResetError
        if trouble.kind == "hang":
            return None
        if trouble.kind == "latency":
            time.sleep(trouble.seconds)
        elif trouble.kind == "flip" and at >= 0:
            return block[:at] + bytes([block[at] ^ 0x10]) + block[at + 1 :]
        return block


def _close(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
