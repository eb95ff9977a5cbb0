"""Pulling by need over real folders as remotes: chosen, fetched, explained, pinned, and again without any remote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from devices.here import this_machine
from devices.inventory import load_inventory
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_bytes
from tests.records import FACTS, measurement_for
from tests.zoo.candidates import top1
from zoo.artifact import Artifact, FileRecord, Parent
from zoo.backends.directory import open_directory
from zoo.backends.protocol import RemoteUnavailable
from zoo.choose import NoneFits, choose
from zoo.commands.pull import pull as pull_command
from zoo.constraints import Constraints
from zoo.getting import get, get_locked, pin_of, write_lock
from zoo.lock import pinned, read_lock
from zoo.measurement import Measurement
from zoo.push import push
from zoo.reference import Reference
from zoo.remotes import RemoteConfig, add_remote
from zoo.store import Store

KIRIN = msgspec.structs.replace(FACTS, name="kirin970")
NEED = Constraints(device="kirin970", max_latency_ms=20.0, minimum=(("top1", 70.0),), max_size_mb=6.0)


def make(store: Store, folder: Path, name: str, ms: float | None, accuracy: float, **fields: Any) -> Artifact:
    """An entry with a file of its own, a top-1 and a latency on the kirin970."""
    data = name.encode() * 50
    path = folder / f"{name}.bin"
    path.write_bytes(data)
    digest = sha256_bytes(data)
    artifact = Artifact(
        name=name,
        format="tflite",
        files=(FileRecord(name=f"{name}.tflite", sha256=digest, size=len(data)),),
        task="image-classification",
        accuracy=(top1(accuracy, digest),),
        **fields,
    )
    store.add(artifact, {artifact.files[0].name: path})
    if ms is not None:
        store.attach(on_kirin(artifact, ms))
    return artifact


def on_kirin(artifact: Artifact, ms: float, **fields: Any) -> Measurement:
    return msgspec.structs.replace(measurement_for(artifact, median_ms=ms), device=KIRIN, abi="armv8", **fields)


def publish(store: Store, root: Path, *names: str) -> None:
    root.mkdir(exist_ok=True)
    for name in names:
        push(store, open_directory(root), store.get(name), tags=("latest",))


@pytest.fixture
def published(tmp_path: Path) -> list[RemoteConfig]:
    """Two folders that hold three models between them, made in a store that is gone afterwards."""
    maker = Store(tmp_path / "maker")
    base = make(maker, tmp_path, "net", 33.0, 72.0)
    made_from = {"parent": Parent(digest=base.digest, name="net", relation="quantized")}
    make(maker, tmp_path, "net-quant", 15.0, 71.0, **made_from)
    make(maker, tmp_path, "other-name", 14.0, 70.5, **made_from)
    publish(maker, tmp_path / "one", "net", "other-name")
    publish(maker, tmp_path / "two", "net-quant")
    return [
        RemoteConfig(name="one", url=(tmp_path / "one").as_uri()),
        RemoteConfig(name="two", url=(tmp_path / "two").as_uri()),
    ]


def test_the_best_over_all_remotes_is_pulled_and_then_needs_none(
    store: Store, published: list[RemoteConfig], tmp_path: Path
) -> None:
    got = get("net", NEED, store=store, remotes=published)
    entry = got.pulled.entry
    assert (entry.artifact.name, got.pulled.source, entry.tags) == ("net-quant", "two", ("latest",))
    assert got.pulled.measurements == 1
    assert got.chosen is not None
    assert [row.candidate.name for row in got.chosen.choice.fits] == ["net-quant", "other-name"]
    lock = tmp_path / "project" / "zoo.lock"
    write_lock(lock, got, store=store)
    assert pinned(lock) == {entry.artifact.digest}
    # Offline the store alone answers, also the question itself.
    assert get("net", NEED, store=store, remotes=published, offline=True).pulled.source == "local"
    (again,) = get_locked(lock, store=store, remotes=(), offline=True)
    assert again.pulled.entry.artifact.digest == entry.artifact.digest
    # Elsewhere the lock brings the same file, though by now something better was published.
    maker = Store(tmp_path / "maker")
    make(maker, tmp_path, "net-distil-quant", 10.0, 75.0)
    publish(maker, tmp_path / "one", "net-distil-quant")
    elsewhere = Store(tmp_path / "elsewhere")
    (locked,) = get_locked(lock, got.query, store=elsewhere, remotes=published)
    assert locked.pulled.entry.artifact.digest == entry.artifact.digest
    assert get("net", NEED, store=elsewhere, remotes=published).pulled.entry.artifact.name == "net-distil-quant"


def test_measurements_are_asked_for_once(
    store: Store, published: list[RemoteConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.backends.tree import TreeRemote

    asked: list[str] = []
    real = TreeRemote.measurement

    def counted(self: TreeRemote, name: str, digest: str, file_name: str) -> bytes:
        asked.append(name)
        return real(self, name, digest, file_name)

    monkeypatch.setattr(TreeRemote, "measurement", counted)
    first = choose("net", NEED, store=store, remotes=published)
    assert sorted(asked) == ["net", "net-quant", "other-name"]
    second = choose("net", NEED, store=store, remotes=published)
    assert len(asked) == 3
    assert first.choice == second.choice


def test_where_nothing_fits_the_nearest_misses_are_told(store: Store, published: list[RemoteConfig]) -> None:
    hard = msgspec.structs.replace(NEED, max_latency_ms=10.0)
    with pytest.raises(NoneFits) as caught:
        get("net", hard, store=store, remotes=published)
    text = caught.value.as_text()
    assert "no model of net satisfies --device kirin970 --max-latency-ms 10 --min-top1 70 --max-size-mb 6" in text
    assert "14.14 ms > 10, 41.4% over" in text
    assert "asked: the local zoo" in text and "one (" in text and "two (" in text
    assert caught.value.hint is not None and "--max-latency-ms 14.14 " in caught.value.hint
    assert caught.value.exit_code == 1
    record = msgspec.json.decode(msgspec.json.encode(caught.value.as_record()))
    assert [miss["name"] for miss in record["choice"]["misses"]] == ["other-name", "net-quant", "net"]
    assert store.names() == []


def test_a_remote_that_does_not_answer_is_named(store: Store, published: list[RemoteConfig], tmp_path: Path) -> None:
    away = RemoteConfig(name="away", url=(tmp_path / "not-mounted").as_uri())
    chosen = choose("net", NEED, store=store, remotes=[away, *published])
    assert chosen.row().candidate.name == "net-quant"
    assert any(warning.startswith("away did not answer") for warning in chosen.warnings)
    with pytest.raises(RemoteUnavailable):
        choose("net", NEED, store=store, remotes=[away])


def test_a_name_that_is_nowhere_names_the_nearest_and_who_was_asked(
    store: Store, published: list[RemoteConfig]
) -> None:
    with pytest.raises(BadInput) as caught:
        choose("nett", NEED, store=store, remotes=published)
    assert "did you mean net" in caught.value.as_text()
    assert "one (" in caught.value.as_text() and "two (" in caught.value.as_text()


def test_a_device_that_nobody_knows(store: Store, published: list[RemoteConfig]) -> None:
    with pytest.raises(BadInput, match="did you mean kirin970"):
        choose("net", msgspec.structs.replace(NEED, device="kirin97"), store=store, remotes=published)


def test_one_remote_alone_is_asked_where_it_is_named(store: Store, published: list[RemoteConfig]) -> None:
    chosen = choose("one/net", NEED, store=store, remotes=published)
    assert chosen.row().candidate.name == "other-name"
    assert len(chosen.asked) == 1
    with pytest.raises(BadInput, match="offline"):
        choose("one/net", NEED, store=store, remotes=published, offline=True)


def test_a_measurement_that_was_changed_at_the_remote_does_not_count(
    store: Store, published: list[RemoteConfig], tmp_path: Path
) -> None:
    (path,) = [p for p in (tmp_path / "two").rglob("measurements/*/*.json")]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"threads_requested": 1', b'"threads_requested": 2'))
    chosen = choose("net", NEED, store=store, remotes=published)
    assert chosen.row().candidate.name == "other-name"
    assert any("its content is not what its name says" in warning for warning in chosen.warnings)


def test_local_means_this_machine(store: Store, tmp_path: Path) -> None:
    """Somebody else's `local` says nothing of ours."""
    artifact = make(store, tmp_path, "net", None, 70.0)
    store.attach(measurement_for(artifact, median_ms=1.0))  # on a device called local, with another fingerprint
    need = Constraints(device="local", max_latency_ms=5.0)
    with pytest.raises(NoneFits, match="no model of net") as caught:
        choose("net", need, store=store, remotes=()).row()
    assert "another machine" in caught.value.as_text()
    ours = this_machine(load_inventory().get("local"))
    store.attach(msgspec.structs.replace(measurement_for(artifact, median_ms=1.0), device=ours))
    assert choose("net", need, store=store, remotes=()).row().candidate.name == "net"


def test_other_files_than_those_pinned_are_refused(store: Store, published: list[RemoteConfig], tmp_path: Path) -> None:
    got = get("two/net-quant", store=store, remotes=published)
    pin = pin_of(got)
    labels = FileRecord(name="labels.txt", sha256="d" * 64, size=4)
    lock = tmp_path / "zoo.lock"
    from zoo.lock import LockFile, encode_lock

    lock.write_bytes(encode_lock(LockFile(pins=(msgspec.structs.replace(pin, files=(*pin.files, labels)),))))
    with pytest.raises(WorkFailed, match="other files than those that were pinned"):
        get_locked(lock, store=Store(tmp_path / "elsewhere"), remotes=published)
    assert Store(tmp_path / "elsewhere").names() == []


def test_what_a_lock_file_pins_is_not_collected(store: Store, published: list[RemoteConfig], tmp_path: Path) -> None:
    from zoo.collect import collect

    got = get("net", NEED, store=store, remotes=published)
    lock = tmp_path / "project" / "zoo.lock"
    write_lock(lock, got, store=store)
    (store.root / "tags" / "net-quant" / "latest").unlink()
    collect(store, grace_s=0, untagged=True)
    (kept,) = get_locked(lock, store=store, remotes=(), offline=True)
    assert kept.pulled.entry.artifact.name == "net-quant"
    lock.unlink()
    collect(store, grace_s=0, untagged=True)
    assert store.names() == []


def test_to_prefer_something_is_to_ask(store: Store, published: list[RemoteConfig]) -> None:
    smallest = get("net", Constraints(prefer="size"), store=store, remotes=published)
    assert smallest.pulled.entry.artifact.name == "net"
    assert get("net", Constraints(allow_published=True), store=store, remotes=published).chosen is None


def test_a_question_moves_no_tag(store: Store, published: list[RemoteConfig], tmp_path: Path) -> None:
    mine = make(store, tmp_path, "net-quant", None, 10.0, notes=("mine",))
    theirs = Store(tmp_path / "maker")
    data = b"another file of that name"
    (tmp_path / "b").write_bytes(data)
    other = msgspec.structs.replace(
        mine, files=(FileRecord(name="net.tflite", sha256=sha256_bytes(data), size=len(data)),), notes=()
    )
    other = msgspec.structs.replace(other, accuracy=(top1(71.0, other.digest),))
    theirs.add(other, {"net.tflite": tmp_path / "b"})
    theirs.attach(on_kirin(other, 9.0))
    publish(theirs, tmp_path / "two", "net-quant")
    got = get("net-quant", NEED, store=store, remotes=published)
    assert got.pulled.entry.artifact.digest == other.digest
    assert store.get("net-quant").artifact.digest == mine.digest
    assert store.get(Reference("net-quant", digest=other.digest)).tags == ()


# the command


def call(*argv: str) -> Result:
    return CliRunner().invoke(pull_command, argv)


def test_the_command_explains_on_stderr_and_prints_the_path(
    published: list[RemoteConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for remote in published:
        add_remote(remote.name, remote.url)
    monkeypatch.chdir(tmp_path)
    need = ("net", "--device", "kirin970", "--max-latency-ms", "20", "--min-top1", "70")
    dry = call(*need, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "2 of 3 fit; the order is: best top1, then lowest latency, then smallest file, then name" in dry.stdout
    assert Store().names() == []
    done = call(*need, "--lock", "--to", "out")
    assert done.exit_code == 0, done.output
    digest = Store().get("net-quant").artifact.digest
    assert done.stdout == f"out/net-quant.tflite  sha256:{digest}\n"
    assert "chosen" in done.stderr and f"pinned sha256:{digest[:12]} in zoo.lock" in done.stderr
    assert read_lock(tmp_path / "zoo.lock").pins[0].query == ("net --device kirin970 --max-latency-ms 20 --min-top1 70")
    locked = call(*need, "--locked", "--offline", "--json")
    assert json.loads(locked.stdout)["digest"] == f"sha256:{digest}"
    assert [each["name"] for each in json.loads(call("--locked", "--json").stdout)] == ["net-quant"]
    other = call("net", "--device", "kirin970", "--max-latency-ms", "21", "--locked")
    assert isinstance(other.exception, BadInput)
    assert "no pin for" in str(other.exception)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "no model was named"),
        (("net", "--lock", "--locked"), "one of them"),
        (("net", "--explain"), "nothing is to be chosen"),
        (("net", "--max-latency-ms", "3"), "needs --device"),
        (("net", "--min-top1", "3", "--min", "top1=4"), "the same thing"),
        (("net", "--min", "x"), "METRIC=NUMBER"),
        (("net", "--device", "local", "--option", "batch"), "NAME=VALUE"),
        (("net", "--format", "exe"), "no format"),
        (("--locked", "--device", "local"), "no model was named"),
    ],
)
def test_wrong_use(argv: tuple[str, ...], says: str) -> None:
    done = call(*argv)
    assert isinstance(done.exception, BadInput), done.output
    assert says in str(done.exception)


def test_the_hub_is_asked_like_any_other(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real huggingface_hub against a Hub on loopback, asked by several threads; private, so with a token."""
    from contextlib import closing

    from tests.lab.hub import HubServer
    from zoo.remotes import open_remote

    token = "hf_ThisTokenIsSecret0123456789"
    with HubServer(tokens=(token,), page=7) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", token)
        hub = RemoteConfig(name="hub", url="hf://acme?private=true")
        maker = Store(tmp_path / "maker")
        with closing(open_remote(hub)) as remote:
            for name, ms, accuracy in (("net", 33.0, 72.0), ("net-quant", 15.0, 71.0), ("net-0.5x-quant", 5.0, 60.0)):
                make(maker, tmp_path, name, ms, accuracy)
                push(maker, remote, maker.get(name), tags=("latest",))
        got = get("net", NEED, store=store, remotes=[hub])
        assert (got.pulled.entry.artifact.name, got.pulled.source) == ("net-quant", "hub")
        assert got.chosen is not None and len(got.chosen.choice.misses) == 2
        assert token not in str(got) and token not in pin_of(got).query + str(pin_of(got).remote)
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        other = choose("net", NEED, store=store, remotes=[hub])
        assert other.row().candidate.source == "local"
    assert server.complaints == []
