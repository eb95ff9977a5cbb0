"""Times in records as instants that can be ordered: records spell UTC as ``Z`` or ``+00:00``, with or without ms."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time; UTC where it names no zone; None where it is none (untrusted records)."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
