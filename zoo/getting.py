"""A pull from end to end: by name, by need or by lock file; what was decided, brought here and pinned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pocketzoo.errors import BadInput, WorkFailed
from zoo import pull as pulling
from zoo.candidate import LOCAL
from zoo.choice_text import latency_record
from zoo.choose import Chosen, choose
from zoo.constraints import Constraints, query_text
from zoo.lock import Figures, Pin, find_pin, read_lock, write_pin
from zoo.progress import Progress
from zoo.pull import Offer, Pulled
from zoo.reference import Reference, check_tag, parse_reference
from zoo.remotes import RemoteConfig
from zoo.resolve import Choice
from zoo.store import Store

Accept = Callable[[Offer], None]


@dataclass(frozen=True)
class Got:
    """What a pull by need or lock did: the answer, where there was a question, and what was pulled."""

    pulled: Pulled
    query: str
    chosen: Chosen | None = None


def get(
    reference: str,
    constraints: Constraints | None = None,
    *,
    store: Store | None = None,
    remotes: Sequence[RemoteConfig] | None = None,
    offline: bool = False,
    refresh: bool = False,
    inventory: Path | None = None,
    progress: Progress | None = None,
    accept: Accept | None = None,
    told: Callable[[Chosen], None] | None = None,
) -> Got:
    """Pull the entry a reference names or, where something is asked of it, the one of its family that fits best.

    Args:
        reference: see :mod:`zoo.reference`.
        constraints: what it must be; None or empty: just that entry.
        store: default: the local zoo.
        remotes: who may be asked; default: those that are configured.
        offline: ask nobody.
        refresh: ask the remotes also where the store has a named entry.
        inventory: a file with further devices.
        progress: is told of each block.
        accept: see :func:`zoo.pull.pull`.
        told: is told the choice before anything is fetched.

    Raises:
        NoneFits: nothing satisfies the constraints; with the nearest misses.
        PocketzooError: see :func:`zoo.choose.choose` and :func:`zoo.pull.pull`.
    """
    store = store or Store()
    query = query_text(str(parse_reference(reference)), constraints or Constraints())
    if constraints is None or not constraints.asks:
        pulled = pulling.pull(
            reference,
            store=store,
            remotes=remotes,
            offline=offline,
            refresh=refresh,
            progress=progress,
            accept=accept,
        )
        return Got(pulled, query)
    chosen = choose(reference, constraints, store=store, remotes=remotes, offline=offline, inventory=inventory)
    if told is not None:
        told(chosen)
    candidate = chosen.row().candidate
    exact = Reference(
        candidate.name, digest=candidate.digest, remote=None if candidate.source == LOCAL else candidate.source
    )
    pulled = pulling.pull(exact, store=store, remotes=remotes, offline=offline, progress=progress, accept=accept)
    return Got(_tagged(store, pulled, candidate.tags), query, chosen)


def _tagged(store: Store, pulled: Pulled, tags: Sequence[str]) -> Pulled:
    """Give an entry that was pulled by its digest the tags it has where it came from, where none of them is taken.

    Without a tag it would count as replaced; a tag that means another entry here is not moved by a question.
    """
    entry = pulled.entry
    if entry.tags:
        return pulled
    free = []
    for tag in tags:
        try:
            store.get(Reference(entry.artifact.name, tag=check_tag(tag)))
        except BadInput:
            free.append(tag)
    if not free:
        return pulled
    store.enter(entry.artifact, tags=tuple(free))
    found = store.get(Reference(entry.artifact.name, digest=entry.artifact.digest))
    return replace(pulled, entry=found)


def pin_of(got: Got) -> Pin:
    """The pin that makes a pull repeatable."""
    artifact = got.pulled.entry.artifact
    return Pin(
        query=got.query,
        name=artifact.name,
        digest=artifact.digest,
        files=artifact.files,
        remote=got.pulled.address if got.pulled.source != LOCAL else None,
        figures=_figures(got.chosen.choice) if got.chosen is not None else None,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _figures(choice: Choice) -> Figures | None:
    row = choice.chosen
    if row is None:
        return None
    return Figures(
        size_bytes=row.candidate.size_bytes,
        accuracy=tuple(a for a in row.accuracies if a is not None),
        latency=None if row.latency is None else msgspec.to_builtins(latency_record(row.latency)),
    )


def write_lock(path: Path, got: Got, *, store: Store | None = None) -> Pin | None:
    """Pin what was pulled in a lock file, and have the store keep what that pins.

    Returns:
        The pin it replaced.

    Raises:
        BadInput: what is there is no lock file.
    """
    before = write_pin(path, pin_of(got))
    (store or Store()).remember_lock(path)
    return before


def get_locked(
    path: Path,
    query: str | None = None,
    *,
    store: Store | None = None,
    remotes: Sequence[RemoteConfig] | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    accept: Accept | None = None,
) -> list[Got]:
    """Pull exactly what a lock file pins: one query's answer, or everything. Nothing is chosen anew.

    Args:
        path: the lock file.
        query: in its canonical text; None: all pins.
        store: default: the local zoo.
        remotes: who may be asked for what the store lacks; the lock file's own addresses are not.
        offline: ask nobody.
        progress: is told of each block.
        accept: see :func:`zoo.pull.pull`.

    Raises:
        BadInput: no lock file, a damaged one, or one without this query.
        WorkFailed: the entry has other files than those that were pinned.
        PocketzooError: see :func:`zoo.pull.pull`.
    """
    store = store or Store()
    lock = read_lock(path)
    pins = lock.pins if query is None else (find_pin(lock, query, str(path)),)
    found = []
    for pin in pins:

        def same_files(offer: Offer, pin: Pin = pin) -> None:
            if offer.artifact.files != pin.files:
                raise WorkFailed(
                    f"{pin.name}@sha256:{pin.digest[:12]} has other files than those that were pinned",
                    where=str(path),
                    detail=tuple(f"pinned: {f.name} sha256:{f.sha256}, {f.size:,} bytes" for f in pin.files),
                    hint=f"zoo pull {pin.query} --lock, if the new files are wanted",
                )
            if accept is not None:
                accept(offer)

        pulled = pulling.pull(
            Reference(pin.name, digest=pin.digest),
            store=store,
            remotes=remotes,
            offline=offline,
            progress=progress,
            accept=same_files,
        )
        found.append(Got(pulled, pin.query))
    store.remember_lock(path)
    return found
