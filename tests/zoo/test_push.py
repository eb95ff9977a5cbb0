"""Pushing: atomic, nothing lost, nothing sent twice."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from tests.records import measurement_for
from tests.zoo.conftest import artifact_for
from zoo import push as pushing
from zoo.backends.directory import open_directory
from zoo.backends.protocol import Change, Published, Snapshot
from zoo.backends.tree import TreeRemote
from zoo.cli import zoo
from zoo.pull import pull
from zoo.push import MOST_TRIES, push
from zoo.remotes import RemoteConfig, add_remote
from zoo.store import Entry, Store
from zoo.verify import verify_entry


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def entry(store: Store, weights: Path) -> Entry:
    artifact = artifact_for(weights)
    store.add(artifact, {"tiny-model.tflite": weights})
    store.attach(measurement_for(artifact))
    return store.get("tiny-model")


def test_what_is_pushed_is_pulled_elsewhere(store: Store, entry: Entry, share: Path, tmp_path: Path) -> None:
    done = push(store, open_directory(share), entry, tags=("latest", "v1"))
    assert (done.changed, done.blobs_sent, done.bytes_sent) == (True, 1, entry.artifact.size_bytes)
    elsewhere = Store(tmp_path / "elsewhere")
    pull("tiny-model:v1", store=elsewhere, remotes=[RemoteConfig(name="share", url=share.as_uri())])
    arrived = elsewhere.get("tiny-model:v1")
    assert (arrived.artifact, arrived.measurements) == (entry.artifact, entry.measurements)


def test_pushing_it_again_sends_nothing(store: Store, entry: Entry, share: Path) -> None:
    push(store, open_directory(share), entry, tags=("latest",))
    before = {path: path.stat().st_mtime_ns for path in share.rglob("*") if path.is_file()}
    done = push(store, open_directory(share), entry, tags=("latest",))
    assert (done.changed, done.blobs_sent, done.bytes_sent) == (False, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in share.rglob("*") if path.is_file()} == before


def test_a_new_measurement_alone_is_sent(store: Store, entry: Entry, share: Path) -> None:
    push(store, open_directory(share), entry, tags=("latest",))
    store.attach(measurement_for(entry.artifact, key="2" * 64))
    done = push(store, open_directory(share), store.get("tiny-model"), tags=("latest",))
    assert (done.changed, done.blobs_sent) == (True, 0)
    assert len(list((share / "measurements" / entry.artifact.digest).iterdir())) == 2


def test_a_damaged_file_is_not_published(store: Store, entry: Entry, share: Path) -> None:
    blob = store.blob(entry.artifact.digest)
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.write(b"flip")
    with pytest.raises(WorkFailed, match="was changed"):
        push(store, open_directory(share), entry, tags=("latest",))
    assert list(share.iterdir()) == []


def test_a_damaged_measurement_is_told_or_stops_the_push(store: Store, entry: Entry, share: Path) -> None:
    (path,) = (store.root / "measurements" / entry.artifact.digest).iterdir()
    path.write_bytes(path.read_bytes().replace(b"3.0", b"0.1"))
    with pytest.raises(WorkFailed, match="not what its name says"):
        push(store, open_directory(share), entry, tags=("latest",))
    assert list(share.iterdir()) == []
    problems: list[PocketzooError] = []
    push(store, open_directory(share), entry, tags=("latest",), on_problem=problems.append)
    assert [problem.where for problem in problems] == [str(path)]
    assert not (share / "measurements").exists()


def test_the_check_sees_what_is_published_and_can_stop_the_push(store: Store, entry: Entry, share: Path) -> None:
    seen: list[Snapshot | None] = []
    push(store, open_directory(share), entry, tags=("v1",), check=seen.append)

    def refuse(snapshot: Snapshot | None) -> None:
        seen.append(snapshot)
        raise WorkFailed("slower")

    with pytest.raises(WorkFailed, match="slower"):
        push(store, open_directory(share), entry, tags=("latest",), check=refuse)
    first, second = seen
    assert first is None
    assert second is not None
    assert dict(second.tags) == {"v1": entry.artifact.digest}
    after = open_directory(share).snapshot("tiny-model")
    assert after is not None
    assert set(after.tags) == {"v1"}


class _Overtaken(TreeRemote):
    """A folder under whose name somebody else publishes just before each of the first puts."""

    def __init__(self, share: Path, store: Store, others: list[Entry]) -> None:
        super().__init__(open_directory(share)._files)
        self._share, self._store, self._others = share, store, others

    def put(self, change: Change, base: Snapshot | None) -> Published:
        if self._others:
            push(self._store, open_directory(self._share), self._others.pop(), tags=("latest",))
        return super().put(change, base)


def _others(store: Store, folder: Path, count: int) -> list[Entry]:
    found = []
    for number in range(count):
        path = folder / f"other{number}.tflite"
        path.write_bytes(f"other {number}".encode())
        found.append(store.add(artifact_for(path), {"tiny-model.tflite": path}, tags=()))
    return found


def test_who_was_overtaken_decides_anew(store: Store, entry: Entry, share: Path, tmp_path: Path) -> None:
    others = _others(store, tmp_path, 3)
    seen: list[Snapshot | None] = []
    push(store, _Overtaken(share, store, list(others)), entry, tags=("latest",), check=seen.append)
    assert [dict(snapshot.tags)["latest"] if snapshot else None for snapshot in seen] == [
        None, others[2].artifact.digest, others[1].artifact.digest, others[0].artifact.digest
    ]  # fmt: skip
    after = open_directory(share).snapshot("tiny-model")
    assert after is not None
    assert dict(after.tags) == {"latest": entry.artifact.digest}
    assert len(after.manifests) == 4


def test_being_overtaken_for_ever_ends(
    store: Store, entry: Entry, share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_PAUSE_S", 0.0)
    others = _others(store, tmp_path, MOST_TRIES)
    with pytest.raises(WorkFailed, match=f"{MOST_TRIES} times"):
        push(store, _Overtaken(share, store, others), entry, tags=("latest",))


def _publish(folder: str, share: str, number: int) -> None:
    """One publisher with a zoo of its own: 25 entries under five names that all publishers use."""
    own = Path(folder) / f"publisher{number}"
    store = Store(own)
    remote = open_directory(Path(share))
    for count in range(25):
        path = Path(folder) / f"{number}-{count}"
        path.write_bytes(f"publisher {number} entry {count}".encode())
        artifact = artifact_for(path, f"model{count % 5}")
        entry = store.add(artifact, {artifact.files[0].name: path}, tags=())
        push(store, remote, entry, tags=("latest", f"p{number}-{count}"))


def test_eight_publishers_of_25_entries_at_once_lose_none(share: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_publish, args=(str(tmp_path), str(share), n)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0] * 8
    remote = open_directory(share)
    found = {name: remote.snapshot(name) for name in remote.names()}
    assert sorted(found) == [f"model{n}" for n in range(5)]
    tags = {tag for snapshot in found.values() if snapshot for tag in snapshot.tags}
    assert tags == {"latest", *(f"p{n}-{c}" for n in range(8) for c in range(25))}
    assert sum(len(snapshot.manifests) for snapshot in found.values() if snapshot) == 200
    blobs = [path for path in (share / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 200
    assert not [path for path in share.rglob(".*")]
    store = Store(tmp_path / "reader")
    entry = pull("model3:p7-23", store=store, remotes=[RemoteConfig(name="share", url=share.as_uri())]).entry
    assert all(finding.ok for finding in verify_entry(store, entry) if finding.check == "file")


def test_the_command(store: Store, entry: Entry, share: Path) -> None:
    home = Path(os.environ["POCKETZOO_HOME"])
    home.mkdir()
    store.root.rename(home / "zoo")

    def run(*argv: str) -> dict[str, object]:
        done = CliRunner().invoke(zoo, ["push", *argv, "--json"], catch_exceptions=False)
        assert done.exit_code == 0
        record = json.loads(done.stdout)
        assert isinstance(record, dict)
        return record

    add_remote("share", str(share))
    first = run("tiny-model")
    assert (first["changed"], first["blobs_sent"], first["tags"], first["remote"]) == (True, 1, ["latest"], "share")
    assert run("tiny-model", "--to", "share")["changed"] is False
    assert run("tiny-model", "--to", str(share), "--tag", "v1", "--tag", "v2")["tags"] == ["v1", "v2"]
    assert run(f"tiny-model@sha256:{entry.artifact.digest}")["changed"] is False
    assert run("tiny-model", "--resend")["blobs_sent"] == 1
    with pytest.raises(BadInput, match="local zoo"):
        CliRunner().invoke(zoo, ["push", "share/tiny-model"], catch_exceptions=False)
