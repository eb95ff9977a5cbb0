"""The benchmark_model runner: exact flags, refusals, and real processes through the local transport."""

from __future__ import annotations

import shlex
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices import elf
from devices.lab import benchmark_model as stand_in
from devices.session import Session, open_session
from devices.spec import DeviceSpec
from harness.execute import Bench, prepare
from harness.job import Cell, Protocol
from harness.measuring import Device, Outcome, Settings
from harness.plan import make_plan
from harness.progress import Silent
from harness.reference import Kept
from harness.registry import Registry
from harness.results import Results
from harness.runner import RunnerFailed
from harness.runners import benchmark_model
from harness.runners.benchmark_model import BenchmarkModel
from harness.runners.prepared import checked_options, parse_options
from harness.schedule import Task
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from tests.harness.cells import cell_of, completed
from tests.records import FACTS
from tests.records import RUNNER as RECORD
from zoo.artifact import Artifact, FileRecord

CORPUS = Path(__file__).parents[1] / "corpus" / "benchmark_model"
DIGEST = "7" * 64
RUNNER = BenchmarkModel(abi="x86_64", digest=DIGEST, tool="tflite", flags=frozenset({"num_runs", "use_xnnpack"}))
ASKED = Protocol(warmup=12, runs=24, repeats=1)
SPEC = DeviceSpec.model_validate({"name": "local", "transport": {"kind": "local"}, "runner": "benchmark_model"})


def output(name: str = "tflite-percentiles") -> str:
    return (CORPUS / f"{name}.txt").read_text()


def cell(**fields: Any) -> Cell:
    return cell_of(**{"runner": "benchmark_model", "runner_sha256": DIGEST, "protocol": ASKED, **fields})


def test_the_command_asks_for_exactly_so_many_runs() -> None:
    argv = RUNNER.argv(cell(threads=2), "/data/a model.tflite", {DIGEST: "/data/files/tool"})
    assert argv[:2] == ["sh", "-c"]
    assert argv[4:] == [
        "/data/files/tool", "--graph=/data/a model.tflite", "--num_threads=2", "--num_runs=24", "--min_secs=0",
        "--warmup_runs=12", "--warmup_min_secs=0", "--max_secs=1000000", "--use_xnnpack=true",
    ]  # fmt: skip


def test_pinning_is_a_bare_hexadecimal_mask() -> None:
    argv = RUNNER.argv(cell(cpus=(4, 5, 6, 7)), "m", {DIGEST: "tool"})
    assert argv[:3] == ["taskset", "f0", "sh"]


def test_a_build_whose_flags_are_unknown_gets_none_that_it_may_not_have() -> None:
    old = BenchmarkModel(abi="x86_64", digest=DIGEST, tool="tflite")
    assert not any("xnnpack" in part for part in old.argv(cell(), "m", {DIGEST: "tool"}))
    assert "--use_xnnpack=false" in old.argv(cell(options=(("xnnpack", "off"),)), "m", {DIGEST: "tool"})
    litert = BenchmarkModel(abi="x86_64", digest=DIGEST, tool="litert", flags=frozenset({"num_runs"}))
    with pytest.raises(RunnerFailed, match="no --use_xnnpack"):
        litert.argv(cell(options=(("xnnpack", "on"),)), "m", {DIGEST: "tool"})


def test_a_repeat_holds_what_the_tool_reported() -> None:
    repeat = RUNNER.parse(cell(), completed(b"", stderr=output().encode()))
    assert repeat.samples_ns == ()
    assert repeat.reported is not None
    assert (repeat.reported.count, repeat.reported.median_ns, repeat.first_ns) == (24, 42_405_000, 72_635_000)
    assert (repeat.threads_actual, repeat.delegate) == (None, "xnnpack")


@pytest.mark.parametrize(
    ("fields", "name", "says"),
    [
        ({"protocol": Protocol(warmup=12, runs=25, repeats=1)}, "tflite-percentiles", "12 and 24 ran"),
        ({"protocol": Protocol(warmup=1, runs=24, repeats=1)}, "tflite-percentiles", "12 and 24 ran"),
        ({"cpus": (0,)}, "tflite-percentiles", "where nobody can tell"),
        ({"cpus": (0,), "protocol": Protocol(warmup=9, runs=1061)}, "tflite-noise", "on CPUs 4-7, not on 0"),
        ({"protocol": Protocol(warmup=6, runs=50)}, "tflite-unconsumed", "does not know --allow_fp16, --use_xnn"),
        ({"protocol": Protocol(warmup=6, runs=50)}, "litert-block", "LiteRT benchmark_model answered"),
        ({"options": (("xnnpack", "off"),)}, "tflite-percentiles", "the tool used it: xnnpack"),
        ({"options": (("xnnpack", "on"),), "protocol": Protocol(warmup=15, runs=50)}, "tflite-2020-plain", "not say"),
        ({}, "tflite-cut-off", "cut off"),
        ({}, "tflite-failed", "without figures"),
    ],
)
def test_a_run_that_was_not_asked_for_is_refused(fields: dict[str, Any], name: str, says: str) -> None:
    with pytest.raises(RunnerFailed, match=says):
        RUNNER.parse(cell(**fields), completed(output(name)))


def test_a_crash_after_the_figures_is_a_failure() -> None:
    with pytest.raises(RunnerFailed, match="signal 11"):
        RUNNER.parse(cell(), completed(output(), exit_code=139))


def test_fewer_cpus_than_threads_are_told() -> None:
    text = "Cpus_allowed_list:\t0-1\n" + output()
    assert RUNNER.parse(cell(threads=4), completed(text)).threads_actual == 2
    assert RUNNER.parse(cell(threads=2), completed(text)).threads_actual is None


def test_settings_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(BadInput, match="no setting 'precision'") as caught:
        checked_options("benchmark_model", benchmark_model.SETTINGS, (("precision", "fp16"),))
    assert caught.value.detail == ("xnnpack=on|off",)
    with pytest.raises(BadInput, match="does not take 'maybe'"):
        checked_options("benchmark_model", benchmark_model.SETTINGS, (("xnnpack", "maybe"),))
    with pytest.raises(BadInput, match="given twice"):
        parse_options(["a=1", "a=2"])
    for text in ("a", "a=", "=b"):
        with pytest.raises(BadInput, match="not a setting"):
            parse_options([text])


def test_options_decide_the_key_and_none_keep_the_old_one() -> None:
    assert cell(options=(("xnnpack", "on"),)).key != cell().key
    assert cell(format="onnx").key == cell().key


# on this machine, as real processes


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab's stand-in as benchmark_model in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "benchmark_model"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(stand_in.__file__)} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return path


def session() -> Session:
    return open_session(SPEC)


def test_without_a_binary_the_command_that_gives_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with session() as open_, pytest.raises(BadInput, match="none is registered for x86_64") as caught:
        benchmark_model.prepare(open_, open_.facts())
    assert caught.value.hint == "harness runner add PATH --abi x86_64"


def test_a_registered_program_that_is_another_one_is_refused(tmp_path: Path, tool: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(elf.program("x86_64"))
    Registry().add(other, abi="x86_64")
    with session() as open_, pytest.raises(RunnerFailed, match="does not answer as benchmark_model"):
        benchmark_model.prepare(open_, open_.facts())


def test_a_cell_measured_by_the_tool_on_the_device(tool: Path, tiny_tflite: Path, tmp_path: Path) -> None:
    digest = sha256_file(tiny_tflite)
    artifact = Artifact(name="tiny", format="tflite", files=(FileRecord(name="t.tflite", sha256=digest, size=1),))
    with session() as open_:
        bench: Bench = prepare(open_)
        runners = {abi: runner.record for abi, runner in bench.prepared.runners.items()}
        plan = make_plan(
            [artifact], bench.facts, runners, threads=(1,), cpus=(0,), protocol=Protocol(warmup=2, runs=4, repeats=2)
        )
        results = Results(f"sqlite:///{tmp_path / 'r.sqlite'}")
        outcome, settings = Outcome(), Settings(since=datetime.now(UTC).isoformat(timespec="milliseconds"), retry=0)
        Device(
            bench, {digest: tiny_tflite}, results, Kept(tmp_path / "outputs"), settings,
            progress=Silent(), stop=threading.Event(), outcome=outcome,
        ).measure([Task(cell) for cell in plan.cells])  # fmt: skip
    (measured,) = outcome.measurements
    assert measured.error is None
    assert measured.runner.binary_sha256 == sha256_file(tool)
    assert [repeat.reported.count for repeat in measured.repeats if repeat.reported] == [4, 4]
    assert all(repeat.cpus_allowed == (0,) for repeat in measured.repeats)
    assert measured.summary is not None
    assert (measured.summary.centre, measured.summary.p90_ms) == ("median", None)
    assert results.find(measured.job_key) == measured


def test_each_abi_of_a_phone_has_a_binary_of_its_own() -> None:
    facts = msgspec.structs.replace(FACTS, abis=("armv8", "armv7"))
    runners = {
        abi: msgspec.structs.replace(RECORD, binary_sha256=digit * 64)
        for abi, digit in (("armv8", "8"), ("armv7", "7"))
    }
    artifact = Artifact(name="one", format="tflite", files=(FileRecord(name="o.tflite", sha256="c" * 64, size=1),))
    made = make_plan([artifact], facts, runners, threads=(1,))
    assert [(c.abi, c.runner_sha256) for c in made.cells] == [("armv8", "8" * 64), ("armv7", "7" * 64)]
    only = make_plan([artifact], facts, {"armv8": runners["armv8"]}, abis=("armv8", "armv7"), missing={"armv7": "none"})
    assert {i.reason for i in only.impossible} == {"none"}
    unpinned = make_plan([artifact], facts, runners, cpus=(0,), unpinned="no taskset")
    assert {i.reason for i in unpinned.impossible} == {"no taskset"}
