"""One ended round of a cell, as a history shows it: without samples and without the figures behind its verdict."""

from __future__ import annotations

import msgspec

from pocketzoo.decodable import decodable


class PastSummary(msgspec.Struct, frozen=True):
    """What a history draws of a summary, in milliseconds."""

    median_ms: float
    ci95_ms: tuple[float, float]


class PastVerdict(msgspec.Struct, frozen=True):
    """The name of a verdict, without its evidence."""

    name: str


class Past(msgspec.Struct, frozen=True):
    """One ended round of a cell; ``summary`` is None where it failed."""

    job_key: str
    time: str
    provenance: str
    verdict: PastVerdict
    summary: PastSummary | None = None


decodable(PastSummary, PastVerdict, Past)
