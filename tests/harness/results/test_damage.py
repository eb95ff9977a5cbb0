"""Databases that are damaged, unreachable, or not ours: an error that says what, where, and what to do."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest

from harness.results import Results, database
from pocketzoo.errors import BadInput, WorkFailed
from tests.harness.cells import RUNNER, cell_of
from tests.harness.results.rounds import measured, sql, store
from tests.records import FACTS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def test_a_file_that_is_no_database_is_an_error_with_its_place(file: Path) -> None:
    file.write_bytes(b"not a database at all, but long enough to be read" * 50)
    with pytest.raises(WorkFailed, match="not a database") as caught:
        Results(f"sqlite:///{file}").latest()
    assert caught.value.where == f"sqlite:///{file}"
    assert caught.value.hint


def test_an_empty_file_is_an_empty_database(file: Path) -> None:
    file.touch()
    assert Results(f"sqlite:///{file}").latest() == ()


def test_pages_that_were_overwritten_are_told_and_the_file_is_left_alone(file: Path) -> None:
    results = Results(f"sqlite:///{file}")
    for seed in range(40):
        store(results, cell_of(seed=seed), measured(cell_of(seed=seed), samples=range(200)))
    results.close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    data = bytearray(file.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    file.write_bytes(data)
    with pytest.raises(WorkFailed, match="results database is damaged") as caught:
        Results(f"sqlite:///{file}").latest()
    assert caught.value.hint is not None and "recover" in caught.value.hint


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE repeats SET samples = :junk",
        "UPDATE repeats SET record = :junk",
        "UPDATE repeats SET samples = NULL",
        "UPDATE rounds SET measurement = '{\"schema\": 1}'",
        "UPDATE rounds SET measurement = NULL",
    ],
)
def test_damaged_results_are_told_not_guessed(url: str, statement: str) -> None:
    cell = cell_of()
    store(Results(url), cell, measured(cell))
    sql(url, statement, **({"junk": b"\xc1"} if ":junk" in statement else {}))
    with pytest.raises(WorkFailed, match="stored result is damaged"):
        Results(url).latest()
    with pytest.raises(WorkFailed, match="stored result is damaged"):
        Results(url).find(cell.key)


def test_a_table_that_is_gone_is_told(url: str) -> None:
    cell = cell_of()
    store(Results(url), cell, measured(cell))
    sql(url, "DROP TABLE repeats")
    with pytest.raises(WorkFailed, match="does not answer as it should"):
        Results(url).latest()


def test_a_folder_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").mkdir()
    with pytest.raises(WorkFailed, match="cannot be opened"):
        Results(f"sqlite:///{tmp_path / 'results.sqlite'}").begin(cell_of(), FACTS, RUNNER.record)


def test_a_database_that_another_process_holds_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Results(f"sqlite:///{file}").begin(cell_of(), FACTS, RUNNER.record)
    monkeypatch.setattr(database, "BUSY_S", 0.01)
    holding = sqlite3.connect(file, isolation_level=None)
    holding.execute("BEGIN IMMEDIATE")
    with pytest.raises(WorkFailed, match="in use by another process"):
        Results(f"sqlite:///{file}").begin(cell_of(), FACTS, RUNNER.record, fresh=True)
    holding.close()


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="cannot be reached") as caught:
        Results(f"postgresql://somebody:secret@/results?host={tmp_path}").latest()
    assert "secret" not in caught.value.as_text()
    assert caught.value.hint is not None and "POCKETZOO_RESULTS" in caught.value.hint


def test_a_driver_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadInput, match="needs the driver psycopg") as caught:
        Results("postgresql://somebody:secret@/results")
    assert caught.value.hint == "pip install 'pocketzoo[postgresql]'"
    assert "secret" not in caught.value.as_text()


@pytest.mark.parametrize(
    ("url", "match"),
    [("nonsense", "not a database URL"), ("mysql://host/name", "not in mysql"), ("oracle+x://h", "not in oracle")],
)
def test_what_is_no_url_of_ours_is_refused(url: str, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        Results(url)
