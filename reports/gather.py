"""The only reading a report does: the zoo's entries and the newest local results, merged and each once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.results import Results
from pocketzoo.command import say
from pocketzoo.errors import PocketzooError
from reports import steps, trained
from reports.archive import OnDisk
from reports.cells import Held, Material, merge
from reports.drawings import Sensitivity, sensitivity
from zoo.curves import kept
from zoo.store import Store


def gather(store: Store | None = None, results: Results | None = None, curves: Sequence[Path] = ()) -> Material:
    """Published measurements of every zoo entry, and the local results that were not published, without samples.

    An entry that cannot be read is left out with a warning: one damaged file must not cost the report of the others.

    Args:
        store: the zoo; default: the local one.
        results: the database; default: the local one.
        curves: files of networks pruned step by step, besides those of docs/data.

    Raises:
        BadInput: one of ``curves`` holds none.
    """
    from reports.reading import read

    is_local = store is None and results is None
    results = results or Results()
    store = store or Store()
    found = read(store, results, _warn)
    held, cells, places = [], [], {}
    for entry in found.entries:
        held.append(Held(entry.artifact, entry.tags))
        for cell, path in entry.cells:
            cells.append(cell)
            places[cell.job_key, cell.time] = path
    cells += found.rounds
    archive = OnDisk(places, results, is_local=is_local)
    return merge(held, cells, archive, trained.load(), _curves(store), found.signs, steps.load(curves))


def _curves(store: Store) -> dict[str, tuple[Sensitivity, ...]]:
    """The curves of searches that the store keeps; a file that holds none is left out with a warning."""
    found: dict[str, tuple[Sensitivity, ...]] = {}
    for digest, files in kept(store.root).items():
        for file in files:
            try:
                drawn = sensitivity(file.stem, json.loads(file.read_bytes()))
            except (OSError, ValueError, RecursionError) as problem:
                say(f"warning: left out of the report: no sensitivity curves in {file}: {str(problem)[:200]}")
                continue
            found[digest] = (*found.get(digest, ()), drawn)
    return found


def _warn(problem: PocketzooError) -> None:
    say(f"warning: left out of the report: {problem.as_text().removeprefix('error: ')}")
