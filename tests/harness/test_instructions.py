"""The metric `instructions` without a device: keys, what cannot be counted, figures, evidence, and what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.facts import ClusterFacts
from devices.inventory import load_inventory
from devices.lab.counter import COMMAND, TAG, About
from devices.lab.members import imitating
from devices.spec import DeviceSpec
from harness import instructions
from harness.job import Cell
from harness.listing import cell_record, results_text
from harness.plan import Plan
from harness.results import Results
from harness.runner import RunnerFailed
from harness.runners.counted import COUNT_AGENT, CountedRunner
from harness.runners.python import AGENT
from pocketzoo.files import sha256_file
from tests.harness.cells import DESCRIPTION, RUNNER, answer_of, cell_of, completed, printed
from tests.records import FACTS
from zoo.measurement import InstructionSummary, Measurement, Repeat, RunnerRecord, Verdict

ABOUT = About(qemu="7.2.22", key="0" * 16)
COUNTED = CountedRunner(measuring=RUNNER, about=ABOUT)


def lab_phone(name: str, *tags: str) -> DeviceSpec:
    member = imitating(load_inventory().get(name))
    entry = member.entry({"kind": "adb", "serial": "127.0.0.1:5"}, tags=tags)
    return DeviceSpec.model_validate({"name": member.name, **entry})


def counts_of(**fields: Any) -> dict[str, Any]:
    kept = ("abi", "abi_proof", "pool_threads", "cpus_allowed", "output_sha256", "library_sha256")
    answer = {name: value for name, value in answer_of().items() if name in (*kept, "pocketzoo_agent")}
    return {**answer, "peak_memory_bytes": 1, "instructions": [1000, 1002, 1001], **fields}


def measurement(counts: tuple[tuple[int, ...], ...], **fields: Any) -> Measurement:
    repeats = tuple(Repeat(samples_ns=(), instructions=one) for one in counts)
    known: dict[str, Any] = {
        "job_key": "1" * 64,
        "artifact_sha256": "c" * 64,
        "model": "tiny-model",
        "device": FACTS,
        "runner": RunnerRecord(name="python-count", version="2", binary_sha256="a" * 64, runtime="ai-edge-litert 2.3"),
        "abi": "armv8",
        "threads_requested": 1,
        "threads_actual": 1,
        "warmup": 1,
        "runs": 2,
        "repeats": repeats,
        "summary": None,
        "metric": "instructions",
        "instructions": instructions.summarise(repeats),
        "verdict": Verdict(name="emulated", reason=instructions.REASON),
        "provenance": "emulated",
        "time": "2026-11-21T10:00:00+00:00",
    }
    return Measurement(**{**known, **fields})


def test_keys_of_latencies_are_what_they_were_before_there_was_a_metric() -> None:
    fields: dict[str, Any] = {
        "model": "tiny-model",
        "artifact_sha256": "c" * 64,
        "device": "local",
        "device_fingerprint": "d" * 64,
        "runner": "python",
        "runner_sha256": "a" * 64,
        "abi": "x86_64",
        "threads": 2,
        "cpus": (0, 1),
    }
    assert Cell(**fields).key == "4d1ae183192ed3be501565d1e48ac94528c39fbcd16b346bdac61074131accbd"
    assert Cell(**fields, metric="instructions").key != Cell(**fields).key


@pytest.mark.parametrize(
    ("tags", "threads", "reason"),
    [
        (("phone", "android"), 1, "devices lab"),
        (("emulated", "lab", "phone"), 1, "without the counter"),
        (("emulated", "lab", "phone", TAG), 2, "spin"),
        (("emulated", "lab", "phone", TAG), 1, None),
    ],
)
def test_what_cannot_be_counted_says_why(tags: tuple[str, ...], threads: int, reason: str | None) -> None:
    why = instructions.why_not(tags, threads)
    assert (why is None) if reason is None else (why is not None and reason in why)


def test_a_plan_keeps_what_can_be_counted() -> None:
    cells = tuple(cell_of(threads=threads) for threads in (1, 4))
    made = instructions.as_counted(Plan(cells, ()), lab_phone("snapdragon855", TAG))
    assert [(one.threads, one.metric) for one in made.cells] == [(1, "instructions")]
    assert [one.threads for one in made.impossible] == [4]
    assert made.cells[0].label.endswith("1 thread, instructions")


def test_the_command_of_a_repeat() -> None:
    cell = cell_of(metric="instructions", cpus=(1,))
    placed = {sha256_file(path): f"/x/{path.name}" for path in COUNTED.files().values()}
    argv = COUNTED.argv(cell, "/x/m.tflite", placed)
    assert argv[:4] == ["python3", f"/x/{COUNT_AGENT.name}", "--agent", f"/x/{AGENT.name}"]
    assert argv[4:6] == ["--counter", COMMAND]
    assert argv[-2:] == ["--cpus", "1"]


def test_the_runners_digest_covers_what_counts() -> None:
    other = CountedRunner(measuring=RUNNER, about=About(qemu="7.2.22", key="1" * 16))
    assert len({RUNNER.record.binary_sha256, COUNTED.record.binary_sha256, other.record.binary_sha256}) == 3


def test_a_repeat_holds_counts_and_no_times() -> None:
    repeat = COUNTED.parse(cell_of(), completed(printed(counts_of())))
    assert repeat.instructions == (1000, 1002, 1001)
    assert repeat.samples_ns == ()
    assert repeat.threads_actual == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"instructions": [1000]}, "1 counts came back instead of 3"),
        ({"instructions": [1, 0, 1]}, "counts came back"),
        ({"instructions": ["many", 1, 1]}, "not understood"),
        ({"abi": "armv7"}, "ran as armv7"),
        ({"pool_threads": 2}, "2 threads"),
        ({"library_sha256": "9" * 64}, "changed"),
        ({"error": "nothing counts"}, "nothing counts"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RunnerFailed, match=said):
        COUNTED.parse(cell_of(), completed(printed(counts_of(**fields))))


def test_figures() -> None:
    repeats = [Repeat(samples_ns=(), instructions=one) for one in ((1000, 1002), (1004, 1006))]
    found = instructions.summarise(repeats)
    assert found == InstructionSummary(
        median=1003.0, min=1000, max=1006, repeat_medians=(1001.0, 1005.0), spread=pytest.approx(4 / 1003)
    )
    with pytest.raises(RunnerFailed):
        instructions.summarise([Repeat(samples_ns=(5,))])


@pytest.mark.parametrize(("spread", "outcome"), [(None, "unknown"), (0.005, "ok"), (0.0051, "exceeded")])
def test_repeatability(spread: float | None, outcome: str) -> None:
    summary = InstructionSummary(median=1, min=1, max=1, repeat_medians=(1,), spread=spread)
    assert instructions.repeatability(summary).outcome == outcome


@pytest.mark.parametrize(
    ("device", "abi", "exact", "says"),
    [
        ("snapdragon855", "armv8", 1.0, "QEMU 7.2.22: cortex-a76 models Cortex-A76"),
        ("snapdragon835", "armv8", 0.0, "QEMU 7.2.22: cortex-a72 stands for Cortex-A73, with the same instructions"),
        ("snapdragon855", "armv7", 0.0, "QEMU 7.2.22: max stands for Cortex-A76, with the same instructions"),
    ],
)
def test_the_processor_is_told(device: str, abi: str, exact: float, says: str) -> None:
    found = instructions.cpu_model(lab_phone(device), abi, ABOUT)
    assert (found.value, found.says) == (exact, says)


def test_the_kernels_are_told() -> None:
    facts = msgspec.structs.replace(
        FACTS, clusters=(ClusterFacts(cpus=(0,), core="Cortex-A55"),), cpu_features=("asimd", "asimddp")
    )
    assert instructions.kernels(facts, "ai-edge-litert 2.3").says == (
        "ai-edge-litert 2.3 on Cortex-A55, with the dot product"
    )
    assert instructions.kernels(FACTS, None).outcome == "unknown"


def test_counts_are_never_shown_as_times() -> None:
    one = measurement(((200_400_000, 200_402_000), (200_400_000, 200_402_000)))
    record = cell_record(one)
    assert {value for name, value in record.items() if name.endswith("_ms")} == {None}
    assert record["instruction_counts"] == [(200_400_000, 200_402_000)] * 2
    text = results_text([one])
    assert "200.401" in text
    assert "M instructions" in text
    assert "ms" not in text.split()


def test_counts_are_stored_and_read_back(tmp_path: Path) -> None:
    results = Results(f"sqlite:///{tmp_path / 'r.sqlite'}")
    cell = cell_of(metric="instructions")
    one = measurement(((10, 12), (11, 12)), job_key=cell.key)
    round_ = results.begin(cell, FACTS, one.runner)
    for number, repeat in enumerate(one.repeats):
        results.append(round_, number, repeat)
    results.finish(round_, one)
    assert results.find(cell.key) == one


def test_records_of_the_first_schema_are_read() -> None:
    old = json.loads(msgspec.json.encode(measurement(((1, 1),), metric="latency", instructions=None)))
    del old["metric"], old["instructions"], old["repeats"][0]["instructions"]
    found = msgspec.json.decode(json.dumps({**old, "schema": 1}), type=Measurement)
    assert (found.metric, found.instructions, found.repeats[0].instructions) == ("latency", None, ())


def test_the_description_is_that_of_latencies() -> None:
    assert COUNTED.record.runtime == f"{DESCRIPTION.runtime} {DESCRIPTION.runtime_version}"
