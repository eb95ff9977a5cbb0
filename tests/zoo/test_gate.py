"""Gates of a push: what breaks them, what they leave out, and against what they are held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_bytes
from tests.records import FACTS, measurement_for, repeat_of
from tests.zoo.candidates import top1
from zoo.artifact import Artifact, FileRecord, Parent
from zoo.backends.directory import open_directory
from zoo.backends.protocol import Snapshot
from zoo.commands.push import push as push_command
from zoo.gate import Gate, hold, parse_percent
from zoo.gating import GateBroken, gate_check
from zoo.measurement import Measurement
from zoo.push import push
from zoo.remotes import add_remote
from zoo.stats import summarise
from zoo.store import Entry, Store


def artifact(content: str, name: str = "net", accuracy: float | None = None, **fields: Any) -> Artifact:
    data = content.encode()
    digest = sha256_bytes(data)
    record = FileRecord(name=f"{name}.tflite", sha256=digest, size=len(data))
    known = (top1(accuracy, digest),) if accuracy is not None else ()
    return Artifact(name=name, format="tflite", files=(record,), accuracy=known, **fields)


def measured(of: Artifact, ms: float, device: str = "kirin970", **fields: Any) -> Measurement:
    repeats = tuple(repeat_of([round((ms + n / 1000) * 1e6) + step for step in range(-20, 21)]) for n in range(5))
    base = measurement_for(of, key=sha256_bytes(f"{of.digest}{ms}{device}{fields}".encode()))
    facts = msgspec.structs.replace(FACTS, name=device)
    return msgspec.structs.replace(base, repeats=repeats, summary=summarise(repeats), device=facts, **fields)


def entry(of: Artifact, *measurements: Measurement) -> Entry:
    return Entry(of, ("latest",), measurements)


OLD, NEW = artifact("old", accuracy=71.0), artifact("new", accuracy=70.8)
FIVE = Gate(max_regression=0.05)


@pytest.mark.parametrize(("ms", "ok"), [(9.0, True), (10.0, True), (10.4, True), (10.6, False), (20.0, False)])
def test_slower_by_more_than_the_limit_breaks_it(ms: float, ok: bool) -> None:
    held = hold(FIVE, entry(NEW, measured(NEW, ms)), entry(OLD, measured(OLD, 10.0)))
    assert held.ok is ok
    assert ("kirin970, x86_64, 1 thread" in (held.holds if ok else held.broken)[0]) is True


def test_one_slower_cell_of_many_breaks_it() -> None:
    old = [measured(OLD, 10.0), measured(OLD, 10.0, "pixel1"), measured(OLD, 5.0, threads_requested=4)]
    new = [measured(NEW, 8.0), measured(NEW, 12.0, "pixel1"), measured(NEW, 4.0, threads_requested=4)]
    held = hold(FIVE, entry(NEW, *new), entry(OLD, *old))
    assert len(held.broken) == 1 and held.broken[0].startswith("pixel1, x86_64, 1 thread: +20.0%")
    assert len(held.holds) == 2


def test_what_nobody_measured_does_not_hold() -> None:
    old = entry(OLD, measured(OLD, 10.0), measured(OLD, 10.0, "pixel1"))
    assert "no latency of both" in hold(FIVE, entry(NEW), old).broken[0]
    some = entry(NEW, measured(NEW, 9.0))
    held = hold(FIVE, some, old)
    assert held.ok
    assert held.left_out == ("pixel1: the base was measured there, this entry was not in the same way",)
    required = hold(Gate(max_regression=0.05, devices=("pixel1", "kirin970")), some, old)
    assert [line.partition(":")[0] for line in required.broken] == ["pixel1"]
    assert hold(FIVE, some, entry(OLD)).ok  # the base has no number to be held to


@pytest.mark.parametrize(
    "change", [{"verdict": "contended"}, {"provenance": "emulated", "verdict": "emulated"}, {"provenance": "published"}]
)
def test_doubtful_and_emulated_cells_carry_no_gate(change: dict[str, Any]) -> None:
    def doubtful(of: Artifact, ms: float) -> Measurement:
        m = measured(of, ms)
        verdict = msgspec.structs.replace(m.verdict, name=change.get("verdict", "valid"))
        return msgspec.structs.replace(m, verdict=verdict, provenance=change.get("provenance", "hardware"))

    old, new = entry(OLD, doubtful(OLD, 10.0)), entry(NEW, doubtful(NEW, 30.0))
    held = hold(Gate(max_regression=0.05, devices=("kirin970",)), new, old)
    assert held.holds == ()
    assert any("it is required" in line for line in held.broken)
    assert held.left_out


def test_accuracy_is_held_on_the_same_data_and_file() -> None:
    half = Gate(max_accuracy_drop=0.5)
    assert hold(half, entry(NEW), entry(OLD)).ok
    held = hold(Gate(max_accuracy_drop=0.1), entry(NEW), entry(OLD))
    assert held.broken[0].startswith("top1 on imagenet/val: 71.00 to 70.80 (-0.20 points; ")
    other = msgspec.structs.replace(NEW, accuracy=(top1(99.0, NEW.digest, dataset="photos"),))
    assert "not measured on this file" in hold(half, entry(other), entry(OLD)).broken[0]
    foreign = msgspec.structs.replace(NEW, accuracy=(top1(99.0, OLD.digest),))
    assert "not measured on this file" in hold(half, entry(foreign), entry(OLD)).broken[0]
    published = msgspec.structs.replace(OLD, accuracy=(top1(99.0, OLD.digest, provenance="published"),))
    assert hold(half, entry(NEW), entry(published)).left_out
    assert hold(Gate(max_accuracy_drop=0.0), entry(OLD), entry(OLD)).ok


def test_percentages() -> None:
    assert parse_percent("5%", "--max-regression") == pytest.approx(0.05)
    assert parse_percent("0 %", "--max-regression") == 0.0
    for text in ("5", "-5%", "%", "5%%", "nan%", ""):
        with pytest.raises(BadInput, match="takes a percentage"):
            parse_percent(text, "--max-regression")


# over a real folder as remote


def put(store: Store, folder: Path, of: Artifact, content: str, *measurements: Measurement) -> Entry:
    path = folder / f"{content}.bin"
    path.write_bytes(content.encode())
    store.add(of, {of.files[0].name: path})
    for m in measurements:
        store.attach(m)
    return store.get(of.name)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    add_remote("share", str(folder))
    return folder


def call(*argv: str) -> Result:
    return CliRunner().invoke(push_command, argv)


def test_a_push_that_breaks_the_gate_publishes_nothing(share: Path, tmp_path: Path) -> None:
    store = Store()
    put(store, tmp_path, OLD, "old", measured(OLD, 10.0))
    first = call("net", "--max-regression", "5%")
    assert first.exit_code == 0, first.output
    assert "nothing to hold it against" in first.stderr
    put(store, tmp_path, NEW, "new", measured(NEW, 12.0))
    before = open_directory(share).snapshot("net")
    refused = call("net", "--max-regression", "5%")
    assert isinstance(refused.exception, GateBroken)
    assert refused.exception.exit_code == 1
    assert "+20.0%, more than 5.0%" in refused.exception.detail[0]
    assert open_directory(share).snapshot("net") == before
    assert list((share / "blobs").rglob(NEW.digest)) == []
    allowed = call("net", "--max-regression", "25%", "--max-accuracy-drop", "0.5", "--require-device", "kirin970")
    assert allowed.exit_code == 0, allowed.output
    assert "holds: kirin970, x86_64, 1 thread: +20.0%, slower" in allowed.stderr
    now = open_directory(share).snapshot("net")
    assert now is not None and now.tags == {"latest": NEW.digest}


def test_a_variant_is_held_against_its_parent(share: Path, tmp_path: Path) -> None:
    store, remote = Store(), open_directory(share)
    parent = put(store, tmp_path, OLD, "old", measured(OLD, 10.0))
    made_from = Parent(digest=OLD.digest, name="net", relation="quantized")
    slow = artifact("quant", "net-quant", 70.9, parent=made_from)
    child = put(store, tmp_path, slow, "quant", measured(slow, 11.0))
    # Known in the store alone, then at the remote alone.
    with pytest.raises(GateBroken, match=f"against net@sha256:{OLD.digest}"):
        gate_check(FIVE, store, remote, child, ("latest",))(None)
    push(store, remote, parent, tags=("latest",))
    elsewhere = Store(tmp_path / "elsewhere")
    lonely = put(elsewhere, tmp_path, slow, "quant", measured(slow, 11.0))
    with pytest.raises(GateBroken):
        gate_check(FIVE, elsewhere, remote, lonely, ("latest",))(None)
    told: list[str] = []
    gate_check(Gate(max_regression=0.2), elsewhere, remote, lonely, ("latest",), told=told.append)(None)
    assert any("+10.0%, slower" in line for line in told)


def test_the_gate_is_held_against_what_the_tag_points_at_at_that_moment(share: Path, tmp_path: Path) -> None:
    """Somebody publishes a faster one while a push is decided: the new snapshot is what counts."""
    store, remote = Store(), open_directory(share)
    old = put(store, tmp_path, OLD, "old", measured(OLD, 10.0))
    push(store, remote, old, tags=("latest",))
    new = put(store, tmp_path, NEW, "new", measured(NEW, 10.1))
    check = gate_check(FIVE, store, remote, new, ("latest",))
    seen: list[str] = []

    def meddling(snapshot: Snapshot | None) -> None:
        check(snapshot)
        assert snapshot is not None
        seen.append(snapshot.tags["latest"])
        if len(seen) == 1:
            other = Store(tmp_path / "other")
            fast = artifact("fast", accuracy=71.0)
            push(other, remote, put(other, tmp_path, fast, "fast", measured(fast, 5.0)), tags=("latest",))

    with pytest.raises(GateBroken, match="does not hold the gate"):
        push(store, remote, new, tags=("latest",), check=meddling)
    assert len(seen) == 1
    now = remote.snapshot("net")
    assert now is not None and now.tags["latest"] == artifact("fast").digest


def test_against_names_another_base_and_a_required_device_needs_a_number(share: Path, tmp_path: Path) -> None:
    store = Store()
    put(store, tmp_path, OLD, "old", measured(OLD, 10.0))
    best = artifact("best", "best-net")
    put(store, tmp_path, best, "best", measured(best, 5.0))
    assert isinstance(call("net", "--max-regression", "5%", "--against", "best-net").exception, GateBroken)
    assert isinstance(call("net", "--max-regression", "5%", "--against", "net").exception, BadInput)
    assert isinstance(call("net", "--against", "best-net").exception, BadInput)
    missing = call("net", "--require-device", "pixel1")
    assert isinstance(missing.exception, GateBroken)
    assert "no valid measurement on pixel1" in str(missing.exception)
    assert call("net", "--require-device", "kirin970").exit_code == 0
