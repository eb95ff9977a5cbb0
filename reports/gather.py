"""The only reading a report does: the zoo's entries and the newest local results, merged and each once."""

from __future__ import annotations

import json

import msgspec

from devices.facts import DeviceFacts
from harness.results import Results
from pocketzoo.command import say
from pocketzoo.errors import PocketzooError
from reports import trained
from reports.archive import OnDisk
from reports.cells import Held, Material, merge
from reports.drawings import Sensitivity, sensitivity
from zoo.curves import kept
from zoo.measurement import Measurement
from zoo.store import Store


def gather(store: Store | None = None, results: Results | None = None) -> Material:
    """Published measurements of every zoo entry, and the local results that were not published, without samples.

    An entry that cannot be read is left out with a warning: one damaged file must not cost the report of the others.

    Args:
        store: the zoo; default: the local one.
        results: the database; default: the local one.
    """
    from reports.reading import entries

    is_local = store is None and results is None
    results = results or Results()
    store = store or Store()
    held, published, places = [], [], {}
    for entry in entries(store, _warn):
        held.append(Held(entry.artifact, entry.tags))
        for cell, path in entry.cells:
            published.append(cell)
            places[cell.job_key, cell.time] = path
    cells = _shared([*published, *results.latest_summaries()])
    return merge(held, cells, OnDisk(places, results, is_local=is_local), trained.load(), _curves(store))


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


def _shared(cells: list[Measurement]) -> list[Measurement]:
    """The same cells; those of one device share its facts, which are most of a cell's memory."""
    known: dict[tuple[str, str], list[DeviceFacts]] = {}
    return [msgspec.structs.replace(cell, device=_one_of(known, cell.device)) for cell in cells]


def _one_of(known: dict[tuple[str, str], list[DeviceFacts]], facts: DeviceFacts) -> DeviceFacts:
    alike = known.setdefault((facts.name, facts.fingerprint), [])
    for one in alike:
        if one == facts:
            return one
    alike.append(facts)
    return facts


def _warn(problem: PocketzooError) -> None:
    say(f"warning: left out of the report: {problem.as_text().removeprefix('error: ')}")
