"""Two entries against each other: what is told, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_bytes
from tests.records import measurement_for, repeat_of
from tests.zoo.candidates import top1
from zoo.artifact import Artifact, FileRecord, Parent, Quantization, TensorSpec
from zoo.backends.directory import open_directory
from zoo.commands.diff import diff as diff_command
from zoo.diff import Inside, accuracy_change, diff
from zoo.diff_text import diff_text
from zoo.measurement import Measurement
from zoo.proportions import difference, wilson
from zoo.push import push
from zoo.remotes import add_remote
from zoo.stats import summarise
from zoo.store import Entry, Store


def artifact(name: str, size: int, **fields: Any) -> Artifact:
    record = FileRecord(name=f"{name}.tflite", sha256=sha256_bytes(name.encode()), size=size)
    return Artifact(name=name, format="tflite", files=(record,), **fields)


def measured(of: Artifact, *medians_us: int, **fields: Any) -> Measurement:
    repeats = tuple(repeat_of([median * 1000 + step for step in range(-20, 21)]) for median in medians_us)
    base = measurement_for(of, key=fields.pop("key", "1" * 64))
    return msgspec.structs.replace(base, repeats=repeats, summary=summarise(repeats), **fields)


A = artifact("net", 4_000_000, macs=569_000_000, operators={"CONV_2D": 15, "SOFTMAX": 1})
B = artifact(
    "net-quant",
    1_000_000,
    macs=569_000_000,
    operators={"CONV_2D": 15, "QUANTIZE": 2},
    parent=Parent(digest=A.digest, name="net", relation="quantized"),
    inputs=(
        TensorSpec(
            name="x", shape=(1, -1, 3), dtype="uint8", quantization=Quantization(scales=(0.5,), zero_points=(128,))
        ),
    ),
)


def entry(of: Artifact, *measurements: Measurement) -> Entry:
    return Entry(of, ("latest",), measurements)


def test_files_operators_quantization_and_lineage() -> None:
    found = diff(entry(A), entry(B), inside_a=Inside("float32 in 15 layers"), inside_b=None)
    facts = {fact.name: fact for fact in found.facts}
    assert facts["size"].says == "-75.0%"
    assert not facts["MACs"].changed
    assert facts["inputs"].b == "1x?x3 uint8 (scale 0.5, zero point 128)"
    assert (facts["quantization"].a, facts["quantization"].b) == ("float32 in 15 layers", "file not here")
    assert found.operators == (("QUANTIZE", 0, 2), ("SOFTMAX", 1, 0))
    assert found.lineage == "B was made from A: quantized"
    assert diff(entry(B), entry(A)).lineage == "A was made from B: quantized"
    assert diff(entry(A), entry(A)).lineage == "the same file"
    text = diff_text(found, "net", "net-quant")
    assert "operator SOFTMAX" in text and "MACs" not in text
    assert "MACs" in diff_text(found, "net", "net-quant", every=True)


def test_latencies_are_compared_only_where_they_were_measured_alike() -> None:
    slow = measured(A, 1000, 1001, 1002, 1003, 1004)
    fast = measured(B, 800, 801, 802, 803, 804, key="2" * 64)
    other = measured(B, 700, 701, 702, 703, 704, key="3" * 64, threads_requested=2)
    found = diff(entry(A, slow), entry(B, fast, other))
    (change,) = found.latency
    assert change.comparison.outcome == "faster"
    assert change.comparison.ratio == pytest.approx(0.8, abs=0.01)
    assert found.unpaired == (
        "only B was measured on local (ffffffffffff), x86_64, 2 threads, 1+3 runs, python sha256:aaaaaaaaaaaa",
    )
    assert diff(entry(A, slow), entry(B, fast), devices=("kirin970",)).latency == ()


@pytest.mark.parametrize(
    "change",
    [
        {"abi": "armv7"},
        {"affinity": "0"},
        {"options": (("batch", "8"),)},
        {"runs": 9},
        {"warmup": 9},
        {"provenance": "emulated"},
    ],
)
def test_what_was_measured_otherwise_is_no_partner(change: dict[str, Any]) -> None:
    found = diff(entry(A, measured(A, 1000)), entry(B, measured(B, 900, key="2" * 64, **change)))
    assert found.latency == ()
    assert len(found.unpaired) == 2


def test_the_newest_valid_one_speaks_and_a_doubtful_one_is_marked() -> None:
    valid = measured(A, 1000, time="2026-01-01")
    contended = msgspec.structs.replace(
        measured(A, 2000, time="2026-02-01"), verdict=msgspec.structs.replace(valid.verdict, name="contended")
    )
    new = measured(B, 1000, key="2" * 64)
    (change,) = diff(entry(A, valid, contended), entry(B, new)).latency
    assert change.comparison.first is valid
    assert change.marks == ()
    (change,) = diff(entry(A, contended), entry(B, new)).latency
    assert change.marks == ("A contended",)


def test_accuracies_say_what_they_can_show() -> None:
    def change(a: float, b: float, samples: int, **fields: Any) -> Any:
        metric = fields.get("metric", "top1")
        both = (top1(a, A.digest, samples=samples, **fields), top1(b, B.digest, samples=samples, **fields))
        return accuracy_change(metric, "imagenet/val", *both)

    large = change(71.0, 69.5, 50_000)
    assert large.significant is True
    assert large.low < -1.5 < large.high < 0
    small = change(90.0, 80.0, 20)
    assert small.significant is False
    assert "n = 20 shows differences of about" in small.says
    assert change(71.0, 60.0, 50_000, metric="mAP").significant is None
    assert change(71.0, 60.0, 50_000, provenance="published").significant is None
    assert accuracy_change("top1", "d/s", None, top1(1.0, B.digest)).says == "A has none on these data"


def test_wilson_and_newcombe_against_their_papers() -> None:
    """Newcombe 1998a, table I: 81 of 263 gives 0.2553 to 0.3662; 1998b, table II, method 10: 56/70 less 48/80."""
    assert wilson(81, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(0, 20) == (pytest.approx(0.0), pytest.approx(0.1611, abs=5e-5))
    change, low, high = difference(48, 80, 56, 70)
    assert (change, low, high) == (
        pytest.approx(0.2),
        pytest.approx(0.0524, abs=5e-5),
        pytest.approx(0.3339, abs=5e-5),
    )


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_the_interval_holds_the_difference_and_turns_with_the_sides(a: int, b: int, data: st.DataObject) -> None:
    right_a, right_b = data.draw(st.integers(0, a)), data.draw(st.integers(0, b))
    change, low, high = difference(right_a, a, right_b, b)
    assert -1 - 1e-9 <= low <= change + 1e-9 and change <= high + 1e-9 <= 1 + 1e-8
    back = difference(right_b, b, right_a, a)
    assert back == (pytest.approx(-change), pytest.approx(-high), pytest.approx(-low))


def test_the_command_reads_a_remote_without_fetching_its_file(tmp_path: Path, tiny_tflite: Path) -> None:
    data = tiny_tflite.read_bytes()
    record = FileRecord(name="tiny.tflite", sha256=sha256_bytes(data), size=len(data))
    tiny = Artifact(name="tiny", format="tflite", files=(record,))
    maker = Store(tmp_path / "maker")
    made = maker.add(tiny, {"tiny.tflite": tiny_tflite})
    maker.attach(measured(tiny, 500, 501, 502, 503, 504))
    (tmp_path / "share").mkdir()
    push(maker, open_directory(tmp_path / "share"), maker.get("tiny"), tags=("latest",))
    add_remote("share", str(tmp_path / "share"))
    (tmp_path / "b").write_bytes(b"b" * 100)
    other = Artifact(
        name="b", format="tflite", files=(FileRecord(name="b.tflite", sha256=sha256_bytes(b"b" * 100), size=100),)
    )
    Store().add(other, {"b.tflite": tmp_path / "b"})
    Store().attach(measured(other, 600, 601, 602, 603, 604, key="2" * 64))
    done = CliRunner().invoke(diff_command, ("share/tiny", "b", "--json"))
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["a"]["digest"] == f"sha256:{made.artifact.digest}"
    (latency,) = document["latency"]
    assert latency["outcome"] == "slower"
    assert Store().names() == ["b"]
    again = CliRunner().invoke(diff_command, ("tiny", "b", "--offline"))
    assert isinstance(again.exception, BadInput)
    text = CliRunner().invoke(diff_command, ("tiny", "b")).stdout
    assert text.startswith("A  share/tiny\nB  b\n")
    assert "slower" in text
