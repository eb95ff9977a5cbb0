"""Manifests and measurements: written and read again, refused when they do not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from tests.records import measurement_for
from zoo.artifact import Accuracy, Artifact, FileRecord, Parent, Quantization, TensorSpec, encode
from zoo.decode import LARGEST, decode_artifact, decode_measurement

ARTIFACT = Artifact(
    name="tiny-model-quant",
    format="tflite",
    files=(FileRecord(name="tiny-model-quant.tflite", sha256="c" * 64, size=100),),
    inputs=(
        TensorSpec(
            name="in", shape=(1, 8, 8, 3), dtype="int8", quantization=Quantization(scales=(0.5,), zero_points=(-1,))
        ),
    ),
    accuracy=(Accuracy(metric="top1", value=90.0, dataset="d", split="s", samples=20, measured_on="c" * 64),),
    parent=Parent(digest="d" * 64, name="tiny-model", relation="quantized"),
    macs=5,
    versions={"b": "2", "a": "1"},
)


def test_records_survive_being_written_and_equal_records_are_equal_bytes() -> None:
    assert decode_artifact(encode(ARTIFACT), "here") == ARTIFACT
    measurement = measurement_for(ARTIFACT)
    assert decode_measurement(encode(measurement), "here") == measurement
    reordered = json.dumps(dict(reversed(json.loads(encode(ARTIFACT)).items()))).encode()
    assert encode(decode_artifact(reordered, "here")) == encode(ARTIFACT)


def test_whole_numbers_in_fractional_fields_are_written_the_way_they_are_read() -> None:
    whole = Accuracy(metric="top1", value=90, dataset="d", split="s", samples=20, measured_on="c" * 64)
    assert encode(whole) == encode(ARTIFACT.accuracy[0])


def changed(path: list[Any], value: Any) -> bytes:
    document = json.loads(encode(ARTIFACT))
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["name"], "../../etc/passwd"),
        (["name"], "Name"),
        (["files"], []),
        (["files", 0, "name"], "../evil.tflite"),
        (["files", 0, "name"], "/etc/passwd"),
        (["files", 0, "name"], ".hidden"),
        (["files", 0, "name"], "a\\b"),
        (["files", 0, "name"], "a\n"),
        (["files", 0, "name"], "a\0"),
        (["files", 0, "name"], "x" * 201),
        (["files", 0, "sha256"], "c" * 63),
        (["files", 0, "sha256"], "C" * 64),
        (["files", 0, "sha256"], "c" * 64 + "\n"),
        (["files", 0, "size"], -1),
        (["files", 0, "size"], "100"),
        (["format"], "exe"),
        (["unheard_of"], 1),
        (["parent", "digest"], "../x"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_with_its_place(path: list[Any], value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        decode_artifact(changed(path, value), "remote/manifest.json")
    assert caught.value.where == "remote/manifest.json"


def test_a_newer_schema_says_which_can_be_read() -> None:
    with pytest.raises(BadInput, match="schema 7; this pocketzoo reads schema 1 to 2") as caught:
        decode_artifact(changed(["schema"], 7), "here")
    assert caught.value.hint == "pip install --upgrade pocketzoo"


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    with pytest.raises(BadInput):
        decode_artifact(data, "here")


def test_deep_nesting_and_great_size_are_refused() -> None:
    with pytest.raises(BadInput):
        decode_artifact(b"[" * 100_000, "here")
    with pytest.raises(BadInput, match="at most"):
        decode_artifact(b" " * (LARGEST + 1), "here")
