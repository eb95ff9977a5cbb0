"""The local store: what goes in comes out, whole; what is damaged is told."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import msgspec
import pytest

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import sha256_file
from tests.records import measurement_for
from tests.zoo.conftest import artifact_for
from zoo.store import Store
from zoo.verify import verify_entry


def files_in(folder: Path) -> list[Path]:
    """All but the register of leases, which is empty and stays."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "register"]


def test_an_added_entry_is_found_by_name_tag_and_digest(store: Store, weights: Path) -> None:
    artifact = artifact_for(weights)
    store.add(artifact, {"tiny-model.tflite": weights}, tags=("latest", "v1"))
    for reference in ("tiny-model", "tiny-model:v1", f"tiny-model@sha256:{artifact.digest}"):
        entry = store.get(reference)
        assert entry.artifact == artifact
        assert entry.tags == ("latest", "v1")
    assert [entry.artifact for entry in store.entries()] == [artifact]


def test_the_digest_is_what_sha256sum_prints_for_the_exported_file(store: Store, weights: Path, tmp_path: Path) -> None:
    entry = store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    (path,) = store.export(entry, tmp_path / "out")
    assert path.name == "tiny-model.tflite"
    assert sha256_file(path) == entry.artifact.digest


def test_a_blob_is_stored_once_and_cannot_be_written_by_accident(store: Store, weights: Path) -> None:
    for name in ("one", "two"):
        store.add(artifact_for(weights, name), {f"{name}.tflite": weights})
    blobs = [path for path in (store.root / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1
    assert not blobs[0].stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def test_a_file_that_is_not_the_one_described_leaves_nothing_behind(
    store: Store, weights: Path, tmp_path: Path
) -> None:
    artifact = artifact_for(weights)
    other = tmp_path / "other.tflite"
    other.write_bytes(b"x" * weights.stat().st_size)
    with pytest.raises(WorkFailed, match="is not the file its manifest describes"):
        store.add(artifact, {"tiny-model.tflite": other})
    assert files_in(store.root) == []
    assert store.names() == []


def test_an_unknown_name_is_answered_with_the_nearest(store: Store, weights: Path) -> None:
    store.add(artifact_for(weights, "mobilenetv2-quant"), {"mobilenetv2-quant.tflite": weights})
    with pytest.raises(BadInput) as caught:
        store.get("mobilenet2-quant")
    assert caught.value.detail == ("did you mean mobilenetv2-quant?",)


@pytest.mark.parametrize("reference", ["tiny-model:v9", "tiny-model@sha256:" + "0" * 64, "elsewhere/tiny-model"])
def test_a_tag_digest_or_remote_that_is_not_there_is_told(store: Store, weights: Path, reference: str) -> None:
    store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    with pytest.raises(BadInput):
        store.get(reference)


def test_export_does_not_replace_a_different_file_unless_told(store: Store, weights: Path, tmp_path: Path) -> None:
    entry = store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    target = tmp_path / "out"
    target.mkdir()
    (target / "tiny-model.tflite").write_text("mine")
    with pytest.raises(BadInput, match="different file"):
        store.export(entry, target)
    assert (target / "tiny-model.tflite").read_text() == "mine"
    store.export(entry, target, force=True)
    assert sha256_file(target / "tiny-model.tflite") == entry.artifact.digest


def test_export_does_not_write_through_a_link(store: Store, weights: Path, tmp_path: Path) -> None:
    entry = store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    victim, target = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    target.mkdir()
    (target / "tiny-model.tflite").symlink_to(victim)
    with pytest.raises(BadInput):
        store.export(entry, target, force=True)
    assert victim.read_text() == "precious"


def test_a_flipped_byte_is_caught_on_export_and_by_verify(store: Store, weights: Path, tmp_path: Path) -> None:
    entry = store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    blob = store.blob(entry.artifact.digest)
    data = bytearray(blob.read_bytes())
    data[1000] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    with pytest.raises(WorkFailed):
        store.export(entry, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    findings = {finding.check: finding for finding in verify_entry(store, entry)}
    assert not findings["file"].ok
    assert "SHA-256 differs" in findings["file"].says


def test_a_missing_blob_is_told_by_name(store: Store, weights: Path) -> None:
    entry = store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    store.blob(entry.artifact.digest).unlink()
    with pytest.raises(WorkFailed, match=r"tiny-model\.tflite is missing"):
        store.file(entry.artifact.files[0])


def test_one_damaged_manifest_does_not_hide_the_others(store: Store, weights: Path) -> None:
    for name in ("good", "bad"):
        store.add(artifact_for(weights, name), {f"{name}.tflite": weights})
    (manifest,) = (store.root / "entries" / "bad").glob("*.json")
    manifest.write_text("{")
    problems: list[PocketzooError] = []
    assert [entry.artifact.name for entry in store.entries(problems.append)] == ["good"]
    assert len(problems) == 1
    assert problems[0].where == str(manifest)
    with pytest.raises(BadInput):
        list(store.entries())


def test_a_manifest_in_another_entrys_place_is_refused(store: Store, weights: Path) -> None:
    store.add(artifact_for(weights, "good"), {"good.tflite": weights})
    (manifest,) = (store.root / "entries" / "good").glob("*.json")
    fake = store.root / "entries" / "fake" / manifest.name
    fake.parent.mkdir()
    fake.write_bytes(manifest.read_bytes())
    with pytest.raises(BadInput, match="its place says fake"):
        store.get(f"fake@sha256:{manifest.stem}")


def test_measurements_are_added_without_touching_the_manifest(store: Store, weights: Path) -> None:
    entry = store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    (manifest,) = (store.root / "entries" / "tiny-model").glob("*.json")
    before = manifest.read_bytes()
    measurement = measurement_for(entry.artifact)
    assert store.attach(measurement)
    assert not store.attach(measurement)
    assert store.get("tiny-model").measurements == (measurement,)
    assert manifest.read_bytes() == before


def test_a_measurement_of_an_unknown_file_is_refused(store: Store, weights: Path) -> None:
    measurement = measurement_for(artifact_for(weights))
    with pytest.raises(BadInput, match="no entry has the digest"):
        store.attach(measurement)


def test_a_new_accuracy_for_the_same_file_keeps_its_measurements(store: Store, weights: Path) -> None:
    artifact = artifact_for(weights)
    store.add(artifact, {"tiny-model.tflite": weights})
    store.attach(measurement_for(artifact))
    entry = store.add(msgspec.structs.replace(artifact, licence="MIT"), {"tiny-model.tflite": weights})
    assert entry.artifact.licence == "MIT"
    assert len(entry.measurements) == 1


def _add(root: str, path: str, number: int) -> None:
    weights = Path(path)
    name = f"model{number}"
    Store(Path(root)).add(artifact_for(weights, name), {f"{name}.tflite": weights}, tags=("latest", "shared"))


def test_several_processes_add_at_once_and_lose_nothing(store: Store, weights: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add, args=(str(store.root), str(weights), n)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert [entry.artifact.name for entry in store.entries()] == [f"model{n}" for n in range(6)]


def test_reading_an_empty_zoo_makes_no_folder(store: Store) -> None:
    assert list(store.entries()) == []
    assert not store.root.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system; run the tests as root")
def test_a_full_disk_is_an_error_and_leaves_no_half_entry(tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        weights = tmp_path / "large.tflite"
        weights.write_bytes(os.urandom(300_000))
        with pytest.raises(OSError, match="No space left"):
            Store(small / "zoo").add(artifact_for(weights), {"tiny-model.tflite": weights})
        assert files_in(small) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
