"""Verify finds what was changed, by one byte or by one link, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.files import sha256_bytes
from tests.records import measurement_for
from tests.zoo.candidates import digest_of, top1
from zoo.artifact import Artifact, FileRecord, Parent
from zoo.commands.verify import verify as verify_command
from zoo.store import Store
from zoo.verify import Finding, lineage_finding, verify_entry, verify_tags


def add(store: Store, folder: Path, name: str = "net", **fields: object) -> Artifact:
    data = name.encode() * 30
    path = folder / f"{name}.pt2"
    path.write_bytes(data)
    record = FileRecord(name=f"{name}.pt2", sha256=sha256_bytes(data), size=len(data))
    artifact = Artifact(name=name, format="pt2", files=(record,), **fields)  # type: ignore[arg-type]
    store.add(artifact, {record.name: path})
    store.attach(measurement_for(artifact))
    return artifact


def findings(store: Store, name: str = "net") -> list[Finding]:
    return [*verify_entry(store, store.get(name)), *verify_tags(store)]


def wrong(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.says.partition(":")[0]) for finding in found if not finding.ok]


def test_a_sound_entry_has_nothing_wrong(store: Store, tmp_path: Path) -> None:
    add(store, tmp_path)
    assert [finding.check for finding in findings(store)] == ["file", "manifest", "measurements", "tag"]
    assert wrong(findings(store)) == []


def _flip(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _blob(store: Store, artifact: Artifact) -> None:
    _flip(store.blob(artifact.digest))


def _short(store: Store, artifact: Artifact) -> None:
    path = store.blob(artifact.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def _no_blob(store: Store, artifact: Artifact) -> None:
    store.blob(artifact.digest).unlink()


def _manifest(store: Store, artifact: Artifact) -> None:
    path = store.root / "entries" / artifact.name / f"{artifact.digest}.json"
    path.write_bytes(msgspec.json.format(path.read_bytes(), indent=0))


def _tag(store: Store, artifact: Artifact) -> None:
    (store.root / "tags" / artifact.name / "old").write_text("0" * 64)


def _no_tag(store: Store, artifact: Artifact) -> None:
    (store.root / "tags" / artifact.name / "odd").write_text("../../etc/passwd")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_blob, ("file", "net.pt2 was changed, its SHA-256 differs")),
        (_short, ("file", "net.pt2 has 89 bytes instead of 90")),
        (_no_blob, ("file", "net.pt2 is missing")),
        (_manifest, ("manifest", "was changed, it is not in its canonical form")),
        (_tag, ("tag", "old points at sha256")),
        (_no_tag, ("tag", "odd holds no digest")),
    ],
)
def test_each_damage_is_found(
    store: Store, tmp_path: Path, damage: Callable[[Store, Artifact], None], expected: tuple[str, str]
) -> None:
    damage(store, add(store, tmp_path))
    assert wrong(findings(store)) == [expected]


def test_a_measurement_that_was_changed_or_moved_is_found(store: Store, tmp_path: Path) -> None:
    one, other = add(store, tmp_path), add(store, tmp_path, "other")
    entry = store.get("net")
    (path,) = (store.root / "measurements" / one.digest).glob("*.json")
    (theirs,) = (store.root / "measurements" / other.digest).glob("*.json")
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"runs": 3', b'"runs": 4'))
    (path.parent / theirs.name).write_bytes(theirs.read_bytes())
    (path.parent / "notes.json").write_bytes(b"{}")
    found = [f for f in verify_entry(store, entry) if f.check.startswith("measurement")]
    assert sorted(wrong(found)) == [
        ("measurement", "it belongs to another file"),
        ("measurement", "it is no measurement"),
        ("measurement", "it was changed"),
    ]
    assert found[-1].says == "0 of this file"


def test_an_accuracy_of_another_file_is_told(store: Store, tmp_path: Path) -> None:
    add(store, tmp_path, accuracy=(top1(71.0, "0" * 64),))
    (told,) = [f for f in findings(store) if f.check == "accuracy"]
    assert told.ok and told.says == "top1 was measured on sha256:000000000000, not on this file"


def test_lineage(store: Store, tmp_path: Path) -> None:
    base = add(store, tmp_path, "base")
    parent = Parent(digest=base.digest, name="base", relation="quantized")
    add(store, tmp_path, parent=parent)
    (found,) = [f for f in findings(store) if f.check == "lineage"]
    assert found == Finding("net", "lineage", True, f"quantized from base@sha256:{base.digest[:12]}")
    away = add(store, tmp_path, "away", parent=msgspec.structs.replace(parent, digest="9" * 64))
    assert lineage_finding(away, {}).says.endswith("(not in this zoo)")
    itself = msgspec.structs.replace(away, parent=Parent(digest=away.digest, name="away", relation="copied"))
    assert "runs in a circle" in lineage_finding(itself, {}).says


@given(st.lists(st.integers(0, 6), min_size=7, max_size=7))
def test_every_lineage_ends_or_is_called_a_circle(parents: list[int]) -> None:
    digests = [digest_of(str(n)) for n in range(7)]
    links = {
        digests[n]: Parent(digest=digests[p], name="x", relation="r") if p > 0 else None for n, p in enumerate(parents)
    }
    record = FileRecord(name="x", sha256=digests[6], size=1)
    artifact = Artifact(name="x", format="pt2", files=(record,), parent=links[digests[6]])
    seen, at = set(), 6
    while at not in seen and parents[at] > 0:
        seen.add(at)
        at = parents[at]
    assert lineage_finding(artifact, links).ok is (parents[at] == 0)


def test_the_command_says_each_and_ends_with_1(tmp_path: Path) -> None:
    store = Store()
    artifact = add(store, tmp_path)
    add(store, tmp_path, "other")
    assert CliRunner().invoke(verify_command, ()).exit_code == 0
    _blob(store, artifact)
    _tag(store, artifact)
    done = CliRunner().invoke(verify_command, ("--json",))
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert {(f["entry"], f["check"]) for f in document["findings"] if not f["ok"]} == {("net", "file"), ("net", "tag")}
    assert CliRunner().invoke(verify_command, ("other",)).exit_code == 0
    assert "FAIL  net  file: net.pt2 was changed" in CliRunner().invoke(verify_command, ("net",)).stdout


@pytest.mark.parametrize("argv", [("--device", "local"), ("net", "--remeasure"), ("--remeasure", "--device", "local")])
def test_wrong_use_of_remeasure(argv: tuple[str, ...]) -> None:
    done = CliRunner().invoke(verify_command, argv)
    assert getattr(done.exception, "exit_code", None) == 2


def test_a_damaged_measurement_is_told_once(tmp_path: Path) -> None:
    store = Store()
    artifact = add(store, tmp_path)
    (path,) = (store.root / "measurements" / artifact.digest).glob("*.json")
    path.write_bytes(path.read_bytes() + b"\n")
    document = json.loads(CliRunner().invoke(verify_command, ("--json",)).stdout)
    assert [(f["entry"], f["check"]) for f in document["findings"] if not f["ok"]] == [("net", "measurement")]
