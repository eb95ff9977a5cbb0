"""What goes wrong on the way to the Hub."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketzoo.errors import WorkFailed
from tests.contracts.remote_contract import change_for, fetched, the_record
from tests.lab.hub import Fault, HubServer
from tests.zoo.hubs import CONTENT, TOKEN, publish, remote_at
from zoo.backends import hub as hub_module
from zoo.backends import hub_client
from zoo.backends.hub import open_hub
from zoo.backends.hub_client import TRIES, too_slow
from zoo.backends.hub_errors import KINDS
from zoo.backends.protocol import Change, Remote, RemoteBroken, RemoteUnavailable


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(tokens=(TOKEN,)) as server:
        yield server
    assert server.complaints == []


@pytest.fixture
def remote(hub: HubServer) -> Remote:
    return remote_at(hub)


@pytest.fixture
def change(remote: Remote, tmp_path: Path) -> Change:
    return publish(remote, tmp_path)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of ours and of the library are counted elsewhere; here they only pass."""
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.mark.parametrize("extra", [0, 100_000])
def test_a_body_that_breaks_off_is_told_and_gone_on_with(
    hub: HubServer, remote: Remote, change: Change, extra: int
) -> None:
    hub.faults.order(Fault("length" if extra else "drop", "/blob/", extra=extra))
    received = b""
    with pytest.raises(RemoteUnavailable), remote.blob(change.name, change.digest, the_record(change), 0) as body:
        for chunk in body.chunks:
            received += chunk
    assert received
    assert CONTENT.startswith(received)
    assert received + fetched(remote, change, len(received)) == CONTENT


def test_a_corrupt_body_arrives_as_it_is_for_the_reader_to_hash(hub: HubServer, remote: Remote, change: Change) -> None:
    hub.faults.order(Fault("corrupt", "/blob/"))
    got = fetched(remote, change)
    assert len(got) == len(CONTENT)
    assert got != CONTENT


def test_a_body_shorter_than_said_ends_early(hub: HubServer, remote: Remote, change: Change) -> None:
    hub.faults.order(Fault("length", "/blob/", extra=-1000))
    assert fetched(remote, change) == CONTENT[:-1000]


def test_an_endless_file_can_be_left(hub: HubServer, remote: Remote, change: Change) -> None:
    hub.faults.order(Fault("endless", "/blob/"))
    received = 0
    with remote.blob(change.name, change.digest, the_record(change), 0) as body:
        for chunk in body.chunks:
            received += len(chunk)
            if received > the_record(change).size:
                break
    assert received < the_record(change).size + (2 << 20)


@pytest.mark.parametrize("path", ["/revision/main", "/tree/", "/tags.json", "/resolve/.*/entries/"])
def test_an_endless_answer_is_cut_off(hub: HubServer, remote: Remote, change: Change, path: str) -> None:
    hub.faults.order(Fault("endless", path))
    with pytest.raises(RemoteBroken, match="more than"):
        remote.snapshot(change.name)


@pytest.mark.parametrize("kind", ["drop", "trickle"])
def test_a_small_answer_that_stumbles_is_asked_for_again(
    hub: HubServer, remote: Remote, change: Change, kind: str
) -> None:
    before = remote.snapshot(change.name)
    hub.faults.order(Fault(kind, "/resolve/"), Fault(kind, "/revision/main"), Fault(kind, "/tree/"))  # type: ignore[arg-type]
    assert remote.snapshot(change.name) == before
    assert hub.faults.happened == 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", ["/revision/main", "/tree/", "/tags.json", "/blob/"])
def test_an_error_that_passes_is_asked_again(
    hub: HubServer, remote: Remote, change: Change, status: int, path: str
) -> None:
    hub.faults.order(Fault("status", path, status=status, count=TRIES - 1, headers=(("Retry-After", "1"),)))
    assert remote.snapshot(change.name) is not None
    assert fetched(remote, change) == CONTENT
    assert hub.faults.happened == TRIES - 1


@pytest.mark.parametrize("path", ["/revision/main", "/tree/", "/tags.json", "/api/models\\?"])
def test_an_error_that_stays_is_told_after_a_few_tries(
    hub: HubServer, remote: Remote, change: Change, path: str
) -> None:
    hub.faults.order(Fault("status", path, status=503, count=None))
    with pytest.raises(RemoteUnavailable, match="503"):
        remote.names() if path.startswith("/api") else remote.snapshot(change.name)
    assert hub.faults.happened == TRIES


@pytest.mark.parametrize("path", ["/revision/main", "/tree/"])
@pytest.mark.parametrize("header", [("Retry-After", "999999999"), ("RateLimit", '"api";r=0;t=86400')])
def test_nobody_waits_a_day_for_a_rate_limit(
    hub: HubServer, remote: Remote, change: Change, path: str, header: tuple[str, str]
) -> None:
    hub.faults.order(Fault("status", path, status=429, count=None, headers=(header,)))
    with pytest.raises(RemoteUnavailable, match="429, and to come back in"):
        remote.snapshot(change.name)
    assert hub.faults.happened == 1


def test_the_wait_that_is_asked_for_is_kept(
    hub: HubServer, remote: Remote, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    hub.faults.order(Fault("status", "/revision/main", status=429, headers=(("Retry-After", "7"),)))
    remote.snapshot(change.name)
    assert waits == [7]


def test_a_commit_between_is_no_reason_to_give_up(hub: HubServer, remote: Remote, tmp_path: Path) -> None:
    hub.faults.order(Fault("status", "/commit/", status=412, count=3))
    assert remote.put(change_for(tmp_path), None).changed
    assert len(hub.sent("POST", "/commit/")) == 4
    assert len(hub.sent("PUT", "/upload/")) == 1


def test_commits_without_end_between_are_told(
    hub: HubServer, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "COMMITS", 5)
    hub.faults.order(Fault("status", "/commit/", status=412, count=None))
    with pytest.raises(RemoteUnavailable, match="5 times another commit was faster"):
        remote.put(change_for(tmp_path), None)
    assert hub.faults.happened == 5


@pytest.mark.parametrize("fault", [Fault("drop", "/commit/", late=True), Fault("status", "/commit/", late=True)])
def test_a_commit_whose_answer_was_lost_is_found(hub: HubServer, remote: Remote, tmp_path: Path, fault: Fault) -> None:
    hub.faults.order(fault)
    done = remote.put(change_for(tmp_path), None)
    assert (done.changed, done.blobs_sent) == (True, 1)
    assert len(hub.storage.repositories["acme/tiny-model"].commits) == 2


@pytest.mark.parametrize("path", ["/preupload/", "/batch$", "/upload/", "/lfs/verify", "/commit/", "/repos/create"])
def test_a_publication_survives_one_server_error_anywhere(
    hub: HubServer, remote: Remote, tmp_path: Path, path: str
) -> None:
    hub.faults.order(Fault("status", path, status=503))
    assert remote.put(change_for(tmp_path), None).changed
    assert hub.faults.happened == 1
    assert remote.snapshot("tiny-model") is not None


@pytest.mark.parametrize("path", ["/preupload/", "/batch$", "/upload/", "/lfs/verify", "/commit/"])
def test_a_publication_that_fails_leaves_nothing_to_see(
    hub: HubServer, remote: Remote, tmp_path: Path, path: str
) -> None:
    hub.faults.order(Fault("status", path, status=503, count=None))
    with pytest.raises(RemoteUnavailable):
        remote.put(change_for(tmp_path), None)
    hub.faults.clear()
    assert remote.snapshot("tiny-model") is None


def test_a_file_that_changed_since_it_was_hashed_is_not_sent(hub: HubServer, remote: Remote, tmp_path: Path) -> None:
    change = change_for(tmp_path)
    (path,) = change.blobs.values()
    path.write_bytes(b"other__" * 1000)
    with pytest.raises(WorkFailed, match="is not the file"):
        remote.put(change, None)
    assert hub.storage.large == {}
    assert remote.snapshot(change.name) is None


def test_a_damaged_upload_is_refused_by_the_hub_and_told(hub: HubServer, remote: Remote, tmp_path: Path) -> None:
    hub.faults.order(Fault("status", "/upload/", status=400))
    with pytest.raises(RemoteBroken, match="400"):
        remote.put(change_for(tmp_path), None)
    assert remote.snapshot("tiny-model") is None


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    with HubServer() as gone:
        pass
    remote = open_hub("hf://acme", token="", endpoint=gone.endpoint)
    for ask in (remote.names, lambda: remote.snapshot("a")):
        with pytest.raises(RemoteUnavailable):
            ask()


def test_a_hub_that_does_not_answer_is_left(
    hub: HubServer, remote: Remote, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hub_client._TIMEOUT_S, "read", 0.2)
    hub.faults.order(Fault("stall", "/revision/main", count=None))
    with pytest.raises(RemoteUnavailable, match="in time"):
        remote.snapshot(change.name)
    assert hub.faults.happened == TRIES


def test_offline_is_told(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RemoteUnavailable, match="HF_HUB_OFFLINE"):
        remote.names()


def test_slow_is_a_rate_over_a_while() -> None:
    assert not too_slow(0, 59)
    assert too_slow(0, 61)
    assert too_slow(61_000, 61)
    assert not too_slow(61 * 1024, 61)


def test_every_exception_of_the_library_has_a_kind() -> None:
    import huggingface_hub.errors

    theirs = {
        name
        for name, value in inspect.getmembers(huggingface_hub.errors, inspect.isclass)
        if issubclass(value, BaseException) and value.__module__ == "huggingface_hub.errors"
    }
    assert theirs == set(KINDS)
