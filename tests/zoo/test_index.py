"""The index says what the files say, whatever was done to them or to it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pocketzoo.errors import PocketzooError
from tests.records import measurement_for
from tests.zoo.conftest import artifact_for
from zoo import index, indexfile, indexrows
from zoo.artifact import Accuracy, Artifact, Parent
from zoo.candidate import LOCAL, candidate
from zoo.store import Store


def fill(store: Store, folder: Path, count: int = 4) -> list[Artifact]:
    """Entries with tags, accuracies, parents and measurements on two devices."""
    artifacts: list[Artifact] = []
    for number in range(count):
        path = folder / f"model{number}.tflite"
        path.write_bytes(bytes([number]) * 100)
        plain = artifact_for(path, f"model{number}")
        top1 = Accuracy(
            metric="top1", value=70.0 + number, dataset="d", split="s", samples=50, measured_on=plain.digest
        )
        parent = artifacts[-1] if artifacts else None
        artifact = msgspec.structs.replace(
            plain,
            accuracy=(top1,) if number % 2 else (),
            task="image-classification",
            parent=Parent(digest=parent.digest, name=parent.name, relation="quantized") if parent else None,
        )
        store.add(artifact, {f"model{number}.tflite": path}, tags=("latest", f"v{number}"))
        for cell in range(number):
            store.attach(measurement_for(artifact, threads=cell + 1, key=f"{cell:064x}"))
        artifacts.append(artifact)
    return artifacts


def truth(store: Store) -> list[object]:
    return [candidate(e.artifact, LOCAL, e.tags, e.measurements) for e in store.entries(lambda _: None)]


def same(store: Store) -> None:
    """Both ways of asking the index give what the files hold, twice: as it is refreshed and as it then is."""
    for _ in range(2):
        assert store.candidates(on_problem=lambda _: None) == truth(store)
        same_list(store)


def same_list(store: Store) -> None:
    problems: list[PocketzooError] = []
    expected = [
        (e.artifact.name, e.artifact.digest, e.tags, e.artifact.size_bytes, len(e.measurements), e.artifact.task)
        for e in store.entries(problems.append)
    ]
    told: list[PocketzooError] = []
    listed = [(r.name, r.digest, r.tags, r.size_bytes, r.measurements, r.task) for r in store.listing(told.append)]
    assert listed == expected
    assert sorted(str(p.where) for p in told) == sorted({str(p.where) for p in problems})


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are believed at once, so that a test sees the stamps at work and not the caution about young files."""
    monkeypatch.setattr(indexrows, "SETTLED_NS", 0)


@pytest.fixture
def filled(store: Store, tmp_path: Path, settled: None) -> Store:
    fill(store, tmp_path)
    same(store)
    return store


def test_it_says_what_the_files_say(filled: Store) -> None:
    rows = {row.name: row for row in filled.listing()}
    assert rows["model3"].top1 == index.Top1(73.0, 50, "measured")
    assert rows["model0"].top1 is None
    assert [c.name for c in filled.candidates(["model2", "nothing"])] == ["model2"]
    assert filled.candidates(["model2"]) == [c for c in truth(filled) if c.name == "model2"]  # type: ignore[attr-defined]
    assert [len(c.cells) for c in filled.candidates(device="local")] == [0, 1, 2, 3]
    assert [len(c.cells) for c in filled.candidates(device="elsewhere")] == [0, 0, 0, 0]


def test_what_has_not_changed_is_not_read_again(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a manifest was read")

    monkeypatch.setattr(indexrows, "read_manifest", never)
    monkeypatch.setattr(indexrows, "read_measurement", never)
    assert len(filled.listing()) == 4
    assert len(filled.candidates()) == 4


def test_young_files_are_looked_at_again(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes within the grain of a change time leave the same stamp: what is young is not believed."""
    fill(store, tmp_path, 2)
    store.listing()
    monkeypatch.setattr(index, "stamp", lambda _: (7, time.time_ns()))
    monkeypatch.setattr(indexrows, "stamp", lambda _: (7, time.time_ns()))
    read = []
    real = indexrows.read_manifest
    monkeypatch.setattr(indexrows, "read_manifest", lambda *args: read.append(args) or real(*args))
    store.listing()
    assert len(read) == 2


def remove_entry(store: Store) -> None:
    shutil.rmtree(store.root / "entries" / "model1")


def remove_manifest(store: Store) -> None:
    next((store.root / "entries" / "model1").glob("*.json")).unlink()


def copy_measurement(store: Store) -> None:
    shutil.rmtree(store.root / "measurements")


def edit_manifest_in_place(store: Store) -> None:
    path = next((store.root / "entries" / "model1").glob("*.json"))
    with path.open("r+b") as file:
        text = file.read().replace(b"image-classification", b"Image-classification")
        file.seek(0)
        file.write(text)


def edit_tag_in_place(store: Store) -> None:
    with (store.root / "tags" / "model1" / "latest").open("w") as file:
        file.write("0" * 64)


def damage_manifest(store: Store) -> None:
    next((store.root / "entries" / "model2").glob("*.json")).write_text("{")


def damage_measurement(store: Store) -> None:
    path = next((store.root / "measurements").glob("*/*.json"))
    data = path.read_bytes().replace(b"3000000", b"1000000")
    path.unlink()
    path.write_bytes(data)


def foreign_measurement(store: Store) -> None:
    next((store.root / "measurements").glob("*")).joinpath("notes.json").write_text("{}")


def move_tag(store: Store) -> None:
    store.enter(store.get("model1").artifact, tags=("v9",))


def delete_tags(store: Store) -> None:
    shutil.rmtree(store.root / "tags" / "model3")


def copy_whole_store(store: Store) -> None:
    other = store.root.with_name("moved")
    shutil.copytree(store.root, other)
    shutil.rmtree(store.root)
    other.rename(store.root)


def delete_index(store: Store) -> None:
    shutil.rmtree(store.root / "index")


def empty_index(store: Store) -> None:
    (store.root / "index" / f"{indexfile.SCHEMA}.sqlite").write_bytes(b"")


def no_database(store: Store) -> None:
    (store.root / "index" / f"{indexfile.SCHEMA}.sqlite").write_bytes(b"no database at all" * 500)


def torn_database(store: Store) -> None:
    path = store.root / "index" / f"{indexfile.SCHEMA}.sqlite"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def truncated_database(store: Store) -> None:
    path = store.root / "index" / f"{indexfile.SCHEMA}.sqlite"
    path.write_bytes(path.read_bytes()[:5000])


def other_tables(store: Store) -> None:
    path = store.root / "index" / f"{indexfile.SCHEMA}.sqlite"
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE name (something TEXT)")
    database.execute(f"PRAGMA user_version = {indexfile.SCHEMA}")
    database.close()


def other_version(store: Store) -> None:
    database = sqlite3.connect(store.root / "index" / f"{indexfile.SCHEMA}.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()


def index_is_no_folder(store: Store) -> None:
    shutil.rmtree(store.root / "index")
    (store.root / "index").write_text("in the way")


BY_HAND = [
    remove_entry, remove_manifest, copy_measurement, edit_manifest_in_place, edit_tag_in_place, damage_manifest,
    damage_measurement, foreign_measurement, move_tag, delete_tags, copy_whole_store, delete_index, empty_index,
    no_database, torn_database, truncated_database, other_tables, other_version, index_is_no_folder,
]  # fmt: skip


@pytest.mark.parametrize("deed", BY_HAND, ids=lambda deed: deed.__name__)
def test_whatever_was_done_it_says_what_the_files_say(filled: Store, deed: Callable[[Store], None]) -> None:
    deed(filled)
    same(filled)


@pytest.mark.parametrize("deed", [edit_manifest_in_place, edit_tag_in_place, damage_manifest])
def test_listing_sees_what_was_written_over_in_place_after_a_while(
    filled: Store, monkeypatch: pytest.MonkeyPatch, deed: Callable[[Store], None]
) -> None:
    deed(filled)
    monkeypatch.setattr(index, "CLOSELY_S", 0.0)
    same_list(filled)


@pytest.mark.parametrize("table", ["entry", "cell"])
def test_a_changed_row_is_found_and_made_anew(filled: Store, table: str) -> None:
    database = sqlite3.connect(filled.root / "index" / f"{indexfile.SCHEMA}.sqlite")
    if table == "entry":
        database.execute("UPDATE entry SET accuracy = '[]' WHERE name = 'model3'")
    else:
        (facts,) = database.execute("SELECT facts FROM cell LIMIT 1").fetchone()
        database.execute("UPDATE cell SET facts = ?", (facts.replace(b"valid", b"vaild"),))
    database.commit()
    database.close()
    assert filled.candidates() == truth(filled)
    same(filled)


def test_one_damaged_measurement_hides_no_entry(filled: Store) -> None:
    damage_measurement(filled)
    problems: list[PocketzooError] = []
    assert [entry.artifact.name for entry in filled.entries(problems.append)] == [f"model{n}" for n in range(4)]
    assert len(problems) == 1
    assert "not what its name says" in problems[0].what
    assert sum(len(filled.get(f"model{n}").problems) for n in range(4)) == 1
    with pytest.raises(PocketzooError, match="not what its name says"):
        filled.listing()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system; run the tests as root")
def test_a_read_only_store_is_read(filled: Store, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], check=True)
    try:
        shutil.copytree(filled.root, place / "zoo", ignore=shutil.ignore_patterns("index"))
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        same(Store(place / "zoo"))  # no index, and none can be made
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        Store(place / "zoo").listing()
        shutil.rmtree(place / "zoo" / "entries" / "model0")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        same(Store(place / "zoo"))  # one that is out of date
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_store_nobody_wrote_to_gets_no_index(store: Store) -> None:
    assert store.listing() == []
    assert store.candidates() == []
    assert not store.root.exists()


def _write(root: str, folder: str, worker: int) -> None:
    store = Store(Path(root))
    for number in range(6):
        path = Path(folder) / f"{worker}-{number}.tflite"
        path.write_bytes(os.urandom(64))
        artifact = artifact_for(path, f"model{worker}.{number}")
        store.add(artifact, {artifact.files[0].name: path})
        store.attach(measurement_for(artifact))
        assert f"model{worker}.{number}" in [row.name for row in store.listing()]


def test_several_processes_write_and_list_at_once(store: Store, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(str(store.root), str(tmp_path), n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(store.listing()) == 18
    same(store)
