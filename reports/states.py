"""The two states that ``reports diff`` compares: a folder, or the local zoo and results as they were at a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.results import Results
from pocketzoo.errors import BadInput
from reports.archive import OnDisk
from reports.cells import Material, merge
from reports.gather import gather
from zoo.instants import instant
from zoo.store import Store

NOW = "now"


def state(text: str) -> Material:
    """What a state is called on the command line, read.

    Args:
        text: ``now``; a folder (a POCKETZOO_HOME, with ``zoo`` or ``results.sqlite`` in it); or a time, ISO 8601, UTC
            where it names no zone; a date alone is its end.

    Raises:
        BadInput: none of these.
    """
    if text == NOW:
        return gather()
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _folder(folder)
    moment = _moment(text)
    if moment is None:
        raise BadInput(
            f"neither a folder, nor a time, nor `now`: {text!r}",
            hint="reports diff 2026-11-01, or reports diff /home/me/.local/share/pocketzoo-before",
        )
    return _as_of(moment)


def _folder(folder: Path) -> Material:
    database = folder / "results.sqlite"
    if not (folder / "zoo").is_dir() and not database.is_file():
        raise BadInput("a folder with neither zoo/ nor results.sqlite in it", where=str(folder), hint="harness results")
    return gather(Store(folder / "zoo"), Results(f"sqlite:///{database.absolute()}"))


def _moment(text: str) -> float | None:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        try:
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            return None
        return (day + timedelta(days=1)).timestamp()
    return instant(text)


def _as_of(moment: float) -> Material:
    """The local state at a time: entries made by then, and the newest measurement of each cell by then.

    The zoo keeps no history of its tags: a name stands for the entry that was made last by then. An entry that does
    not say when it was made counts as made.
    """
    whole = gather()
    held = [item for item in whole.held if (instant(item.artifact.created or "") or 0.0) <= moment]
    # A tag of today may point at what was made later; without tags the entry made last counts.
    held = [type(item)(item.artifact) for item in held]
    results = Results()
    local = results.as_of(moment)
    assert isinstance(whole.archive, OnDisk)  # noqa: S101  gather() made it
    published = [
        cell
        for cell in whole.measurements
        if whole.archive.is_published(cell) and (made := instant(cell.time)) is not None and made <= moment
    ]
    return merge(held, [*published, *local], whole.archive)
