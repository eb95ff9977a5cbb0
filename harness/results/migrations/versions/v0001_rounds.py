"""Rounds and repeats: what pocketzoo made before it had Alembic, word for word."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make schema 1."""
    op.create_table(
        "meta", sa.Column("name", sa.String(64), primary_key=True), sa.Column("value", sa.String(64), nullable=False)
    )
    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_key", sa.String(64), nullable=False, index=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("started", sa.String(40), nullable=False),
        sa.Column("model", sa.String(128), nullable=False, index=True),
        sa.Column("artifact_sha256", sa.String(64), nullable=False, index=True),
        sa.Column("device", sa.String(128), nullable=False, index=True),
        sa.Column("cell", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("runner", sa.Text, nullable=False),
        sa.Column("measurement", sa.Text),
        sa.UniqueConstraint("job_key", "number"),
    )
    op.create_table(
        "repeats",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("round_id", sa.Integer, sa.ForeignKey("rounds.id"), nullable=False, index=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("round_id", "number"),
    )
    op.execute("INSERT INTO meta (name, value) VALUES ('schema_version', '1')")
