"""Models of others: what is read out of real files, and that any other bytes are refused."""

from __future__ import annotations

import ast
import json
import random
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from tests.journeys.conftest import SCRIPTS
from zoo.adding import add_file
from zoo.foreign import describe
from zoo.onnx_file import MOST_FIELDS, inspect_onnx
from zoo.programs import LARGEST_DIRECTORY, format_of
from zoo.quantization import Layer, quantization_text
from zoo.safetensors_file import LARGEST_HEADER, inspect_safetensors
from zoo.store import Store
from zoo.tflite import inspect
from zoo.verify import verify_entry

ROOT = Path(__file__).parents[2]
tolerant = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

# .onnx, with the onnx package as the oracle


def write_onnx(path: Path, **fields: Any) -> Any:
    """Conv with a per-channel int8 weight behind DequantizeLinear, an If with a graph in it, an operator of others."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.int8), "w")
    scale = numpy_helper.from_array(np.ones(4, np.float32), "s")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(7, np.float16), "seven"))],
        "inner", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT16, [7])],
    )  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["wf"], axis=0),
            helper.make_node("Conv", ["x", "wf"], ["y"]),
            helper.make_node("If", ["b"], ["c2"], then_branch=inner, else_branch=inner),
            helper.make_node("Secret", ["y"], ["z"], domain="acme"),
        ],
        "main",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 224, 224]),
            helper.make_tensor_value_info("b", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.INT8, [4, 3, 3, 3]),
        ],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [weight, scale],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 2)]
    model = helper.make_model(graph, producer_name="test", producer_version="1", opset_imports=opsets, **fields)
    onnx.save_model(model, str(path))
    return model


def test_an_onnx_model_is_read_as_the_onnx_package_reads_it(tmp_path: Path) -> None:
    write_onnx(path := tmp_path / "m.onnx")
    facts = inspect_onnx(path)
    assert [(t.name, t.shape, t.dtype) for t in facts.inputs] == [
        ("x", (-1, 3, 224, 224), "float32"),
        ("b", (), "bool"),
    ]
    assert [(t.name, t.shape, t.dtype) for t in facts.outputs] == [("z", (), "float32")]
    assert facts.operators == {"Constant": 2, "Conv": 1, "DequantizeLinear": 1, "If": 1, "acme::Secret": 1}
    assert facts.opsets == {"ai.onnx": 17, "acme": 2}
    assert facts.weights == {"float16": 14, "float32": 4, "int8": 108}
    assert facts.custom_operators == ("acme::Secret",)
    artifact = describe(path, "m")
    assert (artifact.format, artifact.parameters) == ("onnx", 126)
    assert artifact.versions["opset ai.onnx"] == "17"


def test_every_dtype_and_domain_of_onnx_is_known() -> None:
    import onnx

    from zoo.onnx_file import DTYPES

    theirs = {number: name for name, number in onnx.TensorProto.DataType.items() if number}
    assert sorted(DTYPES) == sorted(theirs)
    for number, name in theirs.items():
        assert DTYPES[number].replace("float32", "float").replace("float64", "double") == name.lower()


@pytest.mark.parametrize("where", ["initializer", "constant", "branch", "function"])
def test_weights_in_other_files_are_refused_wherever_they_hide(tmp_path: Path, where: str) -> None:
    import onnx
    from onnx import TensorProto, helper

    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../../../etc/passwd")
    node = helper.make_node("Constant", [], ["c"], value=outside)
    inner = helper.make_graph([node], "g", [], [])
    model = write_onnx(tmp_path / "sound.onnx")
    if where == "initializer":
        model.graph.initializer.append(outside)
    elif where == "constant":
        model.graph.node.append(node)
    elif where == "branch":
        model.graph.node.append(helper.make_node("If", ["b"], [], then_branch=inner, else_branch=inner))
    else:
        model.functions.append(helper.make_function("f", "F", [], ["c"], [node], [helper.make_opsetid("", 17)]))
    path = tmp_path / "outside.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="in other files") as caught:
        describe(path, "m")
    assert "save_as_external_data=False" in str(caught.value.hint)
    assert onnx.load_model(str(path), load_external_data=False)


@tolerant
@given(st.binary(max_size=400))
def test_any_bytes_are_no_onnx_model(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.onnx"
    path.write_bytes(data)
    with pytest.raises(BadInput):
        inspect_onnx(path)


def test_damaged_onnx_models_are_read_or_refused(tmp_path: Path) -> None:
    write_onnx(path := tmp_path / "m.onnx")
    data, dice, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(data[: dice.randrange(1, len(data) + 1)])
        for _ in range(dice.choice([0, 1, 8])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            inspect_onnx(path)
        except BadInput as error:
            refused += 1
            assert error.where == str(path)
    assert refused > 50


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def message(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def test_nesting_and_number_of_fields_are_bounded(tmp_path: Path) -> None:
    graph = b""
    for _ in range(200):
        graph = message(1, message(4, b"If") + message(5, message(6, graph)))
    deep, wide, long = (tmp_path / f"{name}.onnx" for name in ("deep", "wide", "long"))
    deep.write_bytes(b"\x08\x08" + message(7, graph))
    wide.write_bytes(b"\x08\x08" + message(7, message(5, b"\x25\0\0\0\0" * (MOST_FIELDS + 1))))
    long.write_bytes(b"\x08\x08" + b"\x3a" + varint(1 << 62))
    for path, says in ((deep, "nested deeper"), (wide, "more than"), (long, "ends at byte")):
        with pytest.raises(BadInput) as caught:
            inspect_onnx(path)
        assert says in caught.value.as_text()


# .safetensors, with the safetensors package as the oracle


def safetensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_safetensors_are_summarised(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    path = tmp_path / "w.safetensors"
    tensors = {"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.int8), "empty": np.zeros((0, 3), np.float16)}
    save_file(tensors, path, {"format": "np"})
    facts = inspect_safetensors(path)
    assert (facts.tensors, facts.parameters, facts.elements) == (3, 17, {"F16": 0, "F32": 12, "I8": 5})
    artifact = describe(path, "w")
    assert (artifact.format, artifact.parameters) == ("safetensors", 17)
    assert "weights alone" in artifact.notes[0]


def tensor(start: int, end: int, **fields: object) -> dict[str, object]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end], **fields}


BAD_HEADERS: dict[str, bytes] = {
    "overlap": safetensors({"a": tensor(0, 4), "b": tensor(2, 6)}, b"123456"),
    "hole": safetensors({"a": tensor(0, 2), "b": tensor(4, 6)}, b"123456"),
    "tail": safetensors({"a": tensor(0, 2)}, b"123456"),
    "outside": safetensors({"a": tensor(0, 8)}, b"123456"),
    "backwards": safetensors({"a": {"dtype": "U8", "shape": [2], "data_offsets": [4, 2]}}, b"123456"),
    "negative": safetensors({"a": tensor(-2, 4, shape=[6])}, b"1234"),
    "fraction": safetensors({"a": tensor(0, 4, shape=[4.0])}, b"1234"),
    "truth": safetensors({"a": tensor(0, 1, shape=[True])}, b"1"),
    "size": safetensors({"a": tensor(0, 4, shape=[5])}, b"1234"),
    "huge": safetensors({"a": tensor(0, 4, shape=[1 << 60, 1 << 60])}, b"1234"),
    "dtype": safetensors({"a": tensor(0, 4, dtype="PICKLE")}, b"1234"),
    "extra": safetensors({"a": tensor(0, 4, more=1)}, b"1234"),
    "twice": safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(tensor(0, 4)).encode(),) * 2), b"1234"),
    "metadata": safetensors({"__metadata__": {"x": 1}}),
    "metadata-list": safetensors({"__metadata__": [1]}),
    "list": safetensors([1]),
    "deep": safetensors(b"[" * 50_000),
    "digits": safetensors(b'{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}' % (b"9" * 9999), b"1"),
    "not text": safetensors(b"\xff\xff"),
    "long header": struct.pack("<Q", LARGEST_HEADER + 1) + b"{",
    "endless header": struct.pack("<Q", 1 << 63),
    "short": b"\x02",
    "empty": b"",
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD_HEADERS[case])
    with pytest.raises(BadInput):
        inspect_safetensors(path)


def test_a_header_longer_than_is_read_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", LARGEST_HEADER + 1))
        file.truncate(LARGEST_HEADER + 100)
    with pytest.raises(BadInput, match="at most"):
        inspect_safetensors(path)


@tolerant
@given(
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.lists(st.integers(), max_size=3)), st.binary()
)
def test_any_header_is_read_or_refused(tmp_path: Path, header: dict[str, object], body: bytes) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(safetensors(header, body))
    try:
        facts = inspect_safetensors(path)
    except BadInput:
        return
    assert not header
    assert not body
    assert facts.tensors == 0


# quantization


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([("float32", "float32", 0)], "float32 in 1 layer"),
        ([("int8", "int8", 8)] * 2, "int8 weights (per channel) and int8 activations in 2 layers"),
        ([("uint8", "uint8", 1)], "uint8 weights (per tensor) and uint8 activations in 1 layer"),
        ([("int8", "float32", 8)], "int8 weights (per channel), float32 activations (dynamic range) in 1 layer"),
        ([("float16", "float32", 0)], "float16 weights, float32 activations in 1 layer"),
        (
            [("int8", "int16", 8), ("int8", "int16", 8), ("float32", "float32", 0)],
            "int8 weights (per channel) and int16 activations in 2 layers; float32 in 1 layer",
        ),
        ([], None),
    ],
)
def test_a_scheme_in_words(layers: list[tuple[str, str, int]], says: str | None) -> None:
    assert quantization_text(Layer("CONV_2D", *layer) for layer in layers) == says


@pytest.mark.parametrize(
    ("recipe", "weights", "activations"),
    [("dynamic_wi8_afp32", "int8", "float32"), ("weight_only_wi8_afp32", "int8", "float32")],
)
def test_how_a_real_model_is_quantized(
    tiny_tflite: Path, tmp_path: Path, recipe: str, weights: str, activations: str
) -> None:
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    path = tmp_path / "q.tflite"
    work = quantizer.Quantizer(str(tiny_tflite))
    work.load_quantization_recipe(getattr(recipes, recipe)())
    work.quantize().export_model(str(path))
    layers = {layer.operator: layer for layer in inspect(path).layers}
    assert set(layers) == {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    convolution = layers["CONV_2D"]
    assert (convolution.weights, convolution.activations, convolution.scales) == (weights, activations, 8)
    assert "per channel" in next(n for n in describe(path, "q").notes if n.startswith("quantization:"))
    assert {layer.weights for layer in inspect(tiny_tflite).layers} == {"float32"}


# pickles and archives


def test_pickles_are_refused_by_content_and_by_name(tmp_path: Path) -> None:
    import pickle

    for name, content in (
        ("a.pt", pickle.dumps({"x": 1})),
        ("b.onnx", pickle.dumps([1], protocol=2)),
        ("c.pkl", b"x"),
        ("d.pth", b"PK\x03\x04"),
        ("e.CKPT", b"x"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInput, match="pickle"):
            describe(path, "m")


def test_nothing_in_the_zoo_can_load_a_pickle() -> None:
    """No import that unpickles, and numpy.load nowhere: what is not there cannot be reached by a hostile file."""
    forbidden = {
        "pickle",
        "cPickle",
        "_pickle",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "marshal",
        "torch",
        "tarfile",
    }
    # Reads a farm's own messages through a list of what they may hold (docs/decisions/0453); no file gets there.
    gate = ROOT / "pocketzoo" / "farm" / "gate.py"
    assert gate.is_file()
    for path in {*(ROOT / "zoo").rglob("*.py"), *(ROOT / "pocketzoo").rglob("*.py")} - {gate}:
        assert path.is_relative_to(gate.parent) or "pocketzoo.farm" not in path.read_text(encoding="utf-8"), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )  # fmt: skip
            assert not forbidden & {name.partition(".")[0] for name in names}, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("extractall", "unpack_archive", "allow_pickle", "read_pickle"), path
            if isinstance(node, ast.Call):
                assert "allow_pickle" not in {keyword.arg for keyword in node.keywords}, path


def test_an_archive_is_listed_and_never_unpacked(tmp_path: Path) -> None:
    """Ten megabytes of zeros in kilobytes, a name that climbs out: recognised, stored as it is, nothing written."""
    path = tmp_path / "in" / "bomb.pt2"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", b"\0" * 10_000_000)
        archive.writestr("m/../../../climbed", b"x")
    assert path.stat().st_size < 20_000
    entry = add_file(path, "bomb", store=(store := Store(tmp_path / "zoo")))
    assert store.file(entry.artifact.files[0]).read_bytes() == path.read_bytes()
    assert not list(tmp_path.rglob("climbed*"))


@pytest.mark.parametrize("wide", [False, True])
def test_an_archive_that_claims_a_huge_directory_is_refused_before_it_is_read(tmp_path: Path, wide: bool) -> None:
    path = tmp_path / "huge.pt2"
    end = struct.pack(
        "<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF if wide else LARGEST_DIRECTORY + 1, 0, 0
    )
    if wide:
        record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 40, 0)
        end = record + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1) + end
    path.write_bytes(end)
    with pytest.raises(BadInput, match="list of files"):
        format_of(path)


def test_verify_reads_what_was_read_when_it_was_added(tmp_path: Path) -> None:
    write_onnx(network := tmp_path / "m.onnx")
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(safetensors({"a": tensor(0, 4)}, b"1234"))
    store = Store(tmp_path / "zoo")
    for path, says in ((network, "6 operators, 126 weights"), (weights, "1 tensors, 4 weights")):
        findings = list(verify_entry(store, add_file(path, path.stem, store=store)))
        assert all(finding.ok for finding in findings)
        assert says in next(finding.says for finding in findings if finding.check == "loads")


# zoo add


def zoo(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPTS / "zoo"), *argv], capture_output=True, text=True, check=False)


def test_labels_travel_with_a_model(tiny_tflite: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    done = zoo(
        "add", str(tiny_tflite), "--name", "tiny", "--file", str(labels), "--task", "image-classification",
        "--dataset", "imagenet-1k/val", "--published", "top1=70.9", "--samples", "50000",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    artifact = Store().get("tiny").artifact
    assert [file.name for file in artifact.files] == ["tiny.tflite", "labels.txt"]
    assert (artifact.task, artifact.dataset) == ("image-classification", "imagenet-1k")
    (accuracy,) = artifact.accuracy
    assert (accuracy.value, accuracy.split, accuracy.samples, accuracy.provenance) == (70.9, "val", 50_000, "published")
    assert zoo("pull", "tiny", "--to", str(tmp_path / "out")).returncode == 0
    assert (tmp_path / "out" / "labels.txt").read_text() == "cat\ndog\n"


def test_what_cannot_travel_with_a_model_is_refused(tiny_tflite: Path, tmp_path: Path) -> None:
    for name, content, says in (
        (".hidden", b"x", "cannot be called"),
        ("a b.txt", b"x", "cannot be called"),
        ("TINY.tflite", b"x", "would be called"),
        ("labels.pkl", b"x", "pickle"),
        ("labels.txt", b"\x80\x04x", "pickle"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInput, match=says):
            add_file(tiny_tflite, "tiny", beside=[path])
    with pytest.raises(BadInput, match="says on what"):
        add_file(tiny_tflite, "tiny", published=["top1=70"])
    for text in ("top1", "top1=x", "top1=nan", "top1=101", "=3", "top1=inf"):
        with pytest.raises(BadInput, match="not a published accuracy"):
            add_file(tiny_tflite, "tiny", published=[text], dataset="d/s", samples=1)


def test_weights_cannot_be_measured_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors({"a": tensor(0, 4)}, b"1234"))
    assert zoo("add", str(path), "--name", "weights").returncode == 0
    done = subprocess.run(
        [str(SCRIPTS / "harness"), "run", "--device", "local", "--model", "weights"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "weights and no program" in done.stderr
