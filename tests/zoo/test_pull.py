"""Pulling: from the store, from remotes in their order, resumed, and out of hostile hands."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import sha256_bytes, sha256_file
from tests.contracts.remote_contract import change_for, the_record
from tests.records import measurement_for
from tests.zoo import hostile
from tests.zoo.hostile import Web
from zoo import receive as receiving
from zoo.artifact import SCHEMA, Artifact, FileRecord, encode
from zoo.backends import http as http_backend
from zoo.backends.directory import open_directory
from zoo.backends.protocol import Change, RemoteBroken, RemoteDenied, RemoteUnavailable
from zoo.cli import zoo
from zoo.decode import decode_artifact
from zoo.pull import Offer, pull
from zoo.receive import receive
from zoo.remotes import RemoteConfig, add_remote
from zoo.store import Store
from zoo.verify import verify_entry

CONTENT = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pauses that prove nothing, and nobody's logins."""
    monkeypatch.setattr(http_backend, "PAUSE_S", 0.01)
    monkeypatch.setattr(receiving, "PAUSES_S", (0.01, 0.01))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


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
def change(share: Path, tmp_path: Path) -> Change:
    made = change_for(tmp_path, "net-quant", CONTENT, measured=2)
    open_directory(share).put(made, None)
    return made


def folder_remote(share: Path, name: str = "share") -> RemoteConfig:
    return RemoteConfig(name=name, url=share.as_uri())


def web_remote(server: Web, name: str = "web") -> RemoteConfig:
    return RemoteConfig(name=name, url=server.url)


def sound(store: Store, name: str = "net-quant") -> bool:
    """Every file hashed; these contents are no real models, so none of them loads."""
    return all(finding.ok for finding in verify_entry(store, store.get(name)) if finding.check != "loads")


def nothing_of(store: Store) -> bool:
    """Neither an entry nor a visible file."""
    return store.names() == [] and not list((store.root / "blobs").rglob("*/*/*"))


def test_an_entry_arrives_whole_with_tag_and_measurements(store: Store, share: Path, change: Change) -> None:
    done = pull("net-quant", store=store, remotes=[folder_remote(share)])
    assert (done.source, done.fetched, done.resumed, done.measurements) == ("share", len(CONTENT), 0, 2)
    assert done.entry.tags == ("latest",)
    assert len(store.get("net-quant").measurements) == 2
    assert store.file(done.entry.artifact.files[0]).read_bytes() == CONTENT
    assert sound(store)
    assert not list((store.root / "partial").iterdir())


def test_what_is_there_is_served_without_asking_anybody(store: Store, server: Web, change: Change) -> None:
    pull("net-quant", store=store, remotes=[web_remote(server)])
    asked = len(server.requests)
    for offline in (False, True):
        done = pull("net-quant", store=store, remotes=[web_remote(server)], offline=offline)
        assert (done.source, done.fetched) == ("local", 0)
    assert len(server.requests) == asked


def test_offline_asks_nobody(store: Store, server: Web, change: Change) -> None:
    for reference in ("net-quant", "web/net-quant"):
        with pytest.raises(BadInput):
            pull(reference, store=store, remotes=[web_remote(server)], offline=True)
    assert server.requests == []


def test_a_named_remote_is_asked_for_tags_and_measurements_but_not_for_bytes(
    store: Store, server: Web, share: Path, change: Change, tmp_path: Path
) -> None:
    pull("net-quant", store=store, remotes=[web_remote(server)])
    more = change_for(tmp_path, "net-quant", CONTENT, measured=3, tags=("v2",))
    open_directory(share).put(more, open_directory(share).snapshot("net-quant"))
    server.requests.clear()
    done = pull("web/net-quant:v2", store=store, remotes=[web_remote(server)])
    assert (done.fetched, done.measurements) == (0, 1)
    assert store.get("net-quant:v2").tags == ("latest", "v2")
    assert not [path for _, path, _ in server.requests if "blobs" in path]


def test_a_tag_that_moved_is_followed_and_said(store: Store, share: Path, change: Change, tmp_path: Path) -> None:
    remotes = [folder_remote(share)]
    pull("net-quant", store=store, remotes=remotes)
    newer = change_for(tmp_path, "net-quant", b"newer")
    open_directory(share).put(newer, open_directory(share).snapshot("net-quant"))
    assert pull("net-quant", store=store, remotes=remotes).entry.artifact.digest == change.digest
    done = pull("net-quant", store=store, remotes=remotes, refresh=True)
    assert done.entry.artifact.digest == newer.digest
    assert [warning for warning in done.warnings if change.digest in warning]
    assert store.get(f"net-quant@sha256:{change.digest}").tags == ()


def test_a_digest_brings_that_entry_and_moves_no_tag(store: Store, share: Path, change: Change) -> None:
    done = pull(f"net-quant@sha256:{change.digest}", store=store, remotes=[folder_remote(share)])
    assert (done.entry.artifact.digest, done.entry.tags) == (change.digest, ())


def test_a_file_damaged_here_is_fetched_again_by_its_digest(
    store: Store, share: Path, change: Change, tmp_path: Path
) -> None:
    remotes = [folder_remote(share)]
    entry = pull("net-quant", store=store, remotes=remotes).entry
    newer = change_for(tmp_path, "net-quant", b"newer")
    open_directory(share).put(newer, open_directory(share).snapshot("net-quant"))
    blob = store.file(entry.artifact.files[0])
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.write(b"flip")
    with pytest.raises(WorkFailed, match="was changed"):
        pull("net-quant", store=store, remotes=remotes, offline=True)
    done = pull("net-quant", store=store, remotes=remotes)
    assert (done.entry.artifact.digest, done.fetched) == (change.digest, len(CONTENT))
    assert sound(store)


def test_the_default_is_asked_before_the_others_and_each_may_have_it(
    store: Store, share: Path, change: Change, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for name, folder in (("first", share), ("second", other)):
        open_directory(folder).put(change_for(tmp_path, f"only-{name}", name.encode()), None)
    open_directory(other).put(change_for(tmp_path, "net-quant", b"of the second"), None)
    remotes = [folder_remote(share, "first"), folder_remote(other, "second")]
    assert pull("net-quant", store=store, remotes=remotes).source == "first"
    assert pull("only-second", store=store, remotes=remotes).source == "second"
    assert pull("second/net-quant", store=store, remotes=remotes).entry.artifact.size_bytes == len(b"of the second")


def test_an_unknown_name_says_who_was_asked_and_what_is_near(
    store: Store, share: Path, change: Change, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    open_directory(other).put(change_for(tmp_path, "net-quant2", b"x"), None)
    remotes = [folder_remote(share, "first"), folder_remote(other, "second")]
    with pytest.raises(BadInput) as caught:
        pull("nett-quant", store=store, remotes=remotes)
    text = caught.value.as_text()
    assert "did you mean net-quant or net-quant2?" in text
    assert all(part in text for part in ("the local zoo", f"first ({share})", f"second ({other})"))
    with pytest.raises(BadInput) as caught:
        pull("net-quant:v9", store=store, remotes=remotes)
    assert "first/net-quant:latest" in caught.value.as_text()


def test_it_cannot_be_known_where_a_remote_does_not_answer(
    store: Store, share: Path, change: Change, tmp_path: Path
) -> None:
    remotes = [folder_remote(tmp_path / "gone", "gone"), folder_remote(share)]
    with pytest.raises(RemoteUnavailable) as caught:
        pull("nothing", store=store, remotes=remotes)
    assert "gone: the folder of this remote is not there" in caught.value.as_text()
    done = pull("net-quant", store=store, remotes=remotes)
    assert done.source == "share"
    assert [warning for warning in done.warnings if warning.startswith("gone did not answer")]


def test_a_broken_transfer_goes_on_where_it_was(store: Store, server: Web, change: Change) -> None:
    server.fault("blobs", "length", len(CONTENT) * 2)
    server.faults[-1].kind = "short"
    done = pull("net-quant", store=store, remotes=[web_remote(server)])
    ranges = [headers.get("range") for _, path, headers in server.requests if "blobs" in path]
    assert ranges == [None, f"bytes={len(CONTENT) // 2}-"]
    assert done.fetched == len(CONTENT)
    assert sound(store)


def test_a_partial_file_is_hashed_and_gone_on_with(store: Store, server: Web, change: Change) -> None:
    partial = store.partial(change.digest)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:300_000])
    done = pull("net-quant", store=store, remotes=[web_remote(server)])
    assert (done.resumed, done.fetched) == (300_000, len(CONTENT) - 300_000)
    assert sound(store)


@pytest.mark.parametrize("left", [b"x" * 1000, CONTENT + b"more", CONTENT[:-1] + b"x", CONTENT])
def test_a_partial_file_that_is_wrong_is_thrown_away(store: Store, server: Web, change: Change, left: bytes) -> None:
    partial = store.partial(change.digest)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(left)
    pull("net-quant", store=store, remotes=[web_remote(server)])
    assert sound(store)


def test_a_server_without_ranges_begins_again(store: Store, server: Web, change: Change) -> None:
    server.ranges = False
    server.fault("blobs", "short")
    done = pull("net-quant", store=store, remotes=[web_remote(server)])
    assert done.fetched == len(CONTENT) // 2 + len(CONTENT)
    assert sound(store)


@pytest.mark.parametrize("kind", ["corrupt", "endless", "wrong-range"])
def test_what_is_wrong_once_is_fetched_once_more(store: Store, server: Web, change: Change, kind: str) -> None:
    if kind == "wrong-range":
        server.fault("blobs", "short")
    server.fault("blobs", kind)
    pull("net-quant", store=store, remotes=[web_remote(server)])
    assert sound(store)


def test_a_length_that_lies_about_a_right_body_does_no_harm(store: Store, server: Web, change: Change) -> None:
    server.fault("blobs", "length", len(CONTENT) + 5)
    pull("net-quant", store=store, remotes=[web_remote(server)])
    assert sound(store)


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        ("corrupt", None, RemoteBroken),
        ("endless", None, RemoteBroken),
        ("length", 10, RemoteUnavailable),
        ("short", None, RemoteUnavailable),
        ("status", (404, {}), RemoteBroken),
        ("status", (401, {}), RemoteDenied),
        ("status", (403, {}), RemoteDenied),
        ("status", (500, {}), RemoteUnavailable),
        ("status", (429, {"Retry-After": "86400"}), RemoteUnavailable),
        ("raw", b"\x00", RemoteUnavailable),
    ],
)
def test_a_hostile_server_leaves_nothing_visible(
    store: Store, server: Web, change: Change, kind: str, value: object, error: type[PocketzooError]
) -> None:
    server.ranges = kind != "short"
    server.fault("blobs", kind, value, times=10_000)
    with pytest.raises(error):
        pull("net-quant", store=store, remotes=[web_remote(server)])
    assert nothing_of(store)
    assert len([1 for _, path, _ in server.requests if "blobs" in path]) <= receiving.MOST_TRIES
    for partial in (store.root / "partial").iterdir():
        assert partial.stat().st_size <= len(CONTENT)
    server.faults.clear()
    server.ranges = True
    pull("net-quant", store=store, remotes=[web_remote(server)])
    assert sound(store)


def test_another_remote_helps_out_with_a_file_one_has_wrong(
    store: Store, server: Web, share: Path, change: Change, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    open_directory(good).put(change, None)
    server.fault("blobs", "corrupt", times=100)
    done = pull("net-quant", store=store, remotes=[web_remote(server), folder_remote(good, "good")])
    assert done.source == "web"
    assert sound(store)


def test_a_flipped_byte_in_a_remote_folder_is_told_with_its_address(store: Store, share: Path, change: Change) -> None:
    blob = share / "blobs" / "sha256" / change.digest[:2] / change.digest
    data = bytearray(blob.read_bytes())
    data[1000] ^= 1
    blob.write_bytes(data)
    with pytest.raises(RemoteBroken) as caught:
        pull("net-quant", store=store, remotes=[folder_remote(share)])
    assert caught.value.where == str(share)
    assert nothing_of(store)


def _plant(share: Path, name: str, artifact: Artifact, manifest: bytes | None = None) -> None:
    """A manifest in a place of its own choosing."""
    path = share / "entries" / name / f"{artifact.digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest if manifest is not None else encode(artifact))
    tag = share / "tags" / name / "latest"
    tag.parent.mkdir(parents=True, exist_ok=True)
    tag.write_text(artifact.digest)


def test_a_manifest_about_something_else_is_refused(store: Store, share: Path, change: Change) -> None:
    artifact = decode_artifact(change.manifest, "here")
    _plant(share, "other-name", artifact)
    with pytest.raises(RemoteBroken, match="given a manifest of"):
        pull("other-name", store=store, remotes=[folder_remote(share)])
    assert nothing_of(store)


@pytest.mark.parametrize(
    "change_text",
    [
        lambda text: text.replace('"net-quant.tflite"', '"../../../evil.tflite"'),
        lambda text: text.replace('"net-quant.tflite"', '"/etc/evil.tflite"'),
        lambda text: text.replace(f'"schema": {SCHEMA}', '"schema": 99'),
        lambda text: text.replace('"size": 1024000', '"size": -1'),
        lambda text: text[:-20],
        lambda text: "[" * 100_000,
    ],
)
def test_a_hostile_manifest_is_refused(
    store: Store, share: Path, change: Change, change_text: Callable[[str], str]
) -> None:
    text = change_text(change.manifest.decode())
    assert text != change.manifest.decode()
    (share / "entries" / "net-quant" / f"{change.digest}.json").write_text(text)
    with pytest.raises(PocketzooError):
        pull("net-quant", store=store, remotes=[folder_remote(share)])
    assert nothing_of(store)


def test_a_size_that_no_disk_has_is_refused_before_a_byte_is_asked_for(
    store: Store, server: Web, share: Path, change: Change
) -> None:
    artifact = decode_artifact(change.manifest, "here")
    record = FileRecord(name="big.tflite", sha256="ab" * 32, size=1 << 50)
    huge = Artifact(name="huge", format="tflite", files=(record,))
    assert artifact.digest != huge.digest
    _plant(share, "huge", huge)
    with pytest.raises(WorkFailed, match="are free"):
        pull("huge", store=store, remotes=[web_remote(server)])
    assert not [path for _, path, _ in server.requests if "blobs" in path]


def test_damaged_and_foreign_measurements_are_left_out_and_told(store: Store, share: Path, change: Change) -> None:
    folder = share / "measurements" / change.digest
    one, two = sorted(folder.iterdir())
    one.write_bytes(one.read_bytes().replace(b"3.0", b"0.1"))
    other = encode(measurement_for(Artifact(name="x", format="tflite", files=(the_record(change_for(folder, "x")),))))
    (folder / f"{'1' * 64}-{sha256_bytes(other)[:16]}.json").write_bytes(other)
    garbage = b"{}"
    (folder / f"{'2' * 64}-{sha256_bytes(garbage)[:16]}.json").write_bytes(garbage)
    done = pull("net-quant", store=store, remotes=[folder_remote(share)])
    assert done.measurements == 1
    assert len([warning for warning in done.warnings if "left out the measurement" in warning]) == 3
    assert [m.job_key for m in store.get("net-quant").measurements] == [two.name[:64]]


def test_what_does_not_pass_the_acceptance_stays_invisible(store: Store, share: Path, change: Change) -> None:
    offers: list[Offer] = []

    def refuse(offer: Offer) -> None:
        offers.append(offer)
        raise WorkFailed("not signed")

    with pytest.raises(WorkFailed, match="not signed"):
        pull("net-quant", store=store, remotes=[folder_remote(share)], accept=refuse)
    assert store.names() == []
    (offer,) = offers
    assert offer.manifest == change.manifest
    assert [sha256_file(path) for path in offer.files.values()] == [change.digest]


def test_a_signature_is_kept(store: Store, share: Path, tmp_path: Path) -> None:
    signed = dataclasses.replace(change_for(tmp_path, "net-quant"), signature=b"bundle")
    open_directory(share).put(signed, None)
    pull("net-quant", store=store, remotes=[folder_remote(share)])
    assert (store.root / "signatures" / "net-quant" / f"{signed.digest}.json").read_bytes() == b"bundle"


def test_several_files_arrive_side_by_side_and_one_failure_stops_them(
    store: Store, server: Web, share: Path, tmp_path: Path
) -> None:
    contents = [f"file {n}".encode() * 50_000 for n in range(6)]
    records = [
        FileRecord(name=f"part{n}.tflite", sha256=sha256_bytes(data), size=len(data)) for n, data in enumerate(contents)
    ]
    # The same bytes under two names are one file.
    records.append(FileRecord(name="again.tflite", sha256=records[0].sha256, size=records[0].size))
    artifact = Artifact(name="parts", format="tflite", files=tuple(records))
    blobs = {}
    for record, data in zip(records, [*contents, contents[0]], strict=True):
        blobs[record] = tmp_path / record.name
        blobs[record].write_bytes(data)
    made = Change(
        name="parts", digest=artifact.digest, manifest=encode(artifact), blobs=blobs, tags=("latest",),
        measurements={}, card=b"",
    )  # fmt: skip
    open_directory(share).put(made, None)
    server.fault(records[4].sha256, "corrupt", times=100)
    with pytest.raises(RemoteBroken, match="part4"):
        pull("parts", store=store, remotes=[web_remote(server)])
    assert store.names() == []
    server.faults.clear()
    done = pull("parts", store=store, remotes=[web_remote(server)])
    paths = store.export(done.entry, tmp_path / "out")
    assert [path.read_bytes() for path in paths] == [*contents, contents[0]]


def _pull(root: str, url: str) -> None:
    pull("net-quant", store=Store(Path(root)), remotes=[RemoteConfig(name="web", url=url)])


def test_two_processes_that_pull_one_file_share_its_transfer(store: Store, server: Web, change: Change) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_pull, args=(str(store.root), server.url)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 3
    assert len([1 for _, path, _ in server.requests if "blobs" in path]) == 1
    assert sound(store)


def test_a_file_brought_by_another_is_used(store: Store, share: Path, change: Change, tmp_path: Path) -> None:
    store.keep(next(iter(change.blobs.values())), the_record(change))
    done = receive(store, the_record(change), [])
    assert (done.fetched, done.address) == (0, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system; run the tests as root")
def test_a_disk_that_fills_up_is_told_and_left_as_it_was(
    share: Path, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo import pull as pulling

    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(WorkFailed, match="are free"):
            pull("net-quant", store=Store(small / "zoo"), remotes=[folder_remote(share)])
        # Another process takes the space after it was looked at.
        monkeypatch.setattr(pulling, "_check_space", lambda *_: None)
        with pytest.raises(OSError, match="No space left"):
            pull("net-quant", store=Store(small / "zoo"), remotes=[folder_remote(share)])
        assert sum(path.stat().st_size for path in small.rglob("*") if path.is_file()) == 0
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_command(share: Path, change: Change, tmp_path: Path) -> None:
    add_remote("share", str(share))
    out = tmp_path / "out"
    done = CliRunner().invoke(zoo, ["pull", "net-quant", "--to", str(out), "--json"], catch_exceptions=False)
    record = json.loads(done.stdout)
    assert (record["source"], record["fetched_bytes"], record["new_measurements"]) == ("share", len(CONTENT), 2)
    assert (out / "net-quant.tflite").read_bytes() == CONTENT
    again = CliRunner().invoke(zoo, ["pull", "net-quant", "--offline", "--json"], catch_exceptions=False)
    assert json.loads(again.stdout)["source"] == "local"


def test_what_a_remote_holds_is_listed_without_what_cannot_be_read(share: Path, change: Change, tmp_path: Path) -> None:
    open_directory(share).put(change_for(tmp_path, "other", b"other"), None)
    broken = change_for(tmp_path, "broken", b"broken")
    open_directory(share).put(dataclasses.replace(broken, manifest=b"{"), None)
    done = CliRunner().invoke(zoo, ["list", "--remote", str(share), "--json"], catch_exceptions=False)
    rows = [(row["name"], row["tags"], row["size_bytes"], row["measurements"]) for row in json.loads(done.stdout)]
    assert rows == [("net-quant", ["latest"], len(CONTENT), 2), ("other", ["latest"], 5, 0)]
    assert "left out" in done.stderr
    table = CliRunner().invoke(zoo, ["list", "--remote", str(share)], catch_exceptions=False)
    assert "net-quant" in table.stdout
