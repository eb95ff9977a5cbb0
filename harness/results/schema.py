"""The tables, the same on SQLite and PostgreSQL. Alembic makes them (``migrations``); a test compares the two.

Schema history (``version_num`` in the table ``results_schema``; each is a file in ``migrations/versions``)
    1  rounds and repeats; named by the table ``meta``, which is kept so that pocketzoo from before Alembic refuses
       a newer database by its number
    2  samples compact and in a column of their own, ``newest``, campaigns
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = 2
VERSION_TABLE = "results_schema"

metadata = MetaData()

meta = Table(
    "meta", metadata, Column("name", String(64), primary_key=True), Column("value", String(64), nullable=False)
)

rounds = Table(
    "rounds",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_key", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # open, done, failed, abandoned
    Column("started", String(40), nullable=False),
    Column("model", String(128), nullable=False),
    Column("artifact_sha256", String(64), nullable=False),
    Column("device", String(128), nullable=False),
    Column("cell", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("runner", Text, nullable=False),
    Column("measurement", Text),  # without its repeats, once the round has ended
    UniqueConstraint("job_key", "number"),
)

repeats = Table(
    "repeats",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("round_id", ForeignKey("rounds.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),  # MessagePack of zoo.measurement.Repeat, without its samples
    # harness.results.samples; null only where schema 1 left a record that cannot be read: it is kept as it is
    Column("samples", LargeBinary),
    UniqueConstraint("round_id", "number"),
)

# The newest ended round of each job key, written with the round's end. It makes the latest table one indexed look-up
# however often a cell was measured, and leaves rounds append-only, which a flag on them would not.
newest = Table(
    "newest",
    metadata,
    Column("job_key", String(64), primary_key=True),
    Column("device", String(128), nullable=False),
    Column("model", String(128), nullable=False),
    Column("ended_id", ForeignKey("rounds.id"), nullable=False),  # done or failed
    Column("done_id", ForeignKey("rounds.id")),
    Index("ix_newest_device_model", "device", "model"),
    Index("ix_newest_model", "model"),
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created", String(40), nullable=False),
    Column("request", Text, nullable=False),  # JSON, written and read by whoever runs campaigns
    Column("seed", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # open, done, incomplete, interrupted
)

campaign_cells = Table(
    "campaign_cells",
    metadata,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("job_key", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("device", String(128), nullable=False),
    Column("cell", Text, nullable=False),
    Column("fresh_round", Integer),  # of a fresh campaign: rounds with this number or a later one count
)
