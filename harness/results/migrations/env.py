"""Alembic's environment: always on a connection that the caller has begun a transaction on."""

from __future__ import annotations

from alembic import context

from harness.results.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
