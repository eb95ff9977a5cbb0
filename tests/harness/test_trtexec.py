"""trtexec: logs of four generations, exported times, argv, and a real process of a stand-in."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.job import Cell, Protocol
from harness.runner import RunnerFailed
from harness.runners.prepared import checked_options
from harness.runners.trtexec import SETTINGS, Trtexec
from harness.runners.trtexec_output import parse_log, parse_times
from pocketzoo.errors import BadInput
from tests.harness.cells import cell_of, completed
from tests.records import measurement_for
from zoo.artifact import Artifact, FileRecord
from zoo.timings import images_per_s

CORPUS = Path(__file__).parents[1] / "corpus" / "trtexec"
DIGEST = "5" * 64
RUNNER = Trtexec(path="/usr/bin/trtexec", digest=DIGEST, version="10.9.0 build 34", gpu="Tesla V100-SXM2-16GB")
ASKED = Protocol(warmup=1, runs=2, repeats=1)


def log(name: str) -> str:
    return (CORPUS / f"{name}.log").read_text()


def cell(**fields: Any) -> Cell:
    known = {"runner": "trtexec", "runner_sha256": DIGEST, "abi": "cuda", "protocol": ASKED, "format": "onnx"}
    return cell_of(**{**known, **fields})


def test_a_log_with_three_percentiles() -> None:
    found = parse_log(log("v100900-resnet50"))
    assert (found.version, found.throughput_qps) == ("10.9.0 build 34", 691.435)
    assert found.latency is not None
    assert (found.latency.median_ms, found.latency.max_ms) == (1.43823, 3.047)
    assert found.latency.percentiles_ms == {"90": 1.45624, "95": 1.71796, "99": 2.61597}
    assert found.compute is not None
    assert found.compute.mean_ms == 1.44357
    assert found.warnings == ("GPU compute time is unstable, with coefficient of variance = 13.1794%.",)


def test_older_logs() -> None:
    eight = parse_log(log("v8400-mnist"))
    assert (eight.version, eight.throughput_qps) == ("8.4.0", 41087.7)
    assert eight.compute is not None
    assert eight.compute.percentiles_ms == {"99": 0.393188}
    seven = parse_log(log("v7-host-latency"))
    assert (seven.version, seven.throughput_qps) == (None, 0)
    assert seven.latency is not None
    assert (seven.latency.min_ms, seven.latency.median_ms) == (1.64058, 1.65601)


@pytest.mark.parametrize("name", ["v100300-failed", "v8601-failed"])
def test_a_failure_gives_its_errors(name: str) -> None:
    with pytest.raises(RunnerFailed, match="trtexec failed") as caught:
        parse_log(log(name))
    assert caught.value.detail[-1].endswith("set up failed")


def test_a_log_that_ends_early_has_not_passed() -> None:
    with pytest.raises(RunnerFailed, match="without saying that it passed"):
        parse_log(log("v100900-resnet50")[:2000])


def test_exported_times_of_both_generations() -> None:
    text = (CORPUS / "times.json").read_text()
    assert parse_times(text, span="latency") == (1_000_000, 900_000, 910_000)
    assert parse_times(text, span="compute") == (800_000, 750_000, 760_000)
    assert parse_times((CORPUS / "times-v7.json").read_text(), span="latency") == (1_650_000,)
    with pytest.raises(RunnerFailed, match="cut off"):
        parse_times(text[:300], span="latency")
    with pytest.raises(RunnerFailed, match="cannot be"):
        parse_times(text.replace('"latencyMs" : 1 ', '"latencyMs" : -1 '), span="latency")


@given(st.text(max_size=300))
def test_whatever_is_printed_gives_a_log_or_a_reason(noise: str) -> None:
    for text in (noise, log("v8400-mnist")[: len(noise) * 9] + noise, "&&&& PASSED TensorRT.trtexec\n" + noise):
        with contextlib.suppress(RunnerFailed):
            parse_log(text)
        with contextlib.suppress(RunnerFailed):
            parse_times(text, span="compute")


def test_the_command_counts_queries_and_not_milliseconds() -> None:
    argv = RUNNER.argv(cell(), "/m", {DIGEST: "/usr/bin/trtexec"})
    assert argv[4:] == [
        "/usr/bin/trtexec", "--onnx=/m", "--noTF32", "--warmUp=0", "--duration=0", "--iterations=3", "--avgRuns=2",
    ]  # fmt: skip
    options = (("graph", "on"), ("precision", "best"), ("shapes", "input:8x3x224x224"))
    argv = RUNNER.argv(cell(options=options), "/m", {DIGEST: "t"})
    assert argv[6:9] == ["--best", "--shapes=input:8x3x224x224", "--useCudaGraph"]
    engine = RUNNER.argv(cell(format="tensorrt", options=(("precision", "fp16"),)), "/m", {DIGEST: "t"})
    assert engine[5:7] == ["--loadEngine=/m", "--warmUp=0"]


def test_a_repeat_leaves_out_the_warm_up() -> None:
    text = log("v100900-resnet50") + "\n@@ exported times\n" + (CORPUS / "times.json").read_text()
    repeat = RUNNER.parse(cell(), completed(text))
    assert (repeat.first_ns, repeat.samples_ns) == (1_000_000, (900_000, 910_000))
    assert RUNNER.parse(cell(options=(("span", "compute"),)), completed(text)).samples_ns == (750_000, 760_000)
    with pytest.raises(RunnerFailed, match="3 queries were timed instead of 4"):
        RUNNER.parse(cell(protocol=Protocol(warmup=1, runs=3)), completed(text))
    with pytest.raises(RunnerFailed, match="exported no times"):
        RUNNER.parse(cell(), completed(log("v100900-resnet50")))
    other = Trtexec(path="t", digest=DIGEST, version="8.6.1", gpu="g")
    with pytest.raises(RunnerFailed, match=r"not 8\.6\.1"):
        other.parse(cell(), completed(text))


def test_the_export_comes_back_through_a_real_shell(tmp_path: Path) -> None:
    tool = tmp_path / "trtexec"
    tool.write_text(
        f'#!/bin/sh\nfor a in "$@"; do case $a in --exportTimes=*) cp {CORPUS}/times.json "${{a#*=}}";; esac; done\n'
        f"cat {CORPUS}/v100900-resnet50.log >&2\n"
    )
    tool.chmod(0o755)
    argv = RUNNER.argv(cell(), "model file", {DIGEST: str(tool)})
    done = subprocess.run(argv, capture_output=True, check=False)
    assert RUNNER.parse(cell(), completed(done.stdout, exit_code=done.returncode)).samples_ns == (900_000, 910_000)


def test_settings() -> None:
    kept = checked_options(
        "trtexec", SETTINGS, (("batch", "8"), ("precision", "fp32"), ("shapes", "input:8x3x224x224"))
    )
    assert kept == (("batch", "8"), ("shapes", "input:8x3x224x224"))
    for name, value in (("shapes", "input:8;rm"), ("batch", "0"), ("precision", "fp8")):
        with pytest.raises(BadInput, match=f"{name} does not take"):
            checked_options("trtexec", SETTINGS, ((name, value),))


def test_images_a_second_count_the_batch() -> None:
    artifact = Artifact(name="m", format="onnx", files=(FileRecord(name="m.onnx", sha256="c" * 64, size=1),))
    measured = measurement_for(artifact, median_ms=4.0)
    assert images_per_s(measured) is None
    record = msgspec.structs.replace(measured.runner, name="trtexec")
    measured = msgspec.structs.replace(measured, runner=record, options=(("batch", "8"),))
    assert images_per_s(measured) == 2000
