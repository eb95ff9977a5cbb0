"""Outputs of a device against those of the host: what agrees, what differs, what cannot be checked."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from devices.transport import Completed
from harness.finish import check_outputs
from harness.outputs import Output, Outputs, compare, reported
from harness.reference import AGENT, Kept
from pocketzoo.files import sha256_bytes
from tests.harness.cells import completed
from tests.records import repeat_of

HOST = np.random.default_rng(0).normal(0, 10, (1, 1000))


def outputs(values: np.ndarray[Any, Any], **fields: Any) -> Outputs:
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    known = {
        "name": "out",
        "dtype": str(values.dtype),
        "shape": tuple(values.shape),
        "scale": 0.1,
        "zero_point": 0,
        "sha256": sha256_bytes(raw),
        "width": values.shape[-1],
        "values": base64.b64encode(raw).decode(),
    }
    output = Output(**{**known, **fields})
    return Outputs(input_sha256="1" * 64, output_sha256=sha256_bytes(raw), outputs=(output,))


def int8(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.clip(np.round(values), -128, 127).astype(np.int8)


def test_the_same_bits_agree() -> None:
    check = compare(outputs(int8(HOST)), outputs(int8(HOST)))
    assert (check.outcome, check.worst_difference, check.top1_agrees) == ("agrees", 0.0, True)


def test_rounding_of_int8_agrees_and_another_answer_differs() -> None:
    rounded = compare(outputs(int8(HOST + 0.6)), outputs(int8(HOST)))
    assert rounded.outcome == "agrees"
    assert rounded.tolerance == pytest.approx(0.25 * int8(HOST).std())
    other = compare(outputs(int8(np.roll(HOST, 1))), outputs(int8(HOST)))
    assert (other.outcome, other.top1_agrees) == ("differs", False)
    assert "steps from the host's" in other.says
    half = compare(outputs(int8(HOST / 2)), outputs(int8(HOST)))
    assert half.outcome == "differs"


def test_float_sums_in_another_order_agree_and_half_precision_of_a_deep_network_does_not() -> None:
    host = HOST.astype(np.float32)
    assert compare(outputs(host * np.float32(1 + 1e-5)), outputs(host)).outcome == "agrees"
    far = compare(outputs(host * np.float32(1.01)), outputs(host))
    assert far.outcome == "differs"
    assert far.worst_difference == pytest.approx(0.01, rel=0.1)
    assert compare(outputs(np.full_like(host, np.nan)), outputs(host)).outcome == "differs"


def test_float_outputs_of_a_network_that_rounds_inside_are_judged_as_rounded() -> None:
    host = np.linspace(-3, 5, 50, dtype=np.float32).reshape(1, 50)
    inside = msgspec.structs.replace(outputs(host), rounds=True)
    off = host + np.float32(0.05) * np.where(np.arange(50) % 2, 1, -1).astype(np.float32)
    assert compare(outputs(off), outputs(host)).outcome == "differs"
    rounded = compare(outputs(off), inside)
    assert rounded.outcome == "agrees" and "rounds to integers inside" in rounded.says
    assert compare(outputs(host[:, ::-1].copy()), inside).outcome == "differs"
    assert compare(outputs(np.full_like(host, np.nan)), inside).outcome == "differs"
    claimed = msgspec.structs.replace(outputs(off), rounds=True)
    assert compare(claimed, outputs(host)).outcome == "differs"  # what a device says of itself decides nothing


def test_whole_numbers_wider_than_a_byte_must_be_equal() -> None:
    host = np.arange(10, dtype=np.int32).reshape(1, 10)
    assert compare(outputs(host + 1), outputs(host)).outcome == "differs"


def test_another_shape_or_input_is_told() -> None:
    host = outputs(int8(HOST))
    assert compare(outputs(int8(HOST[:, :10])), host).outcome == "differs"
    strange = msgspec.structs.replace(outputs(int8(HOST + 5)), input_sha256="2" * 64)
    assert compare(strange, host).outcome == "not checked"


def test_many_rows_tell_the_share_that_agrees() -> None:
    host = np.random.default_rng(1).normal(0, 1, (50, 4)).astype(np.float32)
    device = host.copy()
    device[:5] = device[:5, ::-1]
    check = compare(outputs(device), outputs(host))
    assert check.top1_agrees is None
    assert "of 50 rows" in check.says


@pytest.mark.parametrize("noise", [b"", b"\xff\xfe", b'{"pocketzoo_agent": 1', b'{"pocketzoo_agent": 1, "outputs": 3}'])
def test_what_is_no_answer_gives_no_outputs(noise: bytes) -> None:
    assert reported(completed(noise)) is None


def agent(model: Path, *options: str) -> Completed:
    argv = [sys.executable, str(AGENT), "--model", str(model), "--warmup", "0", "--runs", "1", *options]
    return completed(subprocess.run(argv, capture_output=True, check=True).stdout)


def test_the_real_agent_prints_what_came_out_and_the_host_computes_the_same(tiny_tflite: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    device = reported(agent(tiny_tflite, "--threads", "2"))
    assert device is not None
    host = kept.host(tiny_tflite, "a" * 64, 0)
    assert isinstance(host, Outputs)
    assert compare(device, host).outcome == "agrees"
    other = reported(agent(tiny_tflite, "--seed", "1"))
    assert other is not None
    assert other.input_sha256 != device.input_sha256
    assert compare(msgspec.structs.replace(other, input_sha256=device.input_sha256), host).outcome == "differs"
    kept.put(device)
    assert kept.get(device.output_sha256) == device
    # The second time it comes from the folder: the model need not even be there.
    assert Kept(tmp_path).host(tmp_path / "gone.tflite", "a" * 64, 0) == host


def test_a_model_the_host_cannot_run_is_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"nothing" * 100)
    assert "cannot run it" in str(Kept(tmp_path).host(broken, "b" * 64, 0))


def test_every_repeat_is_checked_and_the_worst_counts(tmp_path: Path) -> None:
    kept, host = Kept(tmp_path), outputs(int8(HOST))
    wrong = outputs(int8(-HOST))
    for one in (host, wrong):
        kept.put(one)
    good, bad = (repeat_of([1], output_sha256=one.output_sha256) for one in (host, wrong))
    assert check_outputs([good, good], kept, lambda: host, runner="python").outcome == "agrees"
    assert check_outputs([good, bad], kept, lambda: host, runner="python").outcome == "differs"
    silent = check_outputs([repeat_of([1])], kept, lambda: host, runner="benchmark_model")
    assert silent.says == "the benchmark_model runner's tool prints no outputs"
    gone = repeat_of([1], output_sha256="7" * 64)
    assert check_outputs([gone], kept, lambda: host, runner="python").outcome == "not checked"
    assert check_outputs([good], kept, lambda: "no runtime", runner="python").says == "no runtime"
