"""The only reading a report does: the zoo's entries and the newest local results, merged and each once."""

from __future__ import annotations

from pocketzoo.command import say
from pocketzoo.errors import PocketzooError
from reports.cells import Held, Material, merge


def gather() -> Material:
    """Published measurements of every zoo entry, and the local results that were not published.

    An entry that cannot be read is left out with a warning: one damaged file must not cost the report of the others.
    """
    from harness.results import latest
    from zoo.store import Store

    entries = list(Store().entries(on_problem=_warn))
    published = [measurement for entry in entries for measurement in entry.measurements]
    return merge((Held(entry.artifact, entry.tags) for entry in entries), [*published, *latest()])


def _warn(problem: PocketzooError) -> None:
    say(f"warning: left out of the report: {problem.as_text().removeprefix('error: ')}")
