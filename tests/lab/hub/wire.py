"""One listening address of the Hub on loopback: requests in, answers out, and the faults that spoil them."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tests.lab.hub.faults import Fault, Faults
from tests.lab.hub.repository import Refusal

PIECE = 1 << 20


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    where: str
    method: str
    path: str
    headers: Mapping[str, str]
    size: int


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


class Answering(Protocol):
    """Who knows the answers, and keeps what was asked."""

    faults: Faults
    complaints: list[str]
    asked: list[Asked]
    stopping: threading.Event

    def answer(self, asked: Asked, body: bytes) -> Answer: ...


class Listener:
    """One listening address."""

    def __init__(self, hub: Answering, where: str, port: int) -> None:
        class Handler(_Handler):
            pass

        Handler.hub, Handler.where = hub, where

        class Listening(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                error = sys.exc_info()[1]
                if not isinstance(error, ConnectionError):  # the client has heard enough
                    hub.complaints.append(f"the Hub itself failed: {error!r}")

        self._server = Listening(("127.0.0.1", port), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    hub: Answering
    where: str

    def do_GET(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.where, self.command, self.path, headers, len(body))
        self.hub.asked.append(asked)
        fault = self.hub.faults.take(self.command, self.path)
        try:
            if fault and not fault.late and self._instead(fault):
                return
            try:
                answer = self.hub.answer(asked, body)
            except Refusal as refusal:
                answer = as_json({"error": refusal.message}, refusal.status, **{"X-Error-Message": refusal.message})
                if refusal.code:
                    answer.headers["X-Error-Code"] = refusal.code
            if fault and fault.late and self._instead(fault):
                return
            self._send(answer, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has heard enough

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Requests are kept in ``HubServer.asked``."""

    def finish(self) -> None:
        try:
            super().finish()
        except (BrokenPipeError, ConnectionResetError):
            return

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _instead(self, fault: Fault) -> bool:
        """Answer by the fault alone, where it needs no body; False where it spoils one."""
        if fault.kind == "status":
            headers = {"Content-Type": "application/json", **dict(fault.headers)}
            self._send(Answer(fault.status, fault.body, headers), None)
        elif fault.kind == "redirect":
            self._send(Answer(302, b"", {"Location": fault.target}), None)
        elif fault.kind == "stall":
            self.hub.stopping.wait()
            self._cut()
        elif fault.kind == "endless":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
            piece = b"[" * (64 << 10)
            while not self.hub.stopping.is_set():
                self.wfile.write(piece)
        elif fault.kind == "drop" and fault.late:
            self._cut()
        else:
            return False
        return True

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        kind, body = fault.kind if fault else None, answer.body
        if kind == "corrupt" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        extra = fault.extra if fault and kind == "length" else 0
        self.send_header("Content-Length", str(len(body) + extra))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(body) // 2 if kind == "drop" else len(body)
        piece = 1 if kind == "trickle" else PIECE
        view = memoryview(body)
        for start in range(0, end, piece):
            self.wfile.write(view[start : min(start + piece, end)])
            if kind == "trickle":
                self.wfile.flush()
                if self.hub.stopping.is_set():
                    break
        self.wfile.flush()
        if kind in ("drop", "length"):
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
