"""Older databases come forward whole or stay as they were; newer ones are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import harness.results.migrations
from harness.results import SCHEMA, Results
from harness.results.schema import VERSION_TABLE, metadata
from pocketzoo.errors import BadInput, WorkFailed
from tests.harness.cells import RUNNER, cell_of
from tests.harness.results.legacy import OPEN, make_legacy
from tests.harness.results.rounds import failed, measured, sql
from tests.records import FACTS


def test_a_database_of_schema_1_comes_forward_without_loss(url: str) -> None:
    newest = make_legacy(url)
    results = Results(url)
    assert set(m.job_key for m in results.latest(failed=False)) == {m.job_key for m in newest}
    for seed, measurement in enumerate(newest):
        cell = cell_of(seed=seed)
        assert results.find(cell.key) == measurement
        assert results.latest(failed=False)[
            [m.job_key for m in results.latest(failed=False)].index(cell.key)
        ] == measurement  # fmt: skip
    assert {m.verdict.name for m in results.latest()} == {"failed"}
    assert results.begin(OPEN, FACTS, RUNNER.record).done == {0: measured(OPEN).repeats[0]}
    assert sql(url, "SELECT count(*), count(samples) FROM repeats") == [(13, 13)]
    # Releases from before Alembic look here, and refuse what they cannot read.
    assert sql(url, "SELECT value FROM meta") == [(str(SCHEMA),)]


def test_a_new_and_a_migrated_database_have_the_tables_that_the_code_names(new_url: Callable[[], str]) -> None:
    made, migrated = new_url(), new_url()
    Results(made).begin(cell_of(), FACTS, RUNNER.record)
    make_legacy(migrated)
    Results(migrated).latest()
    for url in (made, migrated):
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            assert compare_metadata(context, metadata) == []
        engine.dispose()


def test_a_migration_that_fails_leaves_the_database_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = make_legacy(url)
    before = sql(url, "SELECT id, number, record FROM repeats ORDER BY id")
    real = harness.results.migrations.upgrade

    def cut_off(*arguments: object, **options: object) -> None:
        real(*arguments, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(harness.results.migrations, "upgrade", cut_off)
    with pytest.raises(KeyboardInterrupt):
        Results(url).latest()
    assert sql(url, "SELECT id, number, record FROM repeats ORDER BY id") == before
    assert sql(url, "SELECT value FROM meta") == [("1",)]
    monkeypatch.undo()
    assert Results(url).find(newest[0].job_key) == newest[0]


def test_a_damaged_repeat_of_schema_1_stays_and_is_told_when_it_is_read(url: str) -> None:
    newest = make_legacy(url)
    sql(url, "UPDATE repeats SET record = :cut WHERE id = 3", cut=b"\xc1")
    results = Results(url)
    assert len(results.latest_summaries(failed=False)) == len(newest)
    with pytest.raises(WorkFailed, match="stored result is damaged"):
        results.find(newest[0].job_key)
    assert results.find(newest[1].job_key) == newest[1]
    assert bytes(sql(url, "SELECT record FROM repeats WHERE id = 3")[0][0]) == b"\xc1"


def test_a_newer_schema_is_refused_by_name(url: str) -> None:
    Results(url).begin(cell_of(), FACTS, RUNNER.record)
    sql(url, "UPDATE results_schema SET version_num = '0099'")
    with pytest.raises(BadInput, match=f"schema 99; this pocketzoo reads schema 1 to {SCHEMA}") as caught:
        Results(url).latest()
    assert caught.value.hint == "pip install --upgrade pocketzoo"


def test_a_newer_schema_without_alembic_is_refused_too(url: str) -> None:
    make_legacy(url)
    sql(url, "UPDATE meta SET value = 'nonsense' WHERE name = 'schema_version'")
    with pytest.raises(BadInput, match="schema nonsense"):
        Results(url).begin(cell_of(), FACTS, RUNNER.record)


def test_a_current_database_is_used_without_alembic(url: str) -> None:
    cell = cell_of()
    results = Results(url)
    results.finish(results.begin(cell, FACTS, RUNNER.record), failed(cell))
    code = (
        "import sys; from harness.results import Results; "
        f"assert len(Results({url!r}).latest()) == 1; sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
