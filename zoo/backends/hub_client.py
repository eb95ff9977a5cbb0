"""Calls of huggingface_hub that end: bounded in bytes, requests and time, and every error one of a remote's own.

The library believes the server: it waits as long as ``Retry-After`` says, follows pages without end, reads an answer
of any size, has no time-out, and follows a ``Link`` with the token. What is asked inside :meth:`HubClient.bounded` is
held to limits by hooks in the library's own HTTP client; other users of the library in the same process see none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pocketzoo import __version__
from zoo.backends.hub_errors import GivenUp, Stumbled, told, wait_s
from zoo.backends.protocol import LARGEST_LISTING, Blob, RemoteBroken, RemoteUnavailable

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

HOSTED = "https://huggingface.co"
TRIES = 3  # of one request, the library's own included
PATIENCE_S = 60.0  # longer than this nobody waits for a rate limit to end; the command is given again
DEADLINE_S = 300.0  # for one call, whatever it asks; a body of an entry's file has none
MOST_REQUESTS = 2_000  # in one call: pages, files, retries
LARGEST_ERROR = 1 << 20
SLOWEST = 1 << 10  # bytes a second; a body slower than that over SLOW_AFTER_S is given up
SLOW_AFTER_S = 60.0
_TIMEOUT_S = {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": 60.0}

T = TypeVar("T")


@dataclass
class _Bounds:
    origin: tuple[str, str | None, int | None]
    deadline: float
    largest: int | None  # of a good answer, in bytes; None: whoever reads it counts
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    last: str = "no answer"
    status: int = 0


_BOUNDS: ContextVar[_Bounds | None] = ContextVar("bounds", default=None)
_READY = threading.Lock()
_is_ready = False


class HubClient:
    """One Hub as one person sees it. Made without asking anything, and without importing the library.

    Args:
        endpoint: the Hub's address.
        token: sent to that address alone; "" for none, None for the one this machine is logged in with.
        address: for messages.
    """

    def __init__(self, endpoint: str, token: str | None, address: str) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.address = address
        self._given = token
        self._lock = threading.Lock()
        self._api: HfApi | None = None
        self._token: str | None = token or None

    def __repr__(self) -> str:
        return f"HubClient({self.address!r})"

    @property
    def hosted(self) -> bool:
        """Whether this is the public Hub, which keeps large files in Xet; another server may not know it."""
        return self.endpoint == HOSTED

    @property
    def asked_by_nobody(self) -> bool:
        """Whether the Hub was asked, and no token was sent."""
        return self._api is not None and self._token is None

    def api(self) -> HfApi:
        """The library's client, made when it is first needed."""
        with self._lock:
            if self._api is None:
                _prepare()
                from huggingface_hub import HfApi, get_token

                if self._given is None:
                    with self.bounded():
                        self._token = get_token()
                self._api = HfApi(
                    endpoint=self.endpoint,
                    token=self._token or False,
                    library_name="pocketzoo",
                    library_version=__version__,
                )
            return self._api

    @contextlib.contextmanager
    def bounded(self, *, largest: int | None = LARGEST_LISTING) -> Iterator[None]:
        """Hold what is asked inside the block to limits, and turn its errors into a remote's own.

        Raises:
            RemoteUnavailable, RemoteDenied, RemoteBroken, Moved, BadInput: as :mod:`zoo.backends.hub_errors` says.
        """
        bounds = _Bounds(_origin(self.endpoint), time.monotonic() + DEADLINE_S, largest)
        set_before = _BOUNDS.set(bounds)
        try:
            yield
        except Exception as error:
            # The library's errors hold requests with their headers, and addresses with signatures: none goes along.
            raise told(error, self.address, self._token) from None
        finally:
            _BOUNDS.reset(set_before)

    def ask(self, call: Callable[[HfApi], T]) -> T:
        """Make a call that changes nothing when it is made twice; it is made again where the Hub stumbles."""
        api = self.api()

        def once() -> T:
            with self.bounded():
                return call(api)

        return _again(once)

    def read(self, repository: str, path: str, revision: str, limit: int) -> bytes:
        """A small file of a commit.

        Raises:
            RemoteBroken: it is larger than ``limit``, or not there.
        """
        self.api()

        def once() -> bytes:
            with self.bounded(largest=limit), self._opened(repository, path, revision, 0) as response:
                return b"".join(response.iter_raw())

        return _again(once)

    @contextlib.contextmanager
    def body(self, repository: str, path: str, revision: str, offset: int) -> Iterator[Blob]:
        """A large file of a commit from ``offset`` on, unbounded in size; slow, but not without end."""
        self.api()
        with contextlib.ExitStack() as stack:

            def once() -> httpx2.Response:
                with self.bounded(largest=None):
                    return stack.enter_context(self._opened(repository, path, revision, offset))

            response = _again(once)
            start = _start(response)
            if start not in (0, offset):
                raise RemoteBroken(f"the Hub sends {path} from byte {start:,} on, not {offset:,}", where=self.address)
            yield Blob(start, self._chunks(response))

    @contextlib.contextmanager
    def _opened(self, repository: str, path: str, revision: str, offset: int) -> Iterator[httpx2.Response]:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils._headers import build_hf_headers
        from huggingface_hub.utils._http import get_session, hf_raise_for_status

        url = hf_hub_url(repository, path, revision=revision, endpoint=self.endpoint)
        headers = build_hf_headers(token=self._token or False, library_name="pocketzoo", library_version=__version__)
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with get_session().stream("GET", url, headers=headers) as response:
            hf_raise_for_status(response)
            yield response

    def _chunks(self, response: httpx2.Response) -> Iterator[bytes]:
        waited, received = 0.0, 0
        chunks = response.iter_raw()
        while True:
            begun = time.monotonic()
            try:
                chunk = next(chunks, None)
            except Exception as error:
                raise told(error, self.address, self._token) from None
            if chunk is None:
                return
            waited += time.monotonic() - begun
            received += len(chunk)
            if too_slow(received, waited):
                raise RemoteUnavailable(
                    f"the Hub sent {received:,} bytes in {waited:.0f} s; that is too slow to wait for",
                    where=self.address,
                )
            yield chunk


def too_slow(received: int, waited_s: float) -> bool:
    """Whether a body comes so slowly that it will not be waited for."""
    return waited_s > SLOW_AFTER_S and received < waited_s * SLOWEST


def _again(once: Callable[[], T]) -> T:
    """Try, wait as long as the Hub asks for or a little, and try again; TRIES times in all."""
    for attempt in range(TRIES - 1):
        try:
            return once()
        except Stumbled as error:
            time.sleep(max(error.wait_s, 0.25 * 2**attempt))
    return once()


def _start(response: httpx2.Response) -> int:
    """Where a body starts: a server that ignores the range sends all of it."""
    match = re.match(r"bytes (\d{1,18})-", response.headers.get("content-range", ""))
    return int(match[1]) if match and response.status_code == 206 else 0


def _prepare() -> None:
    """Import the library, and put our hooks into the HTTP client that it makes; once in a process."""
    global _is_ready  # noqa: PLW0603  one client for the whole process is the library's way
    with _READY:
        if _is_ready:
            return
        with _import_settings():
            from huggingface_hub.utils import _http
        make = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None) or _http.default_client_factory

        def make_ours() -> httpx2.Client:
            client: httpx2.Client = make()
            hooks = client.event_hooks
            client.event_hooks = {
                "request": [*hooks.get("request", ()), _before],
                "response": [*hooks.get("response", ()), _after],
            }
            return client

        _http.set_client_factory(make_ours)
        for name in _TALKERS:
            logging.getLogger(name).addFilter(_quiet)
        _is_ready = True


# What they log of a request is its address, which for a file is signed; errors carry what a person needs.
_TALKERS = (
    "huggingface_hub.utils._http", "huggingface_hub.utils._pagination", "huggingface_hub.hf_api",
    "huggingface_hub._commit_api", "huggingface_hub.lfs", "httpx2",
    "httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks",
)  # fmt: skip


def _quiet(_: logging.LogRecord) -> bool:
    return _BOUNDS.get() is None


@contextlib.contextmanager
def _import_settings() -> Iterator[None]:
    """Settings that the library reads when it is imported: no telemetry, which would ask the public Hub about this
    machine whatever the endpoint, and no progress bars. Whoever has set or imported it already has decided."""
    ours = [name for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS") if name not in os.environ]
    if "huggingface_hub.constants" in sys.modules:
        ours = []
    for name in ours:
        os.environ[name] = "1"
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _origin(url: object) -> tuple[str, str | None, int | None]:
    parts = urlsplit(str(url))
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _before(request: httpx2.Request) -> None:
    """Every request, also of a redirect: counted, timed, and without the token where it is not for the Hub."""
    bounds = _BOUNDS.get()
    if bounds is None:
        return
    bounds.asked[request.method, str(request.url)] += 1
    times = bounds.asked[request.method, str(request.url)]
    creating = request.url.path.endswith("/api/repos/create")
    if creating and times > 1:
        time.sleep(0.2)  # the library asks again at once while the Hub is busy with another repository of ours
    if (
        times > (50 if creating else TRIES)
        or bounds.asked.total() > MOST_REQUESTS
        or time.monotonic() > bounds.deadline
    ):
        raise GivenUp(bounds.status, bounds.last)
    if _origin(request.url) != bounds.origin:
        request.headers.pop("Authorization", None)
    request.headers["Accept-Encoding"] = "identity"  # a small body may unpack to a large one
    request.extensions = {**request.extensions, "timeout": dict(_TIMEOUT_S)}


def _after(response: httpx2.Response) -> None:
    """Every answer: a wait that is too long ends it, and its body is counted while it is read."""
    bounds = _BOUNDS.get()
    if bounds is None:
        return
    good = response.status_code < 300
    if response.status_code >= 400:
        bounds.status, bounds.last = response.status_code, f"HTTP {response.status_code}"
        wait, patience = wait_s(response.headers), min(PATIENCE_S, bounds.deadline - time.monotonic())
        if (response.status_code == 429 or response.status_code >= 500) and wait > patience:
            raise GivenUp(response.status_code, f"HTTP {response.status_code}, and to come back in {wait:,} s")
    if "content-encoding" in response.headers and response.headers["content-encoding"] != "identity":
        raise GivenUp(0, "a packed body, which was not asked for", broken=True)
    limit = bounds.largest if good else LARGEST_ERROR
    if limit is not None:
        response.stream = _counted(response.stream, limit, bounds.deadline)


def _counted(stream: Any, limit: int, deadline: float) -> Any:
    import httpx2

    class Counted(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            total = 0
            for chunk in stream:
                total += len(chunk)
                if total > limit:
                    raise GivenUp(0, f"more than {limit:,} bytes", broken=True)
                if time.monotonic() > deadline:
                    raise GivenUp(0, f"{total:,} bytes in {DEADLINE_S:.0f} s and no end")
                yield chunk

        def close(self) -> None:
            stream.close()

    return Counted()
