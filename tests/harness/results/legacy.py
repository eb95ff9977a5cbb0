"""A database as pocketzoo made it before it had Alembic (schema 1): its statements, word for word, with rows."""

from __future__ import annotations

import msgspec

from tests.harness.cells import RUNNER, cell_of
from tests.harness.results.rounds import failed, measured, sql
from zoo.measurement import Measurement, Repeat

STATEMENTS = (
    "CREATE TABLE meta (name VARCHAR(64) NOT NULL, value VARCHAR(64) NOT NULL, PRIMARY KEY (name))",
    "CREATE TABLE rounds (id {id} NOT NULL, job_key VARCHAR(64) NOT NULL, number INTEGER NOT NULL, "
    "state VARCHAR(16) NOT NULL, started VARCHAR(40) NOT NULL, model VARCHAR(128) NOT NULL, "
    "artifact_sha256 VARCHAR(64) NOT NULL, device VARCHAR(128) NOT NULL, cell TEXT NOT NULL, facts TEXT NOT NULL, "
    "runner TEXT NOT NULL, measurement TEXT, PRIMARY KEY (id), UNIQUE (job_key, number))",
    "CREATE INDEX ix_rounds_artifact_sha256 ON rounds (artifact_sha256)",
    "CREATE INDEX ix_rounds_device ON rounds (device)",
    "CREATE INDEX ix_rounds_job_key ON rounds (job_key)",
    "CREATE INDEX ix_rounds_model ON rounds (model)",
    "CREATE TABLE repeats (id {id} NOT NULL, round_id INTEGER NOT NULL, number INTEGER NOT NULL, "
    "record {blob} NOT NULL, PRIMARY KEY (id), UNIQUE (round_id, number), "
    "FOREIGN KEY(round_id) REFERENCES rounds (id))",
    "CREATE INDEX ix_repeats_round_id ON repeats (round_id)",
    "INSERT INTO meta (name, value) VALUES ('schema_version', '1')",
)
OPEN = cell_of(threads=4)


def make_legacy(url: str, *, cells: int = 3) -> tuple[Measurement, ...]:
    """Make it: for each of so many cells a round that was measured twice, then a failed one; and one open round.

    Returns:
        The newest finished measurement of each cell.
    """
    kinds = {"id": "INTEGER", "blob": "BLOB"} if url.startswith("sqlite") else {"id": "SERIAL", "blob": "BYTEA"}
    for statement in STATEMENTS:
        sql(url, statement.format(**kinds))
    newest = []
    for seed in range(cells):
        cell = cell_of(seed=seed)
        newest.append(measured(cell, samples=range(seed, 300 + seed)))
        for number, measurement in enumerate((measured(cell), newest[-1])):
            _round(url, number, "done", measurement, measurement.repeats)
        _round(url, 2, "failed", failed(cell), ())
    whole = measured(OPEN)
    _round(url, 0, "open", whole, whole.repeats[:1])
    return tuple(newest)


def _round(url: str, number: int, state: str, m: Measurement, repeats: tuple[Repeat, ...]) -> None:
    text = msgspec.json.encode
    ((id_,),) = sql(
        url,
        "INSERT INTO rounds (job_key, number, state, started, model, artifact_sha256, device, cell, facts, runner, "
        "measurement) VALUES (:key, :number, :state, '2026-11-01', :model, :sha, :device, :cell, :facts, :runner, :m) "
        "RETURNING id",
        key=m.job_key, number=number, state=state, model=m.model, sha=m.artifact_sha256, device=m.device.name,
        cell=text(OPEN).decode(), facts=text(m.device).decode(), runner=text(RUNNER.record).decode(),
        m=None if state == "open" else text(msgspec.structs.replace(m, repeats=())).decode(),
    )  # fmt: skip
    for place, repeat in enumerate(repeats):
        sql(
            url, "INSERT INTO repeats (round_id, number, record) VALUES (:round, :number, :record)",
            round=id_, number=place, record=msgspec.msgpack.encode(repeat),
        )  # fmt: skip
