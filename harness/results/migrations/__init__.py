"""Bring a database to the newest schema with Alembic. Imported only where a database is not there yet.

A new version: ``harness/results/migrations/versions/vNNNN_what.py``, ``SCHEMA`` and the history in
``harness/results/schema.py``, and a test that goes there from the version before with rows in it.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent


def upgrade(connection: Connection, *, stamp: int | None) -> None:
    """Run what is missing inside the connection's own transaction, so that all of it happens or nothing.

    Args:
        connection: in a transaction that keeps other migrations out.
        stamp: the version a database from before Alembic has; None where Alembic's own table says it.
    """
    config = Config()
    # Alembic's options are interpolated: a % in the path would be read as one.
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    if stamp is not None:
        command.stamp(config, f"{stamp:04d}")
    command.upgrade(config, "head")
