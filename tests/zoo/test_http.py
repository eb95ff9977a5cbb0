"""A web server as a remote: nginx, Python's server, and one that lies."""

from __future__ import annotations

import functools
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.remote_contract import ReadingContract, change_for, fetched, the_record
from tests.zoo import hostile
from tests.zoo.hostile import Web
from zoo.backends import http as backend
from zoo.backends.directory import open_directory
from zoo.backends.http import listed, open_http
from zoo.backends.http_wire import Patience
from zoo.backends.protocol import (
    Change,
    ReadOnly,
    Remote,
    RemoteBroken,
    RemoteBusy,
    RemoteDenied,
    RemoteUnavailable,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._ ~+%&'\[\]-]{0,20}", fullmatch=True)


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's ~/.netrc and proxies; and no pauses that prove nothing."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(backend, "PAUSE_S", 0.01)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def server(share: Path) -> Iterator[Web]:
    with hostile.web(share) as running:
        yield running


@pytest.fixture
def remote(server: Web) -> Iterator[Remote]:
    with closing(open_http(server.url)) as opened:
        yield opened


class _Reading(ReadingContract):
    @pytest.fixture
    def published(self, share: Path) -> Callable[[Change], object]:
        return lambda change: open_directory(share).put(change, open_directory(share).snapshot(change.name))


@pytest.mark.skipif(hostile.NGINX is None, reason=hostile.NO_NGINX)
class TestNginx(_Reading):
    @pytest.fixture
    def remote(self, share: Path, tmp_path: Path) -> Iterator[Remote]:
        with hostile.nginx(share, tmp_path / "nginx") as url, closing(open_http(url)) as remote:
            yield remote


class TestPythonsServer(_Reading):
    @pytest.fixture
    def remote(self, share: Path) -> Iterator[Remote]:
        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(share)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with closing(open_http(f"http://127.0.0.1:{server.server_address[1]}")) as remote:
                yield remote
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def change(share: Path, tmp_path: Path) -> Change:
    made = change_for(tmp_path, measured=1)
    open_directory(share).put(made, None)
    return made


def test_connections_are_kept(remote: Remote, server: Web, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = backend.connect

    def counted(url: str, patience: Patience) -> object:
        made.append(url)
        return original(url, patience)

    monkeypatch.setattr(backend, "connect", counted)
    remote.snapshot(change.name)
    assert len(server.requests) >= 5
    assert len(made) == 1


def test_a_part_is_asked_for_and_given(remote: Remote, server: Web, change: Change) -> None:
    with remote.blob(change.name, change.digest, the_record(change), 100) as body:
        assert body.offset == 100
        assert b"".join(body.chunks) == (b"weights" * 1000)[100:]
    assert server.requests[-1][2]["range"] == "bytes=100-"


def test_a_part_that_is_another_one_says_so(remote: Remote, server: Web, change: Change) -> None:
    server.fault("blobs", "wrong-range")
    with remote.blob(change.name, change.digest, the_record(change), 100) as body:
        assert body.offset == 105


def test_a_server_error_is_asked_again_a_few_times(remote: Remote, server: Web, change: Change) -> None:
    server.fault("entries", "status", (503, {}), times=2)
    assert remote.names() == (change.name,)
    server.fault("entries", "status", (500, {}), times=100)
    before = len(server.requests)
    with pytest.raises(RemoteUnavailable, match="500"):
        remote.names()
    assert len(server.requests) - before == backend.TRIES


def test_too_many_requests_are_followed_by_the_pause_asked_for(
    remote: Remote, server: Web, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(backend.time, "sleep", pauses.append)
    server.fault("entries", "status", (429, {"Retry-After": "7"}))
    assert remote.names() == (change.name,)
    assert pauses == [7.0]
    server.fault("entries", "status", (429, {"Retry-After": "86400"}))
    with pytest.raises(RemoteBusy, match="86400 s"):
        remote.names()
    assert pauses == [7.0]


@pytest.mark.parametrize(("status", "error"), [(401, RemoteDenied), (403, RemoteDenied), (418, RemoteUnavailable)])
def test_a_refusal_is_not_asked_again(
    remote: Remote, server: Web, change: Change, status: int, error: type[Exception]
) -> None:
    server.fault("entries", "status", (status, {}))
    with pytest.raises(error):
        remote.names()
    assert len(server.requests) == 1


def test_a_body_that_breaks_off_is_told_also_where_it_is_small(remote: Remote, server: Web, change: Change) -> None:
    server.fault("/entries/tiny-model/", "length", 5000, times=10)
    with pytest.raises(RemoteUnavailable, match="broke off"):
        remote.snapshot(change.name)


def test_a_manifest_without_end_is_left(remote: Remote, server: Web, change: Change) -> None:
    server.fault(f"{change.digest}.json", "endless", times=10)
    with pytest.raises(RemoteBroken, match="more than"):
        remote.snapshot(change.name)


def test_a_listing_without_end_is_left(
    remote: Remote, server: Web, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "LARGEST_LISTING", 100_000)
    (share / "entries").write_bytes(b"")
    server.fault("/entries/", "endless")
    with pytest.raises(RemoteBroken, match="listing"):
        remote.names()


def test_a_trickle_and_a_silence_end(server: Web, change: Change) -> None:
    with closing(open_http(server.url, patience=Patience(silence_s=30, window_s=0.3, least_bytes=1024))) as remote:
        server.fault("blobs", "trickle")
        with pytest.raises(RemoteUnavailable, match="in time"):
            fetched(remote, change)
    with closing(open_http(server.url, patience=Patience(silence_s=0.3, window_s=30))) as remote:
        server.fault("blobs", "stall")
        with pytest.raises(RemoteUnavailable, match="in time"):
            fetched(remote, change)


def test_headers_without_end_are_left(remote: Remote, server: Web, change: Change) -> None:
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(5000))
    server.fault("entries", "raw", b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", times=10)
    with pytest.raises(RemoteUnavailable):
        remote.names()


def test_what_is_no_http_is_told(remote: Remote, server: Web, change: Change) -> None:
    server.fault("entries", "raw", b"\x00\x01\x02 nonsense\r\n\r\n", times=10)
    with pytest.raises(RemoteUnavailable):
        remote.names()


def test_a_login_is_told_to_its_own_host_alone(
    server: Web, share: Path, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "secret-token-of-mine"
    monkeypatch.setenv("POCKETZOO_TOKEN_MY_SHARE", token)
    server.wants = f"Bearer {token}"
    path = f"blobs/sha256/{change.digest[:2]}/{change.digest}"
    with hostile.web(share) as other, closing(open_http(server.url, name="my-share")) as remote:
        server.fault("blobs", "redirect", f"{other.url}/{path}")
        assert fetched(remote, change) == b"weights" * 1000
        assert [(method, asked) for method, asked, _ in other.requests] == [("GET", f"/{path}")]
        assert all("authorization" not in headers for _, _, headers in other.requests)
        server.fault("blobs", "redirect", f"/{path}")
        assert fetched(remote, change) == b"weights" * 1000
        assert token not in repr(remote) + remote.address


def test_a_wrong_login_is_told_without_it(server: Web, change: Change, tmp_path: Path) -> None:
    server.wants = "Basic " + b64encode(b"me:right").decode()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password wrong-password\n")
    netrc.chmod(0o600)
    with closing(open_http(server.url)) as remote, pytest.raises(RemoteDenied) as caught:
        remote.names()
    assert "wrong-password" not in caught.value.as_text()
    netrc.write_text("machine 127.0.0.1 login me password right\n")
    with closing(open_http(server.url)) as remote:
        assert remote.names() == (change.name,)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://user:pass@127.0.0.1/"])
def test_a_redirect_to_what_is_no_web_address_is_refused(
    remote: Remote, server: Web, change: Change, target: str
) -> None:
    server.fault("entries", "redirect", target)
    with pytest.raises(RemoteBroken, match="redirect"):
        remote.names()


def test_redirects_in_a_circle_end(remote: Remote, server: Web, change: Change) -> None:
    server.fault("entries", "redirect", "/entries/", times=1000)
    with pytest.raises(RemoteBroken, match="redirects"):
        remote.names()
    assert len(server.requests) == backend.MOST_REDIRECTS + 1


def test_nothing_is_published_over_http(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(ReadOnly):
        remote.put(change_for(tmp_path), None)


def test_a_mistyped_address_does_not_look_like_an_empty_zoo(server: Web) -> None:
    with closing(open_http(f"{server.url}/nowhere")) as remote, pytest.raises(RemoteUnavailable, match="404"):
        remote.names()


def test_a_server_that_is_not_there_is_told(server: Web) -> None:
    port = hostile.socket.socket()
    port.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{port.getsockname()[1]}"
    with port, closing(open_http(url)) as remote, pytest.raises(RemoteUnavailable, match="nothing listens"):
        remote.names()


@given(names=st.sets(NAMES, max_size=8))
def test_names_survive_a_listing(names: set[str]) -> None:
    import html
    from urllib.parse import quote

    links = "".join(f'<a href="{html.escape(quote(n))}/">x</a>' for n in names if n not in (".", ".."))
    found = listed(f"<pre><a href='../'>..</a>{links}</pre>", "text/html", "http://h/zoo/entries/", "w")
    assert set(found) == names - {".", ".."}


@given(st.text(), st.sampled_from(["text/html", "application/json", "text/plain"]))
def test_whatever_is_listed_is_one_plain_component(text: str, kind: str) -> None:
    try:
        found = listed(text, kind, "http://h/zoo/entries/", "w")
    except RemoteBroken:
        return
    assert all(name and "/" not in name and name not in (".", "..") for name in found)


@pytest.mark.parametrize(
    "link",
    ["../up", "/other", "http://else.where/zoo/entries/x", "..%2f..%2fetc", "%2e%2e", "a/b", "?C=N;O=D", "#top", "//h",
     "javascript:x", "..%5cx", "a%0ab", "http://[bad"],
)  # fmt: skip
def test_links_out_of_the_folder_are_left_out(link: str) -> None:
    assert listed(f'<a href="{link}">x</a>', "text/html", "http://h/zoo/entries/", "w") == []
