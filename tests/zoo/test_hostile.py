"""Manifests, names and text by somebody who means harm: nothing outside is written, nothing acts on the terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import flatbuffers
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.printable import printable, printable_json
from tests.journeys.conftest import SCRIPTS
from tests.records import measurement_for
from tests.zoo.conftest import artifact_for
from tests.zoo.test_tflite import with_custom_operator
from zoo.artifact import Artifact, FileRecord, TensorSpec, encode
from zoo.decode import decode_artifact, decode_measurement
from zoo.export import export_files
from zoo.list_text import list_table
from zoo.loadcheck import check_loads
from zoo.store import Store
from zoo.text import entry_text
from zoo.tflite import inspect

SOUND = Artifact(
    name="tiny-model",
    format="tflite",
    files=(
        FileRecord(name="tiny-model.tflite", sha256="c" * 64, size=100),
        FileRecord(name="labels.txt", sha256="d" * 64, size=10),
    ),
    inputs=(TensorSpec(name="in", shape=(1, 8), dtype="int8"),),
    macs=5,
    versions={"pocketzoo": "0.1.0"},
)
HERE = "remote/manifest.json"


def changed(path: list[Any], value: Any) -> bytes:
    document = json.loads(encode(SOUND))
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return json.dumps(document).encode()


# manifests


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["files", 1, "name"], "tiny-model.tflite"),
        (["files", 1, "name"], "Tiny-Model.TFLITE"),
        (["files", 1, "sha256"], "c" * 64),  # one file with two sizes
        (["files", 0, "size"], 1 << 60),
        (["files", 0, "size"], 10**400),
        (["files", 0, "size"], 1.5),
        (["files"], [{"name": f"f{n}", "sha256": "c" * 64, "size": 1} for n in range(1001)]),
        (["macs"], 1 << 70),
        (["macs"], -1),
        (["seed"], 10**30),
        (["inputs", 0, "shape"], [1] * 1001),
        (["inputs", 0, "shape"], [10**30]),
        (["inputs", 0, "name"], "n" * 5000),
        (["source"], "s" * 5000),
        (["notes"], ["n"] * 1001),
        (["schema"], 0),
        (["schema"], -1),
        (["schema"], 10**30),
        (["schema"], "1"),
        (["operators"], {"ADD": -1}),
        (["name"], "con\x00"),
        (["name"], "a" * 129),
    ],
)
def test_what_no_model_has_is_refused(path: list[Any], value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        decode_artifact(changed(path, value), HERE)
    assert caught.value.where == HERE
    assert len(caught.value.as_text()) < 2000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ['"value"', '"macs"'])
def test_numbers_that_are_none_are_refused(field: str, number: str) -> None:
    accuracy = {
        "metric": "top1", "value": 70.0, "dataset": "d", "split": "s", "samples": 1, "measured_on": "c" * 64,
    }  # fmt: skip
    text = changed(["accuracy"], [accuracy]).decode()
    hostile, count = re.subn(rf"{field}: [0-9.]+", f"{field}: {number}", text)
    assert count == 1
    decode_artifact(text.encode(), HERE)
    with pytest.raises(BadInput):
        decode_artifact(hostile.encode(), HERE)


def test_an_unknown_schema_names_the_version_that_reads_it() -> None:
    document = json.loads(encode(SOUND))
    document |= {"schema": 9, "versions": {"pocketzoo": "3.1.4"}, "what": "nobody knows yet"}
    with pytest.raises(BadInput, match="schema 9; this pocketzoo reads schema 1 to 2") as caught:
        decode_artifact(json.dumps(document).encode(), HERE)
    assert caught.value.hint == "pip install 'pocketzoo>=3.1.4', the version that wrote it"
    for hostile in ("3.1; rm -rf ~", "3.1' 'evil", "\x1b[31m3", 3, None, ["3.1"], "9" * 99):
        document["versions"] = {"pocketzoo": hostile}
        with pytest.raises(BadInput) as caught:
            decode_artifact(json.dumps(document).encode(), HERE)
        assert caught.value.hint == "pip install --upgrade pocketzoo"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(encode(SOUND)))), JSON)
def test_any_value_in_any_field_is_read_or_refused(field: str, value: object) -> None:
    document = json.loads(encode(SOUND)) | {field: value}
    try:
        decoded = decode_artifact(json.dumps(document).encode(), HERE)
    except BadInput:
        return
    assert decode_artifact(encode(decoded), HERE) == decoded


@pytest.mark.parametrize("depth", [100, 10_000, 1_000_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    for data in (b'{"schema":1,"files":' + b"[" * depth, b'{"schema":1,"versions":' + b'{"a":' * depth):
        with pytest.raises(BadInput):
            decode_artifact(data, HERE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threads_requested", 1 << 40),
        ("threads_actual", 10**30),
        ("runs", 10**30),
        ("model", "../x"),
        ("job_key", "../x"),
    ],
)
def test_a_measurement_that_does_not_fit_is_refused(field: str, value: object) -> None:
    document = json.loads(encode(measurement_for(SOUND)))
    with pytest.raises(BadInput):
        decode_measurement(json.dumps(document | {field: value}).encode(), HERE)


# what reaches a terminal

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\r\nerror: forged\x00\u200b\u2028\U000e0041"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


@given(st.text())
def test_nothing_unprintable_is_left_and_what_prints_is_unchanged(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text
    assert printable(text, lines=True).replace("\n", "").replace("\t", "").isprintable()


@given(JSON.filter(lambda value: "Infinity" not in json.dumps(value) and "NaN" not in json.dumps(value)))
def test_json_keeps_its_values(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    shown = printable_json(text)
    assert json.loads(shown) == value
    assert not CONTROLS.search(shown)


def hostile_artifact(path: Path) -> Artifact:
    return msgspec.structs.replace(
        artifact_for(path),
        inputs=(TensorSpec(name=HOSTILE, shape=(1,), dtype=HOSTILE),),
        operators={HOSTILE: 1},
        task=HOSTILE,
        dataset=HOSTILE,
        licence=HOSTILE,
        source=HOSTILE,
        notes=(HOSTILE,),
        versions={HOSTILE: HOSTILE},
    )


def test_text_of_others_does_not_act_on_the_terminal(store: Store, weights: Path) -> None:
    artifact = hostile_artifact(weights)
    store.add(artifact, {"tiny-model.tflite": weights})
    hostile = msgspec.structs.replace(measurement_for(artifact), abi=HOSTILE, options=((HOSTILE, HOSTILE),))
    store.attach(hostile)
    shown = entry_text(store.get("tiny-model"))
    for text in (shown, list_table(store.listing())):
        assert not CONTROLS.search(text)
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text if c != "\n")
    assert not [line for line in shown.splitlines() if line.startswith("error: forged")]


@pytest.mark.parametrize("argv", [["list"], ["show", "tiny-model"], ["verify"], ["pull", "tiny-model"]])
@pytest.mark.parametrize("as_json", [False, True])
def test_no_command_lets_it_through(weights: Path, argv: list[str], as_json: bool) -> None:
    store = Store()
    store.add(hostile_artifact(weights), {"tiny-model.tflite": weights})
    broken = store.root / "entries" / "tiny-model" / f"{'0' * 64}.json"
    broken.write_text(json.dumps({"schema": 1, HOSTILE: HOSTILE}))
    argv = [*argv, "--json"] if as_json else argv
    done = subprocess.run([str(SCRIPTS / "zoo"), *argv], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1)
    assert not CONTROLS.search(done.stdout + done.stderr)
    assert "error: forged" not in (done.stdout + done.stderr).splitlines()
    if as_json:
        json.loads(done.stdout)


def test_an_error_cannot_forge_a_line() -> None:
    error = PocketzooError(f"no model {HOSTILE!r} {HOSTILE}", where=HOSTILE, hint=HOSTILE, detail=(HOSTILE,))
    text = error.as_text()
    assert not CONTROLS.search(text)
    assert [line for line in text.splitlines() if line.startswith("error:")] == [text.splitlines()[0]]


def test_an_operators_name_out_of_a_model_file_is_escaped(tiny_tflite: Path, tmp_path: Path) -> None:
    path = tmp_path / "hostile.tflite"
    path.write_bytes(with_custom_operator(tiny_tflite.read_bytes(), HOSTILE.replace("\x00", "")))
    done = subprocess.run(
        [str(SCRIPTS / "zoo"), "add", str(path), "--name", "m"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "\\x1b" in done.stderr
    assert not CONTROLS.search(done.stdout + done.stderr)


# model files that lie


def tflite_with(change: Any, data: bytes) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    change(model)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_enormous_declared_tensors_take_the_loading_process_and_nothing_else(tiny_tflite: Path, tmp_path: Path) -> None:
    def huge(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.shape = [2**31 - 1] * 4
            tensor.shapeSignature = None

    path = tmp_path / "huge.tflite"
    path.write_bytes(tflite_with(huge, tiny_tflite.read_bytes()))
    assert inspect(path).inputs[0].shape == (2**31 - 1,) * 4
    with pytest.raises(BadInput, match="the runtime"):
        check_loads(path)


def test_many_graphs_that_share_one_large_table_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a megabyte that claims a hundred million operators; the bound is lowered to spare the time."""
    monkeypatch.setattr("zoo.tflite.MOST_ELEMENTS", 40_000)
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder(1 << 20)
    schema.OperatorStart(builder)
    operator = schema.OperatorEnd(builder)
    schema.SubGraphStartOperatorsVector(builder, 10_000)
    for _ in range(10_000):
        builder.PrependUOffsetTRelative(operator)
    operators = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddOperators(builder, operators)
    graph = schema.SubGraphEnd(builder)
    schema.OperatorCodeStart(builder)
    code = schema.OperatorCodeEnd(builder)
    schema.ModelStartOperatorCodesVector(builder, 1)
    builder.PrependUOffsetTRelative(code)
    codes = builder.EndVector()
    schema.ModelStartSubgraphsVector(builder, 10_000)
    for _ in range(10_000):
        builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddOperatorCodes(builder, codes)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    path = tmp_path / "shared.tflite"
    path.write_bytes(bytes(builder.Output()))
    assert path.stat().st_size < 200_000
    with pytest.raises(BadInput) as caught:
        inspect(path)
    assert "a table of" in caught.value.as_text()


# where files go


@pytest.fixture
def source(tmp_path: Path) -> tuple[FileRecord, Path]:
    from pocketzoo.files import sha256_file

    path = tmp_path / "source"
    path.write_bytes(b"weights")
    return FileRecord(name="m.tflite", sha256=sha256_file(path), size=7), path


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(
    tmp_path: Path, source: tuple[FileRecord, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    target.mkdir()
    elsewhere.mkdir()
    replace = os.replace

    def exchanged_at_the_last_moment(*args: Any, **kwargs: Any) -> None:
        target.rename(tmp_path / "moved-away")
        target.symlink_to(elsewhere)
        replace(*args, **kwargs)

    monkeypatch.setattr("zoo.export.os.replace", exchanged_at_the_last_moment)
    with pytest.raises(WorkFailed, match="exchanged"):
        export_files([source], target)
    assert list(elsewhere.iterdir()) == []


def test_a_folder_exchanged_before_it_is_opened_is_not_followed(
    tmp_path: Path, source: tuple[FileRecord, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    resolve = Path.resolve

    def exchanged_after_resolving(self: Path, strict: bool = False) -> Path:
        place = resolve(self, strict)
        target.rmdir()
        target.symlink_to(elsewhere)
        return place

    monkeypatch.setattr(Path, "resolve", exchanged_after_resolving)
    with pytest.raises(WorkFailed, match="exchanged"):
        export_files([source], target)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe", "hard link"])
@pytest.mark.parametrize("force", [False, True])
def test_what_stands_under_the_name_is_never_written_through(
    tmp_path: Path, source: tuple[FileRecord, Path], kind: str, force: bool
) -> None:
    target, victim = tmp_path / "out", tmp_path / "victim"
    target.mkdir()
    victim.write_text("precious")
    place = target / "m.tflite"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "hard link":
        place.hardlink_to(victim)
    else:
        place.symlink_to(victim if kind == "link" else tmp_path / "nowhere")
    if kind == "hard link" and force:  # it is replaced, not written into
        export_files([source], target, force=True)
        assert place.read_bytes() == b"weights"
    else:
        with pytest.raises(BadInput):
            export_files([source], target, force=force)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_link_that_the_person_names_is_the_persons_wish(tmp_path: Path, source: tuple[FileRecord, Path]) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    export_files([source], tmp_path / "link")
    assert (real / "m.tflite").read_bytes() == b"weights"


def test_a_lying_size_leaves_nothing(tmp_path: Path, source: tuple[FileRecord, Path]) -> None:
    record = msgspec.structs.replace(source[0], size=6)
    with pytest.raises(WorkFailed, match="is not the file"):
        export_files([(record, source[1])], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text(min_size=1, max_size=30).filter(lambda name: "/" not in name and name not in (".", "..")))
def test_only_names_of_the_grammar_are_entries(tmp_path: Path, name: str) -> None:
    """Whatever folders somebody makes in the store by hand: they are read as entries of that name or not at all."""
    store = Store(tmp_path / "zoo")
    folder = store.root / "entries" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{'c' * 64}.json").write_bytes(encode(SOUND))
    except (OSError, ValueError):  # names no file system takes
        return
    problems: list[PocketzooError] = []
    found = [entry.artifact.name for entry in store.entries(problems.append)]
    assert set(found) <= {"tiny-model"}
    assert not any(CONTROLS.search(problem.as_text()) for problem in problems)


def test_a_blob_that_is_a_link_to_another_file_is_not_believed(store: Store, weights: Path, tmp_path: Path) -> None:
    entry = store.add(artifact_for(weights), {"tiny-model.tflite": weights})
    blob = store.blob(entry.artifact.digest)
    other = tmp_path / "other"
    other.write_bytes(b"x" * weights.stat().st_size)
    blob.unlink()
    blob.symlink_to(other)
    with pytest.raises(WorkFailed):
        store.export(entry, tmp_path / "out")
    mode = other.stat().st_mode
    store.keep(weights, entry.artifact.files[0])
    assert not blob.is_symlink()
    assert other.read_bytes() == b"x" * weights.stat().st_size
    assert other.stat().st_mode == mode


@pytest.mark.parametrize("part", ["blobs", "blob", "entries", "entry", "manifest", "tags", "tag"])
def test_links_in_a_remote_folder_lead_nowhere(store: Store, weights: Path, tmp_path: Path, part: str) -> None:
    """Who can write into a shared folder cannot make others read what lies outside of it."""
    from zoo import api

    share, outside = tmp_path / "share", tmp_path / "outside"
    share.mkdir()
    artifact = artifact_for(weights)
    ours = Store(tmp_path / "ours")
    ours.add(artifact, {"tiny-model.tflite": weights})
    api.push("tiny-model", to=str(share), store=ours)
    place = {
        "blobs": share / "blobs",
        "blob": share / "blobs" / "sha256" / artifact.digest[:2] / artifact.digest,
        "entries": share / "entries",
        "entry": share / "entries" / "tiny-model",
        "manifest": share / "entries" / "tiny-model" / f"{artifact.digest}.json",
        "tags": share / "tags" / "tiny-model",
        "tag": share / "tags" / "tiny-model" / "latest",
    }[part]
    place.rename(outside)
    place.symlink_to(outside)
    api.add_remote("share", str(share))
    with pytest.raises(PocketzooError):
        api.pull("tiny-model", store=store)
    assert list(store.entries()) == []
    assert not store.blob(artifact.digest).exists() or part not in ("blobs", "blob")
