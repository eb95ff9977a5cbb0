"""The results database: nothing lost, nothing twice, damage told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from harness.results import Results
from pocketzoo.errors import BadInput, WorkFailed
from tests.harness.cells import RUNNER, cell_of
from tests.records import FACTS, measurement_for, repeat_of
from zoo.artifact import Artifact, FileRecord
from zoo.measurement import Measurement, Verdict

ARTIFACT = Artifact(
    name="tiny-model", format="tflite", files=(FileRecord(name="tiny-model.tflite", sha256="c" * 64, size=1),)
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'results.sqlite'}"


def measured(key: str, threads: int = 1) -> Measurement:
    return measurement_for(ARTIFACT, key=key, threads=threads)


def test_a_repeat_is_there_for_another_process_as_soon_as_it_is_stored(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    round_ = results.begin(cell, FACTS, RUNNER.record)
    results.append(round_, 0, repeat_of([1, 2, 3]))
    again = Results(url).begin(cell, FACTS, RUNNER.record)
    assert again.id == round_.id
    assert again.done == {0: repeat_of([1, 2, 3])}


def test_a_finished_round_is_found_whole_and_a_failed_one_is_not_reused(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    round_ = results.begin(cell, FACTS, RUNNER.record)
    measurement = measured(cell.key)
    for number, repeat in enumerate(measurement.repeats):
        results.append(round_, number, repeat)
    results.finish(round_, measurement)
    assert Results(url).find(cell.key) == measurement
    assert results.latest() == (measurement,)
    assert results.begin(cell, FACTS, RUNNER.record).number == round_.number + 1

    other = cell_of(threads=2)
    failing = results.begin(other, FACTS, RUNNER.record)
    verdict = Verdict(name="failed", reason="it crashed")
    failed = msgspec.structs.replace(measured(other.key, 2), repeats=(), summary=None, verdict=verdict)
    results.finish(failing, failed)
    assert results.find(other.key) is None
    assert {m.verdict.name for m in results.latest()} == {"valid", "failed"}
    assert [m.verdict.name for m in results.latest(failed=False)] == ["valid"]


def test_fresh_leaves_an_interrupted_round_behind(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    first = results.begin(cell, FACTS, RUNNER.record)
    results.append(first, 0, repeat_of([1]))
    second = results.begin(cell, FACTS, RUNNER.record, fresh=True)
    assert (second.number, second.done) == (1, {})
    assert results.begin(cell, FACTS, RUNNER.record).id == second.id


def test_the_same_repeat_cannot_be_stored_twice(url: str) -> None:
    results = Results(url)
    round_ = results.begin(cell_of(), FACTS, RUNNER.record)
    results.append(round_, 0, repeat_of([1]))
    with pytest.raises(WorkFailed, match="stored already"):
        Results(url).append(round_, 0, repeat_of([2]))
    assert Results(url).begin(cell_of(), FACTS, RUNNER.record).done == {0: repeat_of([1])}


def test_looking_makes_no_file(url: str, tmp_path: Path) -> None:
    assert Results(url).latest() == ()
    assert Results(url).find("0" * 64) is None
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused_by_name(url: str, tmp_path: Path) -> None:
    Results(url).begin(cell_of(), FACTS, RUNNER.record)
    with sqlite3.connect(tmp_path / "results.sqlite") as connection:
        connection.execute("UPDATE results_schema SET version_num = '0099'")
    with pytest.raises(BadInput, match="schema 99; this pocketzoo reads schema 1 to 2"):
        Results(url).latest()


def test_a_file_that_is_no_database_is_an_error_with_its_place(url: str, tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").write_bytes(b"not a database at all, but long enough to be read" * 50)
    with pytest.raises(WorkFailed, match="not a database") as caught:
        Results(url).latest()
    assert caught.value.where == url


def test_damaged_samples_are_told_not_guessed(url: str, tmp_path: Path) -> None:
    cell = cell_of()
    results = Results(url)
    round_ = results.begin(cell, FACTS, RUNNER.record)
    measurement = measured(cell.key)
    results.append(round_, 0, measurement.repeats[0])
    results.finish(round_, measurement)
    with sqlite3.connect(tmp_path / "results.sqlite") as connection:
        connection.execute("UPDATE repeats SET record = x'c1'")
    with pytest.raises(WorkFailed, match="stored result is damaged"):
        results.latest()


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(BadInput, match="not a database URL"):
        Results("nonsense")
