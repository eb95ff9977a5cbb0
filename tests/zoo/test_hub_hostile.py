"""Who may see what on the Hub, what a hostile one may try, and that a token is nowhere to be seen."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketzoo.errors import PocketzooError
from tests.contracts.remote_contract import change_for, fetched, the_record
from tests.lab.hub import Fault, HubServer
from tests.zoo.hubs import CONTENT, TOKEN, publish, remote_at
from zoo.backends import hub_client
from zoo.backends.hub_client import TRIES
from zoo.backends.hub_errors import clean
from zoo.backends.protocol import Change, Remote, RemoteBroken, RemoteDenied, RemoteUnavailable

OTHER_TOKEN = "hf_WrongWrongWrongWrongWrong00"


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


class TestTokens:
    def test_a_wrong_token_is_denied(self, hub: HubServer, change: Change, tmp_path: Path) -> None:
        wrong = remote_at(hub, token=OTHER_TOKEN)
        for ask in (
            wrong.names,
            lambda: wrong.snapshot(change.name),
            lambda: wrong.put(change, None),
            lambda: fetched(wrong, change),
        ):
            with pytest.raises(RemoteDenied, match="does not know this token"):
                ask()

    def test_without_a_token_one_reads_what_is_public_and_cannot_write(
        self, hub: HubServer, change: Change, tmp_path: Path
    ) -> None:
        nobody = remote_at(hub, token="")
        assert nobody.names() == (change.name,)
        assert fetched(nobody, change) == CONTENT
        with pytest.raises(RemoteDenied, match="wants a token"):
            nobody.put(change_for(tmp_path, "another"), None)

    def test_a_private_repository_is_not_seen_without_the_token(self, hub: HubServer, tmp_path: Path) -> None:
        private = remote_at(hub, "hf://acme?private=true")
        change = change_for(tmp_path)
        private.put(change, None)
        assert hub.storage.repositories["acme/tiny-model"].private
        nobody = remote_at(hub, token="")
        assert nobody.names() == ()
        assert nobody.snapshot(change.name) is None
        assert nobody.address.endswith(", without a token")
        assert fetched(private, change) == b"weights" * 1000

    def test_a_gated_repository_shows_its_numbers_and_not_its_files(
        self, hub: HubServer, remote: Remote, change: Change
    ) -> None:
        hub.storage.repositories[f"acme/{change.name}"].gated = True
        assert fetched(remote, change) == CONTENT
        with pytest.raises(RemoteDenied, match="gated"):
            fetched(remote_at(hub, token=""), change)

    def test_a_redirect_does_not_take_the_token_along(self, hub: HubServer, remote: Remote, change: Change) -> None:
        with HubServer(tokens=(TOKEN,)) as elsewhere:
            for path in ("/revision/main", "/tree/", "/tags.json", "/api/models\\?", "/blob/"):
                hub.faults.order(Fault("redirect", path, target=f"{elsewhere.endpoint}/steal"))
                with contextlib.suppress(PocketzooError):
                    remote.names()
                    remote.snapshot(change.name)
                    fetched(remote, change)
            assert len(elsewhere.asked) == 5
            assert [asked for asked in elsewhere.asked if "authorization" in asked.headers] == []

    def test_a_page_elsewhere_does_not_get_the_token(self, hub: HubServer, remote: Remote, change: Change) -> None:
        with HubServer(tokens=(TOKEN,)) as elsewhere:
            link = (("Link", f'<{elsewhere.endpoint}/steal>; rel="next"'),)
            hub.faults.order(Fault("status", "/tree/", status=200, headers=link, body=b"[]"))
            with pytest.raises(PocketzooError):
                remote.snapshot(change.name)
            assert elsewhere.asked
            assert [asked for asked in elsewhere.asked if "authorization" in asked.headers] == []

    def test_the_token_is_in_no_output(
        self,
        hub: HubServer,
        remote: Remote,
        change: Change,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.DEBUG)
        echo = (("X-Error-Message", f"bad: Bearer {TOKEN} at https://u:{TOKEN}@h/?X-Signature=abcdef"),)
        shown = [repr(remote), repr(vars(remote)["_client"]), remote.address]
        for status in (400, 401, 402, 403, 404, 412, 418, 500):
            for path in ("/revision/main", "/tree/", "/resolve/", "/blob/", "/preupload/", "/commit/"):
                hub.faults.clear()
                hub.faults.order(Fault("status", path, status=status, headers=echo, count=TRIES * 2))
                try:
                    remote.snapshot(change.name)
                    fetched(remote, change)
                    remote.put(change_for(Path(next(iter(change.blobs.values()))).parent, licence=str(status)), None)
                except PocketzooError as error:
                    shown += [error.as_text(), repr(error.as_record()), *traceback.format_exception(error)]
        out, err = capfd.readouterr()
        everything = "\n".join([*shown, caplog.text, out, err])
        assert "it says" in everything
        assert TOKEN not in everything
        assert TOKEN[4:] not in everything
        assert "ignature=" not in everything


class TestHostileListing:
    def test_names_that_lead_elsewhere_are_nothing(self, hub: HubServer, remote: Remote, change: Change) -> None:
        before = remote.snapshot(change.name)
        digest = "ab" * 32
        for path in (
            "../../etc/passwd", "/etc/passwd", f"pocketzoo/entries/../{digest}.json",
            f"pocketzoo/entries/{digest}.json/x", f"pocketzoo/entries/{digest}.json\n",
            f"pocketzoo/measurements/{digest}/../../x.json",
            "pocketzoo\\entries",
            f"pocketzoo/files/{digest}/.ssh", f"pocketzoo/files/{digest}/a/b", "C:evil", "",
        ):  # fmt: skip
            hub.extra_tree.append({"type": "file", "path": path, "size": 3, "oid": "0" * 40})
        assert remote.snapshot(change.name) == before
        assert remote.names() == (change.name,)

    @pytest.mark.parametrize(
        "entry",
        [
            {"type": "file", "path": "a", "size": -1, "oid": "0" * 40},
            {"type": "file", "path": "a", "size": "many", "oid": "0" * 40},
            {"type": "file", "path": 7, "size": 1, "oid": "0" * 40},
            {"type": "file", "size": 1},
            {"type": "file", "path": "a", "size": 1, "oid": "0" * 40, "lfs": "yes"},
            {},
        ],
    )
    def test_a_listing_that_is_none_is_told(
        self, hub: HubServer, remote: Remote, change: Change, entry: dict[str, object]
    ) -> None:
        hub.extra_tree.append(entry)
        with pytest.raises(RemoteBroken):
            remote.snapshot(change.name)

    def test_a_manifest_that_is_too_large_is_not_read(self, hub: HubServer, remote: Remote, change: Change) -> None:
        path = f"pocketzoo/entries/{'cd' * 32}.json"
        hub.extra_tree.append({"type": "file", "path": path, "size": 5 << 20, "oid": "0" * 40})
        with pytest.raises(RemoteBroken, match="more than"):
            remote.snapshot(change.name)
        assert not hub.sent("GET", path)

    def test_pages_without_end_are_left(
        self, hub: HubServer, remote: Remote, change: Change, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_client, "MOST_REQUESTS", 30)
        hub.endless_pages = True
        hub.asked.clear()
        with pytest.raises(RemoteUnavailable):
            remote.names()
        assert len(hub.asked) == 30

    def test_a_hub_that_sends_no_parts_sends_all(self, hub: HubServer, remote: Remote, change: Change) -> None:
        hub.range_shift = None
        with remote.blob(change.name, change.digest, the_record(change), 1000) as body:
            assert body.offset == 0
            assert b"".join(body.chunks) == CONTENT

    def test_another_part_than_was_asked_for_is_refused(self, hub: HubServer, remote: Remote, change: Change) -> None:
        hub.range_shift = 7
        with (
            pytest.raises(RemoteBroken, match="from byte 1,007 on"),
            remote.blob(change.name, change.digest, the_record(change), 1000),
        ):
            pass

    def test_a_packed_body_is_refused(self, hub: HubServer, remote: Remote, change: Change) -> None:
        packed = (("Content-Encoding", "gzip"), ("Content-Type", "application/json"))
        hub.faults.order(Fault("status", "/tree/", status=200, headers=packed))
        with pytest.raises(RemoteBroken, match="packed"):
            remote.snapshot(change.name)

    @pytest.mark.parametrize(
        "path", ["/revision/main", "/tree/", "/api/models\\?", "/preupload/", "/batch$", "/commit/"]
    )
    def test_an_answer_to_another_question_is_told(
        self, hub: HubServer, remote: Remote, change: Change, tmp_path: Path, path: str
    ) -> None:
        hub.faults.order(Fault("status", path, status=200, count=None))
        with pytest.raises(RemoteBroken):
            remote.names()
            remote.put(change_for(tmp_path, content=b"new"), remote.snapshot(change.name))
        hub.faults.clear()
        after = remote.snapshot(change.name)
        assert after is not None
        assert set(after.manifests) == {change.digest}


def test_a_servers_text_is_cleaned() -> None:
    text = (
        f"no {TOKEN}\x1b[31m for\r\nhttps://user:word@h.example/a?X-Amz-Signature=1 hf_AnotherTokenOfThem " + "x" * 999
    )
    got = clean(text, TOKEN)
    assert got.startswith("no *** [31m for https://h.example/a *** x")
    assert len(got) == 300
