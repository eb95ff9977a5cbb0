"""Samples compact and apart, the newest round of each cell, campaigns."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from alembic import op

from harness.results.samples import pack

revision = "0002"
down_revision = "0001"

BATCH = 500

_rounds = sa.table("rounds", *map(sa.column, ("id", "job_key", "state", "device", "model")))
_repeats = sa.table("repeats", sa.column("id"), sa.column("record", sa.LargeBinary), sa.column("samples"))
_newest = sa.table("newest", *map(sa.column, ("job_key", "device", "model", "ended_id", "done_id")))


def upgrade() -> None:
    """Go from schema 1 to 2."""
    op.create_table(
        "newest",
        sa.Column("job_key", sa.String(64), primary_key=True),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("ended_id", sa.Integer, sa.ForeignKey("rounds.id"), nullable=False),
        sa.Column("done_id", sa.Integer, sa.ForeignKey("rounds.id")),
    )
    op.create_index("ix_newest_device_model", "newest", ["device", "model"])
    op.create_index("ix_newest_model", "newest", ["model"])
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
    )
    op.create_table(
        "campaign_cells",
        sa.Column("campaign_id", sa.String(64), sa.ForeignKey("campaigns.id"), primary_key=True),
        sa.Column("job_key", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("cell", sa.Text, nullable=False),
        sa.Column("fresh_round", sa.Integer),
    )
    op.add_column("repeats", sa.Column("samples", sa.LargeBinary))
    connection = op.get_bind()
    _fill_newest(connection)
    _split_repeats(connection)
    # The unique keys begin with the same columns, and nothing is looked up by the others any more.
    op.drop_index("ix_repeats_round_id", "repeats")
    for column in ("job_key", "model", "artifact_sha256", "device"):
        op.drop_index(f"ix_rounds_{column}", "rounds")
    op.execute("UPDATE meta SET value = '2' WHERE name = 'schema_version'")


def _fill_newest(connection: sa.Connection) -> None:
    last = (
        sa.select(
            sa.func.max(_rounds.c.id).label("ended_id"),
            sa.func.max(sa.case((_rounds.c.state == "done", _rounds.c.id))).label("done_id"),
        )
        .where(_rounds.c.state.in_(("done", "failed")))
        .group_by(_rounds.c.job_key)
        .subquery()
    )
    rows = sa.select(_rounds.c.job_key, _rounds.c.device, _rounds.c.model, last.c.ended_id, last.c.done_id).join_from(
        last, _rounds, _rounds.c.id == last.c.ended_id
    )
    names = ["job_key", "device", "model", "ended_id", "done_id"]
    connection.execute(sa.insert(_newest).from_select(names, rows))


def _split_repeats(connection: sa.Connection) -> None:
    """Batch by batch, so that memory does not grow with the database."""
    write = sa.update(_repeats).where(_repeats.c.id == sa.bindparam("row")).values(
        record=sa.bindparam("rest"), samples=sa.bindparam("packed")
    )  # fmt: skip
    after = 0
    while True:
        query = sa.select(_repeats.c.id, _repeats.c.record).where(_repeats.c.id > after)
        batch = connection.execute(query.order_by(_repeats.c.id).limit(BATCH)).all()
        if not batch:
            return
        after = batch[-1].id
        split = [parts for row in batch if (parts := _split(row.id, row.record)) is not None]
        if split:
            connection.execute(write, split)


def _split(row: int, record: bytes) -> dict[str, object] | None:
    """None for a record that is damaged: it stays as it is, and whoever reads that result is told."""
    try:
        repeat = msgspec.msgpack.decode(record, type=dict[str, object])
        packed = pack(msgspec.convert(repeat["samples_ns"], list[int]))
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError):
        return None
    return {"row": row, "rest": msgspec.msgpack.encode({**repeat, "samples_ns": ()}), "packed": packed}
