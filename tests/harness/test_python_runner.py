"""The python runner: argv and parsing are pure, and an answer to another question is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.job import Protocol
from harness.runner import RunnerFailed
from harness.runners.python import AGENT, parse_description
from pocketzoo.files import sha256_file
from tests.harness.cells import RUNNER, answer_of, cell_of, completed, printed


def test_the_agent_is_what_is_pushed_and_started() -> None:
    (digest,) = RUNNER.files()
    assert RUNNER.files()[digest] == AGENT
    argv = RUNNER.argv(cell_of(threads=4, cpus=(4, 5)), "/data/model with space.tflite", {digest: "/data/agent.py"})
    assert argv[:4] == ["python3", "/data/agent.py", "--model", "/data/model with space.tflite"]
    assert " ".join(argv[4:]) == "--threads 4 --warmup 1 --runs 3 --seed 0 --cpus 4,5"


def test_chatter_around_the_answer_does_not_matter() -> None:
    chatter = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nError in cpuinfo: no /sys\n"
    repeat = RUNNER.parse(cell_of(), completed(chatter + printed(answer_of()) + "bye\n"))
    assert repeat.samples_ns == (10, 11, 12)
    assert repeat.threads_actual == 1


def test_threads_that_cannot_run_at_once_do_not_count() -> None:
    repeat = RUNNER.parse(cell_of(threads=4), completed(printed(answer_of(pool_threads=4))))
    assert (repeat.pool_threads, repeat.threads_actual) == (4, 2)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"samples_ns": [10, 11]}, "2 samples came back instead of 3"),
        ({"samples_ns": [10, 0, 11]}, "samples came back"),
        ({"abi": "armv7"}, "it ran as armv7"),
        ({"abi": None}, "an unknown ABI"),
        ({"library_sha256": "0" * 64}, "changed during the campaign"),
        ({"error": "ValueError: no such model"}, "ValueError: no such model"),
        ({"samples_ns": "fast"}, "not understood"),
        ({"pocketzoo_agent": 2}, "another protocol version"),
    ],
)
def test_an_answer_that_is_not_to_the_question_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(RunnerFailed, match=says):
        RUNNER.parse(cell_of(), completed(printed(answer_of(**fields))))


def test_a_pinned_run_that_ran_elsewhere_is_refused() -> None:
    with pytest.raises(RunnerFailed, match="it ran on CPUs"):
        RUNNER.parse(cell_of(cpus=(0,)), completed(printed(answer_of())))


def test_a_crash_is_told_with_its_signal_and_last_words() -> None:
    with pytest.raises(RunnerFailed, match="signal 11") as caught:
        RUNNER.parse(cell_of(), completed(exit_code=139, stderr=b"cpuinfo\nSegmentation fault"))
    assert caught.value.detail[-1] == "Segmentation fault"


def test_half_an_answer_is_an_error() -> None:
    with pytest.raises(RunnerFailed, match="cut off"):
        RUNNER.parse(cell_of(), completed(printed(answer_of())[:100]))


@given(st.binary(max_size=300))
@example(b'":"\\x80"}')
def test_whatever_a_device_prints_gives_a_repeat_or_a_reason(noise: bytes) -> None:
    for data in (noise, b'{"pocketzoo_agent"' + noise, b"\n" + printed(answer_of()).encode()[: len(noise)] + noise):
        with pytest.raises(RunnerFailed):
            RUNNER.parse(cell_of(), completed(data))


def test_the_real_agent_describes_the_runtime_and_proves_its_abi() -> None:
    done = subprocess.run([sys.executable, str(AGENT), "--describe"], capture_output=True, check=True)
    description = parse_description(completed(done.stdout, stderr=done.stderr))
    assert description.runtime == "ai-edge-litert"
    assert description.abi == {"x86_64": "x86_64", "aarch64": "armv8"}[os.uname().machine]
    assert description.abi_proof.startswith("ELF64")


def test_the_real_agent_reports_what_happened(tiny_tflite: Path) -> None:
    argv = [sys.executable, str(AGENT), "--model", str(tiny_tflite), "--threads", "3", "--warmup", "2", "--runs", "5"]
    done = subprocess.run([*argv, "--cpus", "0"], capture_output=True, check=True)
    description = parse_description(
        completed(subprocess.run([sys.executable, str(AGENT), "--describe"], capture_output=True, check=True).stdout)
    )
    runner = type(RUNNER)(interpreter=sys.executable, description=description)
    repeat = runner.parse(
        cell_of(threads=3, cpus=(0,), abi=description.abi, protocol=Protocol(warmup=2, runs=5, repeats=1)),
        completed(done.stdout, stderr=done.stderr),
    )
    assert len(repeat.samples_ns) == 5
    assert repeat.cpus_allowed == (0,)
    assert repeat.pool_threads == 3
    assert repeat.threads_actual == 1
    assert repeat.init_ns and repeat.first_ns and repeat.peak_memory_bytes


def test_a_random_file_gives_the_runtimes_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(os.urandom(5000))
    done = subprocess.run([sys.executable, str(AGENT), "--model", str(broken)], capture_output=True, check=False)
    assert done.returncode == 1
    with pytest.raises(RunnerFailed, match="ValueError"):
        RUNNER.parse(cell_of(), completed(done.stdout, exit_code=1))


def test_the_record_names_what_ran_as_a_whole() -> None:
    record = RUNNER.record
    assert record.runtime == "ai-edge-litert 2.3.0"
    changed = msgspec.structs.replace(RUNNER.description, library_sha256="9" * 64)
    other = type(RUNNER)(interpreter="python3", description=changed)
    assert other.record.binary_sha256 != record.binary_sha256
    assert sha256_file(AGENT) not in (record.binary_sha256, other.record.binary_sha256)
