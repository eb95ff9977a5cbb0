"""What was measured, as it was measured: SQL, append-only, a repeat committed as soon as it ends.

samples     raw samples as bytes and back (pure)
schema      the tables, and what each version of them brought
migrations  Alembic, for a database that is new or older
database    SQLite or PostgreSQL by URL: transactions, errors
campaigns   what a campaign wants, for `harness resume`
attempts    rounds: begun, filled with repeats, ended
history     older rounds, and samples for what was read without them
store       :class:`Results`, what the harness works with
late        what waited on a disk for the database, delivered once
export      rows for CSV and Parquet
"""

from __future__ import annotations

from harness.results.attempts import Round
from harness.results.campaigns import Campaign, Wanted
from harness.results.database import Unreachable
from harness.results.schema import SCHEMA
from harness.results.store import Results, StoredRepeat, default_url, latest

__all__ = ["SCHEMA", "Campaign", "Results", "Round", "StoredRepeat", "Unreachable", "Wanted", "default_url", "latest"]
