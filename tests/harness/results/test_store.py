"""The contract of the results database, on SQLite and on a real PostgreSQL: nothing lost, nothing twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import event
from sqlalchemy.dialects import sqlite

from harness.results import Results
from harness.results.database import CONNECTIONS
from harness.results.history import newest_rounds, repeats_of_newest
from pocketzoo.errors import BadInput, WorkFailed
from tests.harness.cells import RUNNER, cell_of
from tests.harness.results import postgres
from tests.harness.results.rounds import failed, measured, sql, store
from tests.records import FACTS, repeat_of
from zoo.instants import instant


def test_a_repeat_is_there_for_another_process_as_soon_as_it_is_stored(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    round_ = results.begin(cell, FACTS, RUNNER.record)
    results.append(round_, 0, repeat_of([1, 2, 3]))
    again = Results(url).begin(cell, FACTS, RUNNER.record)
    assert again.id == round_.id
    assert again.done == {0: repeat_of([1, 2, 3])}


def test_a_finished_round_is_found_whole_and_a_failed_one_is_not_reused(url: str) -> None:
    cell, other = cell_of(), cell_of(threads=2)
    results = Results(url)
    done = store(results, cell, measured(cell))
    assert Results(url).find(cell.key) == done
    assert results.latest() == (done,)
    store(results, other, failed(other))
    assert results.find(other.key) is None
    assert {m.verdict.name for m in results.latest()} == {"valid", "failed"}
    assert results.latest(failed=False) == (done,)
    assert results.known([cell.key, other.key, "0" * 64]) == {cell.key}
    assert results.begin(cell, FACTS, RUNNER.record).number == 1


def test_the_latest_is_the_newest_ended_round_and_a_failed_one_does_not_hide_a_finished_one(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    store(results, cell, measured(cell))
    second = store(results, cell, measured(cell, samples=(5, 6)))
    third = store(results, cell, failed(cell))
    results.begin(cell, FACTS, RUNNER.record)
    assert results.latest() == (third,)
    assert results.latest(failed=False) == (second,)
    assert results.find(cell.key) == second
    assert results.find(cell.key, since=2) is None


def test_summaries_are_the_latest_without_samples_in_one_query(url: str) -> None:
    results = Results(url)
    cells = [cell_of(device=d, model=m, threads=t) for d in ("a", "b") for m in ("x", "y") for t in (1, 2)]
    # The device's fingerprint ties a number to it, not its name.
    cells = [cell_of(device=c.device, model=c.model, threads=c.threads, artifact_sha256=str(i) * 64)
             for i, c in enumerate(cells)]  # fmt: skip
    for cell in cells:
        store(results, cell, measured(cell))
    statements: list[str] = []
    event.listen(results.database._engine, "before_cursor_execute", lambda *parts: statements.append(str(parts[2])))
    found = results.latest_summaries(devices=["a"], models=["y"])
    assert len([s for s in statements if s.startswith("SELECT")]) == 1
    assert [(m.device.name, m.model, m.threads_requested, m.repeats) for m in found] == [
        ("a", "y", 1, ()), ("a", "y", 2, ())
    ]  # fmt: skip
    assert found[0].summary is not None and len(found[0].summary.repeat_medians_ms) == 3
    assert [m.job_key for m in results.latest_summaries()] == [m.job_key for m in results.latest()]
    assert [m.job_key for m in results.latest_summaries(limit=1)] == [cells[-1].key]
    assert [m.device.name for m in results.latest(devices=["b"])] == ["b"] * 4


def test_the_latest_table_looks_rounds_up_and_never_walks_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plan.sqlite'}"
    Results(url).begin(cell_of(), FACTS, RUNNER.record)
    for query in (newest_rounds(("m",), ("d",), failed=True), newest_rounds((), ("d",), failed=False)):
        for statement in (query, repeats_of_newest(query)):
            shown = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
            plan = [row[3] for row in sql(url, f"EXPLAIN QUERY PLAN {shown}")]
            assert "SEARCH newest USING INDEX ix_newest_device_model" in plan[0]
            assert not [step for step in plan if step.startswith("SCAN")]


def test_samples_come_one_repeat_at_a_time_with_their_place(url: str) -> None:
    results = Results(url)
    cell = cell_of()
    store(results, cell, measured(cell, samples=(1, 2)))
    store(results, cell, measured(cell, samples=(3, 4)), fresh=True)
    found = [(one.round_number, one.number, one.repeat.samples_ns) for one in results.samples(devices=["local"])]
    assert found == [(1, 0, (3, 4)), (1, 1, (4, 5))]
    assert list(results.samples(devices=["nobody"])) == []


def test_fresh_leaves_an_interrupted_round_behind_and_it_can_neither_grow_nor_end(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    first = results.begin(cell, FACTS, RUNNER.record)
    results.append(first, 0, repeat_of([1]))
    second = results.begin(cell, FACTS, RUNNER.record, fresh=True)
    assert (second.number, second.done) == (1, {})
    assert results.begin(cell, FACTS, RUNNER.record).id == second.id
    with pytest.raises(WorkFailed, match="round 0 of this cell is abandoned"):
        results.append(first, 1, repeat_of([2]))
    with pytest.raises(WorkFailed, match="round 0 of this cell is abandoned"):
        results.finish(first, measured(cell))


def test_several_cells_are_looked_up_and_begun_at_once_each_as_it_would_be_alone(url: str) -> None:
    results = Results(url)
    going, done, new = (cell_of(threads=count) for count in (1, 2, 4))
    first = results.begin(going, FACTS, RUNNER.record)
    results.append(first, 0, repeat_of([1]))
    finished = store(results, done, measured(done))
    assert results.find_each([going.key, done.key, new.key]) == {done.key: finished}
    assert results.find_each([done.key], since=1) == {}
    asked = [(cell, RUNNER.record) for cell in (new, going, done)]
    begun = results.begin_each(asked, FACTS)
    assert [(round_.number, round_.done) for round_ in begun] == [(0, {}), (0, {0: repeat_of([1])}), (1, {})]
    assert begun[1].id == first.id
    # Each in its place, also where some are made and some are there.
    for round_, (cell, _) in zip(begun, asked, strict=True):
        assert results.begin(cell, FACTS, RUNNER.record).id == round_.id
    anew = results.begin_each(asked, FACTS, fresh=True)
    assert [(round_.number, round_.done) for round_ in anew] == [(1, {}), (1, {}), (2, {})]
    with pytest.raises(WorkFailed, match="is abandoned"):
        results.append(first, 1, repeat_of([2]))


def test_processes_that_begin_the_same_cells_at_once_get_the_same_rounds(url: str) -> None:
    Results(url).campaigns()
    cells = [cell_of(threads=count) for count in range(1, 9)]

    def begun(number: int) -> list[int]:
        # Some in another order: nobody holds what the other waits for, and nobody fails.
        mine = cells if number % 2 else cells[::-1]
        rounds = Results(url).begin_each([(cell, RUNNER.record) for cell in mine], FACTS)
        return [round_.id for round_ in (rounds if number % 2 else rounds[::-1])]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(begun, range(6)))
    assert len({tuple(ids) for ids in found}) == 1
    assert len(set(found[0])) == 8


def test_the_threads_of_a_host_share_few_connections_to_a_server(server: postgres.Server) -> None:
    url = server.new_database()
    results = Results(url)
    rounds = results.begin_each([(cell_of(threads=1 + n), RUNNER.record) for n in range(24)], FACTS)
    at_once = threading.Barrier(24)

    def write(number: int) -> int:
        at_once.wait()
        for repeat in range(5):
            results.append(rounds[number], repeat, repeat_of([number, repeat]))
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pocketzoo'"
        return int(sql(url, f"{asked} AND datname = current_database()")[0][0])

    with ThreadPoolExecutor(24) as pool:
        seen = list(pool.map(write, range(24)))
    assert sql(url, "SELECT count(*) FROM repeats")[0][0] == 24 * 5
    assert 1 <= max(seen) <= CONNECTIONS


def test_an_ended_round_is_as_it_was_measured(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    round_ = results.begin(cell, FACTS, RUNNER.record)
    results.finish(round_, measured(cell))
    with pytest.raises(WorkFailed, match="is done: another process"):
        results.append(round_, 7, repeat_of([1]))
    with pytest.raises(WorkFailed, match="is done: another process"):
        results.finish(round_, failed(cell))


def test_the_same_repeat_cannot_be_stored_twice(url: str) -> None:
    results = Results(url)
    round_ = results.begin(cell_of(), FACTS, RUNNER.record)
    results.append(round_, 0, repeat_of([1]))
    with pytest.raises(WorkFailed, match="stored already"):
        Results(url).append(round_, 0, repeat_of([2]))
    assert Results(url).begin(cell_of(), FACTS, RUNNER.record).done == {0: repeat_of([1])}


def test_what_a_hostile_device_says_is_stored_as_it_is(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    facts = measured(cell).device
    hostile = measured(cell, error="\x00 '; DROP TABLE rounds; -- \u202e")
    assert store(results, cell, hostile).device == facts
    assert results.latest() == (hostile,)


def test_threads_share_one_results_each_with_its_own_cell(url: str) -> None:
    results = Results(url)
    cells = [cell_of(seed=seed) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda cell: store(results, cell, measured(cell)), cells))
    assert {m.job_key: m for m in results.latest()} == {m.job_key: m for m in done}


def test_looking_makes_nothing(url: str, tmp_path: Path) -> None:
    results = Results(url)
    assert results.latest() == results.latest_summaries() == ()
    assert results.find("0" * 64) is None
    assert results.known(["0" * 64]) == set()
    assert list(results.samples()) == results.campaigns() == results.wanted("x") == []
    assert results.campaign() is None
    if url.startswith("sqlite"):
        assert not list(tmp_path.glob("*.sqlite*"))
    else:
        assert sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


def test_campaigns_remember_what_they_want_and_how_far_it_is(url: str) -> None:
    results = Results(url)
    old = results.create_campaign({"devices": ["local"]}, seed=7)
    name = results.create_campaign({"command": ["harness", "run"]}, id="nightly")
    first, second, third = (cell_of(threads=n) for n in (1, 2, 4))
    results.want(name, [second, first])
    results.want(name, [first, third])
    assert results.wanted(name) == [second, first, third]
    store(results, first, measured(first))
    store(results, first, failed(first))
    store(results, third, failed(third))
    assert [(w.cell.threads, w.state) for w in results.progress(name)] == [(2, "missing"), (1, "done"), (4, "failed")]
    results.begin(second, FACTS, RUNNER.record)
    assert results.progress(name)[0].state == "open"

    last = results.campaign()
    assert last is not None and (last.id, last.seed, last.state) == ("nightly", 0, "open")
    assert last.request == {"command": ["harness", "run"]}
    assert [c.id for c in results.campaigns()] == ["nightly", old]
    results.end_campaign(old, "interrupted")
    found = results.campaign(old)
    assert found is not None and (found.seed, found.state) == (7, "interrupted")
    assert results.campaign("unknown") is None
    with pytest.raises(BadInput, match="nightly is there already"):
        results.create_campaign({}, id="nightly")
    with pytest.raises(BadInput, match="no campaign unknown"):
        results.end_campaign("unknown", "done")
    with pytest.raises(BadInput, match="no campaign unknown"):
        results.want("unknown", [first])


def test_what_was_measured_before_does_not_count_for_a_fresh_campaign(url: str) -> None:
    results = Results(url)
    cell = cell_of()
    store(results, cell, measured(cell))
    name = results.create_campaign({})
    results.want(name, [cell], fresh=True)
    (wanted,) = results.progress(name)
    assert (wanted.fresh_round, wanted.state) == (1, "missing")
    assert results.find(cell.key, since=1) is None
    store(results, cell, measured(cell), fresh=True)
    assert results.progress(name)[0].state == "done"
    assert results.find(cell.key, since=1) is not None


def test_what_was_read_without_samples_gets_them_and_earlier_rounds_are_told(url: str) -> None:
    cell, other = cell_of(), cell_of(threads=2)
    results = Results(url)
    first = store(results, cell, measured(cell, time="2026-01-01T00:00:00Z"))
    second = store(results, cell, measured(cell, samples=(5, 6), time="2026-02-01T00:00:00.000+00:00"))
    third = store(results, other, failed(other))
    bare = [structs.replace(m, repeats=()) for m in (third, first, second)]
    assert list(results.whole(bare)) == [third, first, second]
    unknown = structs.replace(bare[1], time="2020-01-01T00:00:00Z")
    assert list(results.whole([unknown])) == [unknown]
    told = results.history([cell.key, other.key, "0" * 64])
    assert [past.time for past in told[cell.key]] == [first.time, second.time]
    assert [past.summary is None for past in told[other.key]] == [True]
    assert set(told) == {cell.key, other.key}
    january = instant("2026-01-15")
    assert january is not None
    assert [m.time for m in results.as_of(january) if m.job_key == cell.key] == [first.time]
    assert results.as_of(0.0) == ()


def test_a_database_that_is_not_there_has_no_history(url: str) -> None:
    results = Results(url)
    cell = cell_of()
    assert list(results.whole([measured(cell)])) == [measured(cell)]
    assert results.history([cell.key]) == {}
    assert results.as_of(1e12) == ()
