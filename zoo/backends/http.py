"""A web server that lists its folders (nginx autoindex, Apache, ``python -m http.server``) as a read-only remote.

On :mod:`http.client`, because a body is wanted at the speed of the socket, in the middle if need be, and under rules of
our own: how slow it may be, where a redirect may lead, who is told a password (docs/decisions/0511).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

from pocketzoo import __version__
from zoo.backends.http_wire import Patience, Proxied, Response, connect, credentials, place, shown, unavailable
from zoo.backends.protocol import (
    LARGEST_LISTING,
    Blob,
    ReadOnly,
    RemoteBroken,
    RemoteBusy,
    RemoteDenied,
    RemoteUnavailable,
)
from zoo.backends.tree import TreeRemote

BLOCK = 1 << 18
MOST_REDIRECTS = 5
TRIES = 3
PAUSE_S = 0.5  # before the second try, twice that before the third, unless the server says how long
LONGEST_PAUSE_S = 20.0  # that a server may ask for
_AGAIN = (429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)")


def open_http(url: str, *, name: str = "", patience: Patience | None = None) -> TreeRemote:
    """The zoo that a web server shows under a URL.

    Args:
        url: http:// or https://, without user name, password, query or fragment.
        name: the remote's name; ``POCKETZOO_TOKEN_NAME`` may hold a bearer token for it. Else ~/.netrc is looked at.
        patience: how slow it may be.
    """
    return TreeRemote(HttpFiles(url, credentials(url, name), patience or Patience()))


class HttpFiles:
    """Implements :class:`zoo.backends.tree.Files`, but for writing."""

    def __init__(self, url: str, authorization: str | None, patience: Patience) -> None:
        self._base = url.rstrip("/") + "/"
        self._authorization = authorization
        self._patience = patience
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """The URL."""
        return self._base.rstrip("/")

    def names(self, folder: str) -> list[str]:
        """See :class:`Files`."""
        try:
            with self._get(f"{folder}/") as (response, url):
                kind = response.headers.get_content_type()
                text = self._text(response, url)
        except FileNotFoundError:
            if folder.count("/") == 0:  # a mistyped URL must not look like an empty zoo
                self._reachable()
            return []
        except RemoteDenied as error:
            error.hint = error.hint or "the server must list its folders (nginx: autoindex on)"
            raise
        return listed(text, kind, url, self.address)

    def size(self, path: str) -> int | None:
        """See :class:`Files`."""
        try:
            with self._get(path, method="HEAD") as (response, _):
                told = response.getheader("Content-Length", "")
                return int(told) if re.fullmatch(r"\d{1,18}", told) else None
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def open(self, path: str, offset: int) -> Iterator[Blob]:
        """See :class:`Files`."""
        with self._get(path, offset=offset) as (response, url):
            start = 0
            if response.status == 416:
                if response.getheader("Content-Range", "").strip() not in ("", f"bytes */{offset}"):
                    raise RemoteBroken("the file there is shorter than its manifest says", where=shown(url))
                yield Blob(offset, iter(()))
                return
            if response.status == 206:
                match = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range", ""))
                if match is None:
                    raise RemoteBroken("a part of a file that does not say which", where=shown(url))
                start = int(match[1])
            yield Blob(start, self._chunks(response, url))

    def write(self, path: str, content: bytes | Path) -> None:  # noqa: ARG002
        """See :class:`Files`."""
        raise ReadOnly(
            "a web server is read-only",
            where=self.address,
            hint="publish to the folder it shows, or over sftp: zoo remote add NAME sftp://USER@HOST/PATH",
        )

    def close(self) -> None:
        """See :class:`Files`."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def _reachable(self) -> None:
        try:
            with self._get(""):
                return
        except FileNotFoundError as error:
            raise RemoteUnavailable(
                "there is nothing under this address (404)", where=self.address, hint="zoo remote list"
            ) from error
        except RemoteDenied:
            return  # the root alone is not listed; that is no mistake

    def _text(self, response: Response, url: str) -> str:
        parts, total = [], 0
        for chunk in self._chunks(response, url):
            total += len(chunk)
            if total > LARGEST_LISTING:
                raise RemoteBroken(f"a listing of more than {LARGEST_LISTING:,} bytes", where=shown(url))
            parts.append(chunk)
        return b"".join(parts).decode("utf-8", "replace")

    def _chunks(self, response: Response, url: str) -> Iterator[bytes]:
        try:
            # Of a body whose length is known, nothing is read behind its end: the connection is used again.
            while response.length != 0 and (chunk := response.read1(BLOCK)):
                yield chunk
            if response.length:  # http.client says nothing of an end that comes too early
                raise RemoteUnavailable("the body broke off", where=shown(url), hint="run the same command again")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise unavailable(error, url) from error

    @contextlib.contextmanager
    def _get(self, path: str, *, offset: int = 0, method: str = "GET") -> Iterator[tuple[Response, str]]:
        """A successful answer, after redirects and a few tries; its connection is kept if it was read to its end."""
        url = self._base + quote(path)
        for attempt in range(1, TRIES + 1):
            try:
                connection, response, url = self._follow(self._base + quote(path), offset, method)
            except RemoteUnavailable:
                if attempt == TRIES:
                    raise
                time.sleep(PAUSE_S * attempt)
                continue
            if response.status not in _AGAIN or attempt == TRIES:
                break
            connection.close()
            time.sleep(_pause(response, url, attempt))
        try:
            self._judge(response, url)
            yield response, url
        finally:
            whole = response.length == 0 or response.isclosed()
            response.close()
            if whole and not response.will_close:
                with self._lock:
                    self._idle.setdefault(place(url), []).append(connection)
            else:
                connection.close()

    def _follow(self, url: str, offset: int, method: str) -> tuple[http.client.HTTPConnection, Response, str]:
        home = place(url)
        for _ in range(MOST_REDIRECTS + 1):
            headers = {"User-Agent": f"pocketzoo/{__version__}", "Accept-Encoding": "identity", "Accept": "*/*"}
            if self._authorization is not None and place(url) == home:
                headers["Authorization"] = self._authorization
            if offset:
                headers["Range"] = f"bytes={offset}-"
            connection, response = self._ask(url, method, headers)
            if response.status not in (301, 302, 303, 307, 308):
                return connection, response, url
            target = urljoin(url, response.getheader("Location", ""))
            connection.close()
            parts = urlsplit(target)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
                raise RemoteBroken("a redirect to what is no web address", where=shown(url))
            if urlsplit(url).scheme == "https" and parts.scheme != "https":
                raise RemoteBroken(
                    f"a redirect from https to http ({parts.hostname}) is not followed", where=shown(url)
                )
            url = target
        raise RemoteBroken(f"more than {MOST_REDIRECTS} redirects", where=shown(url))

    def _ask(self, url: str, method: str, headers: dict[str, str]) -> tuple[http.client.HTTPConnection, Response]:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        while True:
            with self._lock:
                kept = self._idle.get(place(url), [])
                connection = kept.pop() if kept else None
            fresh = connection is None
            try:
                if connection is None:
                    connection = connect(url, self._patience)
                proxied = isinstance(connection, Proxied)
                connection.request(method, url if proxied else path, headers=headers)
                response = connection.getresponse()
                if not isinstance(response, Response):
                    raise TypeError("an answer of another class")
                return connection, response
            except (OSError, http.client.HTTPException, ValueError) as error:
                if connection is not None:
                    connection.close()
                if fresh or isinstance(error, TimeoutError):  # one that was kept may have been closed meanwhile
                    raise unavailable(error, url) from error

    def _judge(self, response: Response, url: str) -> None:
        """Errors out of a status; 200 and 206 pass."""
        status, where = response.status, shown(url)
        if status in (404, 410):
            raise FileNotFoundError(where)
        if status in (401, 407):
            raise RemoteDenied(
                "the server wants a login that it has not got, or takes it no longer (401)",
                where=where,
                hint="write the host, login and password to ~/.netrc (mode 600), or set POCKETZOO_TOKEN_NAME",
            )
        if status == 403:
            raise RemoteDenied("the server does not show this (403)", where=where)
        if status not in (200, 206, 416):
            raise RemoteUnavailable(f"the server answers {status} {response.reason[:80]!r}", where=where)
        if response.getheader("Content-Encoding", "identity") != "identity":
            raise RemoteBroken("a file in an encoding that was not asked for", where=where)


def listed(text: str, kind: str, url: str, where: str) -> list[str]:
    """The names in a listing of a folder: links in HTML, or nginx's JSON. Pure.

    Args:
        text: the listing.
        kind: its content type.
        url: the folder's URL, ending in a slash.
        where: for the error.

    Raises:
        RemoteBroken: it is no listing.
    """
    if kind == "application/json":
        try:
            entries = json.loads(text)
            return [name for entry in entries if _plain(name := str(entry["name"]))]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RemoteBroken("a listing in JSON that is none", where=where) from error
    if kind not in ("text/html", "application/xhtml+xml"):
        raise RemoteBroken(f"a folder is answered with {kind[:60]!r}, not with a listing", where=where)
    links = _Links()
    links.feed(text)
    found: dict[str, None] = {}
    folder = urlsplit(url)
    for link in links.found:
        try:
            parts = urlsplit(urljoin(url, link))
        except ValueError:
            continue
        if (parts.scheme, parts.netloc) == (folder.scheme, folder.netloc) and parts.path.startswith(folder.path):
            name = unquote(parts.path[len(folder.path) :]).removesuffix("/")
            if _plain(name) and not parts.query:
                found[name] = None
    return list(found)


def _plain(name: str) -> bool:
    return bool(name) and "/" not in name and "\\" not in name and name not in (".", "..") and name.isprintable()


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _pause(response: http.client.HTTPResponse, url: str, attempt: int) -> float:
    """Seconds before the next try.

    Raises:
        RemoteBusy: the server asks for more than anybody waits.
    """
    told = response.getheader("Retry-After", "")
    if not re.fullmatch(r"\d{1,9}", told):
        return PAUSE_S * attempt
    if int(told) > LONGEST_PAUSE_S:
        raise RemoteBusy(
            f"the server answers {response.status} and asks to wait {told} s",
            where=shown(url),
            hint="run the same command again then; what has come is kept",
        )
    return float(told)
