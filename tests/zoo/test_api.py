"""The zoo from Python: light to import, typed, the verbs of the command line."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import msgspec
import pytest

from tests.records import measurement_for
from tests.zoo.test_sign import FOUND, needs_tool, write_keys
from zoo import api
from zoo.sign import TOOL

SLOW = {
    "adbutils", "alembic", "ai_edge_litert", "click", "fsspec", "google", "httpx", "huggingface_hub", "model_signing",
    "numpy", "paramiko", "pydantic", "requests", "rich", "ruamel", "sigstore", "sqlalchemy", "tabulate", "torch",
}  # fmt: skip


def test_importing_it_imports_nothing_slow() -> None:
    code = "import sys; import zoo; from zoo import api; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "msgspec" in loaded
    assert not SLOW & loaded


def test_every_verb_is_documented_typed_and_exported() -> None:
    verbs = {
        name: thing
        for name, thing in vars(api).items()
        if inspect.isfunction(thing) and thing.__module__ == api.__name__ and not name.startswith("_")
    }
    assert set(verbs) <= set(api.__all__)
    for name, verb in verbs.items():
        assert inspect.getdoc(verb), name
        hints = typing.get_type_hints(verb, vars(api) | {"Callable": typing.Callable})
        assert set(hints) == {*inspect.signature(verb).parameters, "return"}, name
    for name in api.__all__:
        assert hasattr(api, name), name


def test_a_model_goes_round(tiny_tflite: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    ours, theirs = api.Store(tmp_path / "ours"), api.Store(tmp_path / "theirs")
    entry = api.add(tiny_tflite, "tiny", licence="MIT", store=ours)
    ours.attach(measurement_for(entry.artifact))
    assert [e.artifact.name for e in api.list_models("ti*", store=ours)] == ["tiny"]
    assert api.list_models("x*", store=ours) == []

    api.add_remote("share", str(tmp_path / "share"))
    assert [remote.name for remote in api.remotes()] == ["share"]
    assert api.push("tiny", store=ours).changed
    assert not api.push("tiny", store=ours).changed
    assert api.remote_models() == ("tiny",)

    pulled = api.pull("tiny", to=tmp_path / "out", store=theirs)
    assert pulled.source == "share"
    assert pulled.paths[0].read_bytes() == tiny_tflite.read_bytes()
    assert api.show("tiny", store=theirs).measurements == api.show("tiny", store=ours).measurements
    assert all(finding.ok for finding in api.verify(store=theirs))
    assert api.pull("tiny", offline=True, store=theirs).source == "local"
    api.remove_remote("share")
    assert api.remotes() == ()


def test_what_is_wrong_is_raised(tmp_path: Path) -> None:
    store = api.Store(tmp_path / "empty")
    with pytest.raises(api.BadInput):
        api.show("nothing", store=store)
    with pytest.raises(api.BadInput):
        api.pull("nothing", store=store)
    with pytest.raises(api.BadInput, match="local zoo"):
        api.push("share/nothing", store=store)
    with pytest.raises(api.BadInput):
        api.add(tmp_path / "missing.tflite", store=store)


def measured(store: api.Store, path: Path, name: str, median_ms: float, tmp_path: Path) -> None:
    """An entry of a file of its own, measured on a device called kirin970."""
    own = tmp_path / f"{name}.tflite"
    own.write_bytes(path.read_bytes() + name.encode())  # behind the flatbuffer, where nothing reads
    entry = api.add(own, name, store=store, dataset="imagenet-1k/val", published=["top1=70"], samples=100)
    found = measurement_for(entry.artifact, median_ms=median_ms)
    device = msgspec.structs.replace(found.device, name="kirin970")
    store.attach(msgspec.structs.replace(found, device=device, abi="armv8"))


def test_by_need_locked_and_compared(tiny_tflite: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    ours, theirs = api.Store(tmp_path / "ours"), api.Store(tmp_path / "theirs")
    for name, median_ms in (("net", 30.0), ("net-quant", 10.0)):
        measured(ours, tiny_tflite, name, median_ms, tmp_path)
        api.push(name, to=str(tmp_path / "share"), store=ours)
    api.add_remote("share", str(tmp_path / "share"))

    need = api.Constraints(device="kirin970", max_latency_ms=20, threads=1, abi="armv8")
    choice = api.resolve("net", need, store=theirs)
    assert choice.chosen is not None
    assert choice.chosen.candidate.name == "net-quant"
    assert [row.candidate.name for row in choice.misses] == ["net"]
    assert api.list_models(store=theirs) == []

    lock = tmp_path / "zoo.lock"
    pulled = api.pull(
        "net",
        device="kirin970",
        max_latency_ms=20,
        threads=1,
        abi="armv8",
        to=tmp_path / "out",
        lock=lock,
        store=theirs,
    )
    assert pulled.entry.artifact.name == "net-quant"
    assert pulled.choice is not None
    assert (tmp_path / "out" / "net-quant.tflite").is_file()
    (again,) = api.pull_locked(lock, offline=True, store=theirs)
    assert again.entry.artifact.digest == pulled.entry.artifact.digest

    with pytest.raises(api.WorkFailed) as caught:
        api.pull("net", device="kirin970", max_latency_ms=1, store=theirs)
    assert "satisfies" in caught.value.what
    with pytest.raises(api.BadInput):
        api.pull("net", max_latency_ms=1, store=theirs)
    with pytest.raises(api.BadInput, match="as a record and as arguments"):
        api.pull("net", constraints=need, device="kirin970", store=theirs)

    with pytest.raises(api.WorkFailed, match="does not hold the gate"):
        api.push("net-quant", gate=api.Gate(devices=("pixel1",)), against="net", store=ours)
    assert not api.push("net-quant", gate=api.Gate(max_regression=0.05), against="net", store=ours).changed

    compared = api.diff("net", "net-quant", store=ours)
    assert (compared.a.name, compared.b.name) == ("net", "net-quant")
    assert len(compared.latency) == 1


@needs_tool
def test_signed_by(tiny_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOOL, str(FOUND))
    (tmp_path / "share").mkdir()
    private, public = write_keys(tmp_path, "key")
    _, stranger = write_keys(tmp_path, "stranger")
    store = api.Store(tmp_path / "theirs")
    api.add(tiny_tflite, "tiny")
    api.push("tiny", to=str(tmp_path / "share"), sign=api.PrivateKey(private))
    api.add_remote("share", str(tmp_path / "share"))
    with pytest.raises(api.WorkFailed, match="does not hold"):
        api.pull("tiny", signed_by=api.PublicKey(stranger), store=store)
    assert api.list_models(store=store) == []
    api.pull("tiny", signed_by=api.PublicKey(public), store=store)
    assert all(finding.ok for finding in api.verify("tiny", signed_by=api.PublicKey(public), store=store))
    assert not all(finding.ok for finding in api.verify("tiny", signed_by=api.PublicKey(stranger), store=store))
