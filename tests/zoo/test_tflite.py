"""Model files are untrusted: every byte string is read or refused, and nothing else happens."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pocketzoo.errors import BadInput
from zoo.foreign import describe
from zoo.loadcheck import check_loads
from zoo.tflite import inspect


def test_a_real_model_is_described(tiny_tflite: Path) -> None:
    facts = inspect(tiny_tflite)
    assert [(t.shape, t.dtype, t.quantization) for t in facts.inputs] == [((1, 32, 32, 3), "float32", None)]
    assert [(t.shape, t.dtype) for t in facts.outputs] == [((1, 10), "float32")]
    counts = facts.operator_counts
    assert (counts["CONV_2D"], counts["DEPTHWISE_CONV_2D"], counts["FULLY_CONNECTED"]) == (1, 1, 1)
    assert facts.custom_operators == ()
    assert check_loads(tiny_tflite).startswith("ai-edge-litert")


def test_foreign_model_becomes_an_artifact_whose_digest_is_the_files(tiny_tflite: Path) -> None:
    artifact = describe(tiny_tflite, "tiny-model", licence="MIT")
    assert artifact.files[0].name == "tiny-model.tflite"
    assert artifact.size_bytes == tiny_tflite.stat().st_size
    assert artifact.licence == "MIT"


def test_every_truncation_is_refused(tiny_tflite: Path, tmp_path: Path) -> None:
    data = tiny_tflite.read_bytes()
    cut = tmp_path / "cut.tflite"
    # The last bytes of a flatbuffer can be padding: cutting them loses nothing. Half a kilobyte is weights.
    for length in range(0, len(data) - 512, max(1, len(data) // 60)):
        cut.write_bytes(data[:length])
        with pytest.raises(BadInput):
            describe(cut, "cut") if length > len(data) - 600 else inspect(cut)


def test_damaged_models_are_read_or_refused_and_never_anything_else(tiny_tflite: Path, tmp_path: Path) -> None:
    data = tiny_tflite.read_bytes()
    dice = random.Random(0)
    path = tmp_path / "damaged.tflite"
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(dice.choice([1, 4, 32])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            inspect(path)
        except BadInput as error:
            refused += 1
            assert error.where == str(path)
    assert refused


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"\0" * 100, b"PK\x03\x04" + b"x" * 100, b"\x1c\0\0\0TFL3" + b"\xff" * 64]
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        inspect(path)


def test_a_custom_operator_is_refused_by_its_name(tiny_tflite: Path, tmp_path: Path) -> None:
    path = tmp_path / "custom.tflite"
    path.write_bytes(with_custom_operator(tiny_tflite.read_bytes(), "SecretSauce"))
    assert inspect(path).custom_operators == ("SecretSauce",)
    with pytest.raises(BadInput, match="custom operators: SecretSauce"):
        describe(path, "custom")


def test_other_endings_and_missing_files(tmp_path: Path) -> None:
    other = tmp_path / "model.onnx"
    other.write_bytes(b"x")
    for path in (other, tmp_path / "missing.tflite", tmp_path):
        with pytest.raises(BadInput) as caught:
            describe(path, "model")
        assert caught.value.where == str(path)


def with_custom_operator(data: bytes, name: str) -> bytes:
    """The same model, its first operator turned into a custom one."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = name
    code.version = 1
    model.operatorCodes.append(code)
    operator = model.subgraphs[0].operators[0]
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.builtinOptionsType = schema.BuiltinOptions.NONE
    operator.builtinOptions = None
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
