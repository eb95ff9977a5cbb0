"""Each verdict provoked for real: a busy neighbour, too few CPUs, an uneven device, a hot phone; and a quiet run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.inventory import load_inventory
from devices.lab.phone_profile import Heating, Profile
from devices.probe import check_expectations
from devices.session import open_session
from devices.transport import Completed
from harness.execute import Bench, prepare
from harness.job import Cell, Protocol
from harness.measuring import Device, Outcome, Settings
from harness.progress import Silent
from harness.reference import Kept
from harness.results import Results
from harness.runners.prepared import Prepared
from harness.runners.python import PythonRunner
from harness.schedule import Task
from harness.verdict import judge
from pocketzoo.files import sha256_file
from tests.harness.cells import cell_of
from tests.lab.phone.world import PROFILE, lacking, world
from tests.tiny_model import write_tiny_tflite
from zoo.measurement import Measurement, Repeat, RunnerRecord
from zoo.stats import summarise

pytestmark = pytest.mark.alone

RECORDED = Path(__file__).parent / "recorded" / "quiet_run.json"
TRIES = 8


@pytest.fixture
def bench() -> Iterator[Bench]:
    with open_session(load_inventory().get("local")) as session:
        yield prepare(session)


def measured(bench: Bench, model: Path, folder: Path, **how: Any) -> Measurement:
    """A cell on a bench, one round, in results of its own."""
    protocol = Protocol(warmup=how.pop("warmup", 10), runs=how.pop("runs", 50), repeats=how.pop("repeats", 1))
    digest, progress = sha256_file(model), how.pop("progress", Silent())
    known = {"until": None, **{name: how.pop(name) for name in ("cool_below_c", "cool_limit_s") if name in how}}
    abi, runner = next(iter(bench.prepared.runners.items()))
    cell = cell_of(
        artifact_sha256=digest,
        device=bench.facts.name,
        device_fingerprint=bench.facts.fingerprint,
        runner=runner.record.name,
        runner_sha256=runner.record.binary_sha256,
        abi=abi,
        protocol=protocol,
        **how,
    )
    outcome = Outcome()
    settings = Settings(since=datetime.now(UTC).isoformat(timespec="milliseconds"), retry=0, fresh=True)
    Device(
        bench, {digest: model}, Results(f"sqlite:///{folder / 'r.sqlite'}"), Kept(folder / "outputs"), settings,
        progress=progress, stop=threading.Event(), outcome=outcome,
    ).measure([Task(cell, **known)])  # fmt: skip
    (measurement,) = outcome.measurements
    return measurement


def evidence(measurement: Measurement, check: str) -> Any:
    return next(item for item in measurement.verdict.evidence if item.check == check)


@contextlib.contextmanager
def neighbour(cpu: int) -> Iterator[None]:
    """A process that never rests, on one CPU."""
    code = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nprint(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_busy_neighbour_is_contended(bench: Bench, tiny_tflite: Path, tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    with neighbour(cpu):
        found = measured(bench, tiny_tflite, tmp_path, cpus=(cpu,))
    assert found.verdict.name == "contended"
    assert evidence(found, "foreign load").value > 0.10
    assert found.output_check is not None
    assert found.output_check.outcome == "agrees"


@pytest.mark.parametrize("pinned", [False, True])
def test_more_threads_than_cpus_are_clamped(bench: Bench, tiny_tflite: Path, tmp_path: Path, pinned: bool) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    cpus, threads = ((allowed[0],), 2) if pinned else (None, len(allowed) + 2)
    found = measured(bench, tiny_tflite, tmp_path, cpus=cpus, threads=threads)
    assert found.verdict.name == "clamped"
    assert found.threads_actual == (1 if pinned else len(allowed))
    assert f"{threads} threads requested, {threads} started" in str(found.verdict.reason)


PACED = """\
#!{python}
import os, signal, subprocess, sys, time
number = len(os.listdir({folder!r}))
open(os.path.join({folder!r}, str(number)), "w").close()
child = subprocess.Popen([{python!r}, *sys.argv[1:]])
while child.poll() is None:
    time.sleep(0.0005)
    if number:
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.004 * number)
        child.send_signal(signal.SIGCONT)
sys.exit(child.returncode)
"""


def test_a_device_that_is_slower_each_time_is_unstable(bench: Bench, tmp_path: Path) -> None:
    """The second and third process are stopped and let go on every few milliseconds, as a CPU quota would."""
    model = write_tiny_tflite(tmp_path / "larger.tflite", size=160, channels=64)
    counted, paced = tmp_path / "counted", tmp_path / "paced"
    counted.mkdir()
    paced.write_text(PACED.format(python=sys.executable, folder=str(counted)))
    paced.chmod(0o755)
    ((abi, runner),) = bench.prepared.runners.items()
    assert isinstance(runner, PythonRunner)
    runners = {abi: PythonRunner(interpreter=str(paced), description=runner.description)}
    slow = replace(bench, prepared=replace(bench.prepared, runners=runners))
    found = measured(slow, model, tmp_path, repeats=3, warmup=2, runs=20, cpus=(min(os.sched_getaffinity(0)),))
    assert evidence(found, "repeat spread").outcome == "exceeded"
    # Somebody else may be busy on this machine just now; without them it is what it is.
    quiet = [msgspec.structs.replace(repeat, foreign_cpu_share=0.0) for repeat in found.repeats]
    verdict = judge(repeats=quiet, summary=summarise(quiet), threads_requested=1, provenance="hardware")
    assert verdict.name == "unstable"
    assert found.verdict.name == ("contended" if evidence(found, "foreign load").outcome == "exceeded" else "unstable")


class Counting:
    """A runner whose program counts on the phone and says what it is told to: heat is real there, speed is not."""

    record = RunnerRecord(name="counting", version="1", binary_sha256="a" * 64)

    def files(self) -> Mapping[str, Path]:
        return {}

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        return ["sh", "-c", 'test -f "$1" && echo counted', "sh", model]

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        assert done.stdout == b"counted\n", done
        samples = tuple(1_000_000 + n % 3 for n in range(cell.protocol.runs))
        return Repeat(samples_ns=samples, threads_actual=1, pool_threads=1, cpus_allowed=(0, 1))


@pytest.fixture
def hot_phone(tmp_path: Path) -> Iterator[tuple[Any, Bench]]:
    """A virtual phone that stays as warm as it is made, and slows down above 70 °C."""
    if why := lacking("bundled"):
        pytest.skip(why)
    heating = Heating(hot_c=90.0, rise_s=1e6, fall_s=1e6, limit_c=70.0, cap=0.5)
    profile = Profile(properties=PROFILE.properties, zones=PROFILE.zones, cpus=PROFILE.cpus, heating=heating)
    with world(tmp_path / "phone", "bundled", profile) as there, open_session(there.spec()) as session:
        facts = session.facts()
        check_expectations(there.spec(), facts)
        prepared = Prepared(runners={"x86_64": Counting()}, placed={})
        yield there.control, Bench(session=session, facts=facts, prepared=prepared)


def test_a_hot_phone_is_throttled_and_a_cool_one_is_not(
    hot_phone: tuple[Any, Bench], tiny_tflite: Path, tmp_path: Path
) -> None:
    control, bench = hot_phone
    cool = measured(bench, tiny_tflite, tmp_path, repeats=2, cool_below_c=60.0)
    assert cool.verdict.name == "valid", cool.verdict
    assert evidence(cool, "warm start").outcome == "ok"
    control.heat(85)
    hot = measured(bench, tiny_tflite, tmp_path, repeats=2, cool_below_c=60.0, cool_limit_s=0.0)
    assert hot.verdict.name == "throttled"
    assert evidence(hot, "frequency cap").says == "a CPU was held 50% below its top frequency"
    assert evidence(hot, "warm start").says == "2 of 2 repeats began at 60 °C or more, 85.0 °C at most"
    assert hot.output_check is not None
    assert hot.output_check.says == "the counting runner's tool prints no outputs"


def test_a_phone_is_waited_for_until_it_is_cool(
    hot_phone: tuple[Any, Bench], tiny_tflite: Path, tmp_path: Path
) -> None:
    control, bench = hot_phone

    class Fan(Silent):
        def cooling(self, now: float, target: float) -> None:
            assert now == 85.0
            control.heat(40)

    control.heat(85)
    found = measured(bench, tiny_tflite, tmp_path, cool_below_c=60.0, progress=Fan())
    assert evidence(found, "cooling").value > 0
    assert found.repeats[0].before is not None
    assert max(found.repeats[0].before.temperatures_c.values()) < 60
    assert found.verdict.name == "valid"


def test_what_a_quiet_machine_recorded_is_valid() -> None:
    """Repeats of a real run on an idle machine, judged again by the rules of today."""
    repeats = msgspec.json.decode(RECORDED.read_bytes(), type=tuple[Repeat, ...])
    assert len(repeats) == 3
    verdict = judge(repeats=repeats, summary=summarise(repeats), threads_requested=1, provenance="hardware")
    assert verdict.name == "valid", verdict
    assert {item.check for item in verdict.evidence if item.outcome == "ok"} >= {
        "threads", "foreign load", "repeat spread", "interval",
    }  # fmt: skip


def test_a_clean_run_is_valid(bench: Bench, tiny_tflite: Path, tmp_path: Path) -> None:
    """Whatever else this machine does: the verdict names a reason that its own figures bear out."""
    for number in range(TRIES):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = measured(bench, tiny_tflite, folder, repeats=3, warmup=2000, runs=2000)
        if found.verdict.name == "valid":
            assert all(item.outcome != "exceeded" for item in found.verdict.evidence)
            return
        assert found.verdict.name in ("contended", "unstable")
        checks = {"contended": ("foreign load",), "unstable": ("repeat spread", "interval")}[found.verdict.name]
        assert any(evidence(found, check).outcome == "exceeded" for check in checks)
