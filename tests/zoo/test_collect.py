"""What is collected, and what never is."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import subprocess
import sysconfig
import threading
import time
from pathlib import Path

import msgspec
import pytest

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from tests.records import measurement_for
from tests.zoo.conftest import artifact_for
from zoo.artifact import Artifact, Parent
from zoo.collect import Plan, collect
from zoo.commands.gc import seconds
from zoo.lease import leased, registering
from zoo.removal import remove
from zoo.store import Store

DAY = 86400.0


def put(store: Store, folder: Path, name: str, *, parent: Artifact | None = None, **options: object) -> Artifact:
    path = folder / f"{name}.tflite"
    path.write_bytes(name.encode() * 50)
    artifact = artifact_for(path, name)
    if parent is not None:
        link = Parent(digest=parent.digest, name=parent.name, relation="quantized")
        artifact = msgspec.structs.replace(artifact, parent=link)
    store.add(artifact, {f"{name}.tflite": path}, **options)  # type: ignore[arg-type]
    return artifact


def loose(store: Store, name: str) -> Artifact:
    """A file that no entry needs, a day old and more."""
    artifact = put(store, store.root.parent, name)
    remove(store, name)
    age(store)
    return artifact


def age(store: Store) -> None:
    """Everything was last touched two days ago."""
    before = time.time() - 2 * DAY
    for path in store.root.rglob("*"):
        os.utime(path, (before, before), follow_symlinks=False)


def names(store: Store) -> list[str]:
    return [entry.artifact.name for entry in store.entries()]


def test_a_removed_entrys_files_go_after_the_grace_period(store: Store, tmp_path: Path) -> None:
    kept = put(store, tmp_path, "kept")
    gone = put(store, tmp_path, "gone")
    store.attach(measurement_for(gone))
    age(store)
    removed = remove(store, "gone")
    assert (removed.digest, removed.tags, removed.entry) == (gone.digest, ("latest",), True)
    plan = collect(store)
    assert plan.things == ()
    assert plan.young == 2  # the grace period begins with the removal
    put(store, tmp_path, "gone")
    assert len(store.get("gone").measurements) == 1  # and until it is over everything can come back
    remove(store, "gone")
    age(store)
    assert collect(store, dry_run=True) != Plan()
    assert store.blob(gone.digest).exists()
    plan = collect(store)
    assert [thing.digest for thing in plan.blobs] == [gone.digest]
    assert [thing.digest for thing in plan.measurements] == [gone.digest]
    assert not store.blob(gone.digest).exists()
    assert not (store.root / "measurements" / gone.digest).exists()
    assert store.blob(kept.digest).exists()
    assert collect(store) == Plan()


def test_a_file_two_entries_share_stays_for_the_other(store: Store, weights: Path) -> None:
    for name in ("one", "two"):
        store.add(artifact_for(weights, name), {f"{name}.tflite": weights})
    remove(store, "one")
    age(store)
    assert collect(store).blobs == ()
    assert store.file(store.get("two").artifact.files[0])


def test_a_lease_protects_files_partial_downloads_and_copies(store: Store) -> None:
    artifact = loose(store, "gone")
    partial = store.partial(artifact.digest)
    partial.parent.mkdir()
    partial.write_bytes(b"half")
    copy = store.blob(artifact.digest).with_name(f".{artifact.digest}.abc.tmp")
    copy.write_bytes(b"half")
    with store.lease([artifact.digest]):
        age(store)
        plan = collect(store)
        assert plan.things == ()
        assert plan.in_use == 3
    plan = collect(store)
    assert {thing.path for thing in plan.things} == {partial, copy, store.blob(artifact.digest)}
    assert not any(thing.path.exists() for thing in plan.things)


def test_a_partial_download_that_is_being_written_stays(store: Store) -> None:
    artifact = loose(store, "gone")
    partial = store.partial(artifact.digest)
    partial.parent.mkdir()
    with partial.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        age(store)
        collect(store)
        assert partial.exists()
    collect(store)
    assert not partial.exists()


def test_young_leftovers_of_writers_stay_whatever_the_grace(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "kept")
    leftover = store.root / "entries" / "kept" / ".x.json.abc.tmp"
    leftover.write_bytes(b"half")
    assert collect(store, grace_s=0).leftovers == ()
    age(store)
    assert [thing.path for thing in collect(store, grace_s=0).leftovers] == [leftover]


def lock_file(path: Path, artifact: Artifact) -> Path:
    pin = {
        "query": artifact.name,
        "name": artifact.name,
        "digest": artifact.digest,
        "files": [msgspec.to_builtins(record) for record in artifact.files],
        "time": "2026-11-21T10:00:00+00:00",
    }
    path.write_text(json.dumps({"schema": 1, "pins": [pin]}))
    return path


def test_a_lock_file_pins_until_it_vanishes(store: Store, tmp_path: Path) -> None:
    artifact = put(store, tmp_path, "gone")
    lock = lock_file(tmp_path / "zoo.lock", artifact)
    store.remember_lock(lock)
    with pytest.raises(BadInput, match="a lock file pins"):
        remove(store, "gone")
    remove(store, "gone", force=True)
    age(store)
    plan = collect(store)
    assert (plan.blobs, plan.pinned) == ((), 1)
    lock.unlink()
    assert [thing.digest for thing in collect(store).blobs] == [artifact.digest]
    assert list((store.root / "roots").iterdir()) == []


@pytest.mark.parametrize("text", ["{", '{"schema": 99, "pins": []}', ""])
def test_nothing_is_collected_while_a_lock_file_cannot_be_read(store: Store, tmp_path: Path, text: str) -> None:
    artifact = loose(store, "gone")
    lock = tmp_path / "zoo.lock"
    lock.write_text(text)
    store.remember_lock(lock)
    with pytest.raises(BadInput, match="nothing was deleted") as caught:
        collect(store)
    assert caught.value.where == str(lock)
    assert store.blob(artifact.digest).exists()


def test_nothing_is_collected_while_a_manifest_cannot_be_read(store: Store, tmp_path: Path) -> None:
    artifact = loose(store, "gone")
    put(store, tmp_path, "bad")
    next((store.root / "entries" / "bad").glob("*.json")).write_text("{")
    with pytest.raises(BadInput, match="nothing was deleted"):
        collect(store)
    assert store.blob(artifact.digest).exists()


def test_untagged_entries_go_unless_something_needs_them(store: Store, tmp_path: Path) -> None:
    grandparent = put(store, tmp_path, "grandparent", tags=())
    parent = put(store, tmp_path, "parent", parent=grandparent, tags=())
    put(store, tmp_path, "child", parent=parent)
    old = put(store, tmp_path, "old", tags=())
    put(store, tmp_path, "old-child", parent=old, tags=())
    pinned = put(store, tmp_path, "pinned", tags=())
    store.remember_lock(lock_file(tmp_path / "zoo.lock", pinned))
    used = put(store, tmp_path, "used", tags=())
    age(store)
    put(store, tmp_path, "young", tags=())
    with store.lease([used.digest]):
        plan = collect(store, untagged=True)
    assert [name for name, _ in plan.entries] == ["old", "old-child"]
    assert names(store) == ["child", "grandparent", "parent", "pinned", "used", "young"]
    assert not store.blob(old.digest).exists()


def test_a_lease_that_is_being_taken_is_never_overlooked(store: Store) -> None:
    """Who collects holds the register alone; a lease is entered in it whole, before or after."""
    artifact = loose(store, "gone")
    taken = threading.Event()

    def take() -> None:
        with store.lease([artifact.digest]):
            taken.set()

    with registering(store.root, alone=True):
        thread = threading.Thread(target=take)
        thread.start()
        assert leased(store.root) == frozenset()
        assert not taken.is_set()
    thread.join(30)
    assert taken.is_set()


def test_a_file_that_is_kept_again_has_its_grace_period_from_then_on(store: Store, tmp_path: Path) -> None:
    artifact = loose(store, "gone")
    store.keep(tmp_path / "gone.tflite", artifact.files[0])
    plan = collect(store)
    assert (plan.blobs, plan.young) == ((), 1)
    store.enter(artifact)


def _collect_often(root: str, until: str) -> None:
    while not Path(until).exists():
        collect(Store(Path(root)), grace_s=0)


def test_adding_and_collecting_at_once_loses_nothing(store: Store, tmp_path: Path) -> None:
    """Each add finds its file there, old and needed by nobody, while others collect without a grace period."""
    context, done = multiprocessing.get_context("spawn"), tmp_path / "done"
    workers = [context.Process(target=_collect_often, args=(str(store.root), str(done))) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for number in range(60):
            name = f"model{number % 3}"
            artifact = put(store, tmp_path, name)
            assert store.file(store.get(name).artifact.files[0])
            assert artifact.digest == store.get(name).artifact.digest
            remove(store, name)
    finally:
        done.touch()
        for worker in workers:
            worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_remove_takes_a_tag_alone_or_the_entry_with_all_its_tags(store: Store, tmp_path: Path) -> None:
    artifact = put(store, tmp_path, "model", tags=("latest", "v1", "v2"))
    assert remove(store, "model:v2").entry is False
    assert store.get("model").tags == ("latest", "v1")
    with pytest.raises(BadInput, match="no tag 'v2'"):
        remove(store, "model:v2")
    assert remove(store, f"model@sha256:{artifact.digest}").tags == ("latest", "v1")
    assert store.names() == []
    with pytest.raises(BadInput, match="no model"):
        remove(store, "model")


def test_a_removal_that_was_killed_is_gone_on_with(store: Store, tmp_path: Path) -> None:
    artifact = put(store, tmp_path, "model", tags=("latest", "v1"))
    store.manifest("model", artifact.digest).unlink()
    (store.root / "tags" / "model" / "v1").unlink()
    assert remove(store, "model").tags == ("latest",)
    assert store.tags("model") == {}


def test_a_parent_is_not_removed_unless_told(store: Store, tmp_path: Path) -> None:
    parent = put(store, tmp_path, "parent")
    put(store, tmp_path, "child", parent=parent)
    with pytest.raises(BadInput, match="is the parent of child"):
        remove(store, "parent")
    assert remove(store, "parent", force=True).entry


def test_what_another_process_uses_is_not_removed(store: Store, tmp_path: Path) -> None:
    artifact = put(store, tmp_path, "model")
    with store.lease([artifact.digest]), pytest.raises(WorkFailed, match="in use"):
        remove(store, "model")
    assert remove(store, "model").entry


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90.0), ("24h", 86400.0), ("7d", 604800.0), ("0", 0.0), ("1.5m", 90.0)]
)
def test_grace_periods(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "h", "-1h", "1w", "1h 2m", "nan"])
def test_what_is_no_grace_period(text: str) -> None:
    with pytest.raises(PocketzooError, match="not a time"):
        seconds(text)


def test_the_commands(tmp_path: Path, weights: Path) -> None:
    home = tmp_path / "home"
    store = Store(home / "zoo")
    put(store, tmp_path, "model")

    def zoo(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sysconfig.get_path("scripts")) / "zoo"), *argv],
            env={**os.environ, "POCKETZOO_HOME": str(home)}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert [row["name"] for row in json.loads(zoo("list", "--json").stdout)] == ["model"]
    assert zoo("list", "other*").stdout == ""
    assert "model  " in zoo("list", "mo*", "--format", "tflite").stdout
    assert zoo("list", "--device", "local").returncode == 2
    assert zoo("gc").stdout == "nothing to delete\n"
    assert json.loads(zoo("remove", "model", "--json").stdout)["tags"] == ["latest"]
    assert zoo("remove", "model").returncode == 2
    age(store)
    assert zoo("gc", "--dry-run").stdout == "would delete 1 file, 250 bytes\n"
    assert json.loads(zoo("gc", "--json").stdout)["bytes"] == 250
    assert zoo("gc", "--grace", "soon").returncode == 2
