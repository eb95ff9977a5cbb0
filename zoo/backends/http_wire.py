"""One HTTP exchange, down to the socket: how slow it may be, proxies, certificates, who is told a password."""

from __future__ import annotations

import functools
import http.client
import io
import netrc
import os
import re
import socket
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from zoo.backends.protocol import RemoteUnavailable


@dataclass(frozen=True)
class Patience:
    """How slow a server may be: seconds without a byte, and bytes that must come in each window of seconds."""

    silence_s: float = 30.0
    window_s: float = 60.0
    least_bytes: int = 1024


class Proxied(http.client.HTTPConnection):
    """To a proxy, which is asked for whole URLs."""


class Response(http.client.HTTPResponse):
    """An answer whose status line, headers and body may be slow within limits only."""

    patience = Patience()

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Clocked(sock, self.patience), *args, **kwargs)  # type: ignore[arg-type]


class _Clocked:
    """A socket as :class:`http.client.HTTPResponse` uses it: to make a file of."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._socket = sock
        self._patience = patience

    def makefile(self, mode: str) -> io.BufferedReader:
        if mode != "rb":
            raise ValueError(mode)
        return io.BufferedReader(_Watched(self._socket, self._patience), 1 << 16)


class _Watched(io.RawIOBase):
    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        super().__init__()
        self._raw = sock.makefile("rb", buffering=0)
        self._socket = sock
        self._patience = patience
        self._since = time.monotonic()
        self._came = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        now = time.monotonic()
        left = self._since + self._patience.window_s - now
        if left <= 0:
            if self._came < self._patience.least_bytes:
                raise TimeoutError("the server sends too slowly")
            self._since, self._came, left = now, 0, self._patience.window_s
        self._socket.settimeout(min(self._patience.silence_s, left))
        count = self._raw.readinto(buffer)
        self._came += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def connect(url: str, patience: Patience) -> http.client.HTTPConnection:
    """A connection to the host of a URL, or to the proxy that the environment names for it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    response_class = type("_Patient", (Response,), {"patience": patience})
    proxy = None if proxy_bypass(host) else getproxies().get(parts.scheme)
    via = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
    login = {}
    if via is not None and via.username:
        pair = f"{unquote(via.username)}:{unquote(via.password or '')}"
        login["Proxy-Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    at = (via.hostname or "", via.port or 8080) if via is not None else (host, parts.port)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(*at, timeout=patience.silence_s, context=_tls())
        if via is not None:
            connection.set_tunnel(host, parts.port or 443, headers=login)
    elif via is not None:
        connection = Proxied(*at, timeout=patience.silence_s)
    else:
        connection = http.client.HTTPConnection(*at, timeout=patience.silence_s)
    connection.response_class = response_class
    connection.connect()
    return connection


def place(url: str) -> tuple[str, str]:
    """Scheme, and host with port: who is told a password, and whose connections are kept together."""
    parts = urlsplit(url)
    return parts.scheme, f"{(parts.hostname or '').lower()}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}"


def shown(url: str) -> str:
    """A URL without its query: signatures are there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def unavailable(error: Exception, url: str) -> RemoteUnavailable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RemoteUnavailable(
            f"its certificate is not valid: {error.verify_message}",
            where=shown(url),
            hint="for an authority of your own: SSL_CERT_FILE=/path/to/ca.pem",
        )
    said = {
        ConnectionRefusedError: "nothing listens there",
        TimeoutError: "it does not answer in time",
        socket.gaierror: "no such host",
    }
    text = next((text for kind, text in said.items() if isinstance(error, kind)), None)
    text = text or (error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__)
    return RemoteUnavailable(f"no answer: {text}", where=shown(url), hint="run the same command again")


def credentials(url: str, name: str) -> str | None:
    """The Authorization header for a remote's own host, out of the environment or ~/.netrc."""
    variable = "POCKETZOO_TOKEN_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    if name and (token := os.environ.get(variable)):
        return f"Bearer {token.strip()}"
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = netrc.netrc(str(path)).hosts.get(urlsplit(url).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    if found is None:
        return None
    return "Basic " + b64encode(f"{found[0]}:{found[2]}".encode()).decode()
