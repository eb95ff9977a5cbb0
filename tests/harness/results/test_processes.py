"""Several processes on one database, and one that is killed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness.results import Results
from tests.harness.cells import RUNNER, cell_of
from tests.harness.results.legacy import make_legacy
from tests.harness.results.rounds import measured, sql
from tests.records import FACTS

ROOT = Path(__file__).parents[3]
Process = subprocess.Popen[str]


@contextmanager
def started(mode: str, url: str) -> Iterator[Process]:
    """A writer that waits for its line."""
    argv = [sys.executable, "-m", "tests.harness.results.writer", mode, url]
    with subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


def go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def at_once(mode: str, url: str, many: int) -> list[str]:
    """What each of many processes that start together printed last."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(mode, url)) for _ in range(many)]
        for process in processes:
            go(process)
        said = []
        for process in processes:
            out, err = process.communicate()
            assert process.returncode == 0, err
            said.append(out.splitlines()[-1])
    return said


def test_processes_that_make_the_database_at_once_all_succeed_and_share_one_round(url: str) -> None:
    said = at_once("begin", url, 4)
    assert sorted(line.split()[0] for line in said) == ["refused"] * 3 + ["stored"]
    assert {line.split()[1] for line in said} == {"0"}
    assert all("stored already" in line for line in said if line.startswith("refused"))
    assert sql(url, "SELECT count(*) FROM rounds") == [(1,)]
    assert sql(url, "SELECT count(*) FROM results_schema") == [(1,)]


def test_processes_that_begin_anew_at_once_never_see_a_raw_error(url: str) -> None:
    Results(url).begin(cell_of(), FACTS, RUNNER.record)
    said = at_once("fresh", url, 4)
    for line in said:
        assert line.startswith("stored") or "stored already" in line or "is abandoned" in line
    rows = sql(url, "SELECT number, state FROM rounds ORDER BY number")
    assert [number for number, _ in rows] == list(range(len(rows)))
    assert [state for _, state in rows] == ["abandoned"] * (len(rows) - 1) + ["open"]


def test_processes_that_migrate_at_once_all_succeed(url: str) -> None:
    known = make_legacy(url)
    assert at_once("look", url, 4) == [str(len(known))] * 4
    assert sql(url, "SELECT version_num FROM results_schema") == [("0002",)]


@pytest.mark.parametrize("seed", range(5))
def test_kill_9_while_appending_loses_nothing_that_was_reported(url: str, seed: int) -> None:
    reported: set[str] = set()
    with started("append", url) as process:
        go(process)
        assert process.stdout is not None
        for _ in range(random.Random(seed).randint(1, 30)):
            reported.add(process.stdout.readline().strip())
        process.kill()
        reported |= {line.strip() for line in process.stdout if line.endswith("\n")}
    assert reported and "" not in reported

    results = Results(url)
    if url.startswith("sqlite"):
        assert sql(url, "PRAGMA integrity_check") == [("ok",)]
        assert sql(url, "PRAGMA foreign_key_check") == []
    for line in reported:
        kind, number, *repeat = line.split()
        cell = cell_of(seed=int(number))
        whole = measured(cell, samples=range(200))
        if kind == "finished":
            assert results.find(cell.key) == whole
            continue
        found = results.find(cell.key)
        stored = found.repeats if found else results.begin(cell, FACTS, RUNNER.record).done
        assert stored[int(repeat[0])] == whole.repeats[int(repeat[0])]
    assert sql(url, "SELECT round_id, number FROM repeats GROUP BY round_id, number HAVING count(*) > 1") == []
