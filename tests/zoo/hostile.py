"""A web server over a folder that misbehaves on demand, and one that shows it through nginx.

A fault is queued for paths that contain a text, for a number of requests. What no client of ours asks for is kept as a
complaint, which the fixture turns into a failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
NO_NGINX = "needs nginx: apt-get install nginx-light"


@dataclass
class Fault:
    """``kind`` with its argument, for requests whose path contains ``match``, ``times`` times."""

    match: str
    kind: str
    value: object = None
    times: int = 1


@dataclass
class Web:
    """A running server: where it is, what it was asked (method, path, headers), what is queued."""

    folder: Path
    port: int
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    wants: str | None = None  # an Authorization header without which everything is 401
    ranges: bool = True
    sent: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fault(self, match: str, kind: str, value: object = None, times: int = 1) -> None:
        self.faults.append(Fault(match, kind, value, times))

    def take(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.match in path and fault.times > 0:
                fault.times -= 1
                return fault
        return None


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        self.server.web.complaints.append(f"{self.command} {self.path}")
        self.send_error(500)

    do_PUT = do_DELETE = do_POST

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        web = self.server.web
        headers = {key.lower(): value for key, value in self.headers.items()}
        web.requests.append((self.command, self.path, headers))
        if web.wants is not None and headers.get("authorization") != web.wants:
            return self._empty(401)
        fault = web.take(self.path)
        path = web.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if fault is not None and fault.kind in ("status", "redirect", "raw"):
            return self._instead(fault)
        if path.is_dir():
            return self._listing(path)
        if not path.is_file():
            return self._empty(404)
        return self._file(path.read_bytes(), headers.get("range"), fault)

    def _instead(self, fault: Fault) -> None:
        if fault.kind == "raw":
            assert isinstance(fault.value, bytes)
            self.wfile.write(fault.value)
            self.close_connection = True
        elif fault.kind == "redirect":
            self.send_response(302)
            self.send_header("Location", str(fault.value))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            assert isinstance(fault.value, tuple)
            code, extra = fault.value
            self._empty(code, extra)

    def _empty(self, code: int, extra: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _listing(self, path: Path) -> None:
        links = "".join(f'<a href="{e.name}{"/" if e.is_dir() else ""}">{e.name}</a>\n' for e in path.iterdir())
        data = f"<html><body><a href='../'>..</a>{links}</body></html>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _file(self, data: bytes, wanted: str | None, fault: Fault | None) -> None:
        web = self.server.web
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and web.ranges else 0
        if start and start >= len(data):
            return self._empty(416, {"Content-Range": f"bytes */{len(data)}"})
        body = data[start:]
        kind = fault.kind if fault else ""
        length: int | None = len(body)
        if kind == "length":
            assert fault is not None
            length = int(str(fault.value))
        if kind == "endless":
            length = None
        if kind == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if kind == "short":
            body = body[: len(body) // 2]
        self.send_response(206 if start else 200)
        if start:
            shown = start + 5 if kind == "wrong-range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(data) - 1}/{len(data)}")
        if length is not None:
            self.send_header("Content-Length", str(length))
        else:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self._body(body, kind)
        if kind:
            self.close_connection = True
        return None

    def _body(self, body: bytes, kind: str) -> None:
        web = self.server.web
        with contextlib.suppress(OSError):
            if kind == "endless":
                while not web.ended.is_set():
                    web.sent += self.wfile.write(b"x" * 65536)
            elif kind == "trickle":
                for byte in body:
                    if web.ended.wait(0.02):
                        break
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            elif kind == "stall":
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                web.ended.wait(60)
            else:
                web.sent += self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    web: Web

    def handle_error(self, request: object, address: object) -> None:
        """A client that goes away in the middle is what these tests are about."""


@contextlib.contextmanager
def web(folder: Path) -> Iterator[Web]:
    """A server over a folder; complaints fail the test that ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.web = Web(folder, server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.web
    finally:
        server.web.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert server.web.complaints == []


@contextlib.contextmanager
def nginx(folder: Path, own: Path) -> Iterator[str]:
    """A real nginx that lists ``folder``; its files are under ``own``. The URL."""
    assert NGINX is not None
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    own.mkdir()
    temporary = "".join(
        f"{kind}_temp_path {own}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (own / "nginx.conf").write_text(
        f"{user}worker_processes 1;\ndaemon off;\npid {own}/pid;\nerror_log {own}/error.log;\n"
        f"events {{ worker_connections 64; }}\nhttp {{\naccess_log off;\n{temporary}"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; }}\n}}\n"
    )
    process = subprocess.Popen([NGINX, "-c", str(own / "nginx.conf"), "-e", str(own / "error.log")])
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, (own / "error.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
