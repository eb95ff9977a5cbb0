"""Plans: which cells, which not and why."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.job import Protocol
from harness.plan import make_plan, parse_cpus, parse_threads
from pocketzoo.errors import BadInput
from tests.harness.cells import cell_of
from tests.records import FACTS, RUNNER
from zoo.artifact import Artifact, FileRecord


def artifact(name: str, format_: str = "tflite", digest: str = "c") -> Artifact:
    return Artifact(name=name, format=format_, files=(FileRecord(name=f"{name}.bin", sha256=digest * 64, size=1),))  # type: ignore[arg-type]


def plan(*artifacts: Artifact, **options: Any) -> Any:
    return make_plan(artifacts, FACTS, {"x86_64": RUNNER}, **options)


def test_every_model_at_every_thread_count() -> None:
    made = plan(artifact("one"), artifact("two", digest="d"), threads=(1, 2, 4))
    assert [(c.model, c.abi, c.threads) for c in made.cells] == [
        (model, "x86_64", threads) for model in ("one", "two") for threads in (1, 2, 4)
    ]
    assert made.impossible == ()


def test_the_hosts_abi_is_never_called_armv8() -> None:
    made = plan(artifact("one"), abis=("armv7", "armv8", "x86_64"), threads=(1,))
    assert [c.abi for c in made.cells] == ["x86_64"]
    assert [(i.abi, i.reason) for i in made.impossible] == [
        ("armv7", "local runs x86_64"),
        ("armv8", "local runs x86_64"),
    ]


def test_other_formats_and_missing_cpus_are_told() -> None:
    assert plan(artifact("one", "onnx"), threads=(1,)).impossible[0].reason.endswith("this is onnx")
    assert plan(artifact("one"), threads=(1,), cpus=(0, 7)).impossible[0].reason == "local has CPUs 0 to 1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("artifact_sha256", "0" * 64),
        ("device_fingerprint", "0" * 64),
        ("runner_sha256", "0" * 64),
        ("runner", "benchmark_model"),
        ("abi", "armv7"),
        ("threads", 2),
        ("cpus", (0,)),
        ("seed", 1),
        ("protocol", Protocol(warmup=1, runs=3, repeats=3)),
    ],
)
def test_what_decides_a_number_decides_the_key(field: str, value: object) -> None:
    cell = cell_of()
    assert msgspec.structs.replace(cell, **{field: value}).key != cell.key


def test_names_do_not_decide_the_key() -> None:
    assert cell_of(model="renamed", device="other-name").key == cell_of().key


def test_numbers_as_people_write_them() -> None:
    assert parse_threads("1,2,4") == (1, 2, 4)
    assert parse_threads("4,4") == (4,)
    assert parse_cpus("4-7,0") == (0, 4, 5, 6, 7)


@pytest.mark.parametrize("text", ["", "0", "-1", "a", "1,,2", "1.5", "99999"])
def test_what_are_no_thread_counts_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_threads(text)


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "1-", "0-99999"])
def test_what_are_no_cpus_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_cpus(text)
