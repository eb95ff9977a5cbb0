"""Choosing over everything that can be asked: the store and the remotes, down to the one entry or the nearest misses.

A remote is asked for the names that may be of the family: all that its owner published where those are few
(``FEW_NAMES``), else those that bear the name. Of measurements only the facts are kept (:mod:`zoo.facts_cache`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.names import did_you_mean
from pocketzoo.printable import printable
from zoo.asking import Asking, decode_manifest, nowhere
from zoo.backends.protocol import Remote, Snapshot
from zoo.candidate import LOCAL, Candidate, CellFacts, candidate
from zoo.choice_text import choice_record, misses_text
from zoo.constraints import Constraints, as_options, check_constraints
from zoo.facts_cache import FactsCache
from zoo.family import is_variant
from zoo.reference import Reference, parse_reference
from zoo.remotes import RemoteConfig, load_remotes
from zoo.resolve import Choice, Row, merged, next_command, resolve
from zoo.store import Store

FEW_NAMES = 64
AT_ONCE = 8
MOST_MEASUREMENTS = (
    10_000  # of one entry that are asked for at a remote; a remote is not believed about how many it has
)


class NoneFits(WorkFailed):
    """Nothing satisfies what was asked for; ``choice`` has the misses, the nearest first."""

    def __init__(self, choice: Choice, detail: tuple[str, ...]) -> None:
        asked = as_options(choice.constraints)
        super().__init__(
            f"no model of {choice.wanted} satisfies {asked}" if asked else f"no model of {choice.wanted} fits",
            detail=detail,
            hint=next_command(choice) or f"zoo list, or zoo pull {choice.wanted} with less asked for",
        )
        self.choice = choice

    def as_record(self) -> dict[str, object]:
        """With the misses as records."""
        return {**super().as_record(), "choice": choice_record(self.choice)}


@dataclass(frozen=True)
class Chosen:
    """The answer and where it was looked for.

    Args:
        choice: what fits and what does not.
        asked: where, the local zoo first: names with addresses.
        warnings: remotes that did not answer, entries and measurements that were left out.
    """

    choice: Choice
    asked: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def row(self) -> Row:
        """The chosen one.

        Raises:
            NoneFits: there is none; says the nearest misses, where they were looked for, and a command.
        """
        if self.choice.chosen is not None:
            return self.choice.chosen
        raise NoneFits(self.choice, (*misses_text(self.choice), f"asked: {', '.join(self.asked)}", *self.warnings))


def choose(
    reference: str | Reference,
    constraints: Constraints,
    *,
    store: Store | None = None,
    remotes: Sequence[RemoteConfig] | None = None,
    offline: bool = False,
    inventory: Path | None = None,
) -> Chosen:
    """Find the entry that satisfies the constraints, wherever it is.

    Args:
        reference: without tag or digest its family counts; with a remote that remote alone is asked.
        constraints: what is asked for.
        store: default: the local zoo.
        remotes: who may be asked, in order; default: those that are configured, the default remote first.
        offline: ask nobody.
        inventory: a file with further devices.

    Raises:
        BadInput: not a reference; constraints that make no sense; a device nobody knows; a name nobody has.
        RemoteUnavailable, RemoteDenied, RemoteBroken: nobody who answered has the name, and somebody did not answer.
    """
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    wanted = check_constraints(constraints)
    store = store or Store()
    wanted = on_this_machine(wanted, inventory)
    warnings: list[str] = []
    candidates: list[Candidate] = []
    if ref.remote in (None, LOCAL):
        candidates += local_candidates(store, warnings, wanted.device)
    elif offline:
        raise BadInput(f"{ref} names a remote, and --offline asks none", hint="leave the remote out of the name")
    configs: tuple[RemoteConfig, ...] = ()
    if not offline and ref.remote != LOCAL:
        configs = tuple(remotes) if remotes is not None else load_remotes().in_order()
        if ref.remote is not None:
            configs = tuple(c for c in configs if c.name == ref.remote) or (load_remotes().find(ref.remote),)
    with Asking(configs) as asking:
        candidates += _from_remotes(asking, ref, wanted, warnings)
        everything = merged(candidates, [config.name for config in configs])
        choice = resolve(str(ref), wanted, everything)
        if not choice.fits and not choice.misses:
            raise nowhere(store, ref, asking, _tags_of(ref, everything))
        if not any(cell.device == wanted.device for c in everything for cell in c.cells):
            check_device(wanted, [*everything, *store.candidates(on_problem=lambda _: None)], inventory)
        asked = [f"the local zoo ({store.root})"] if ref.remote in (None, LOCAL) else []
        asked += [f"{c.name} ({asking.address(c)})" for c in configs if c.name not in asking.failed]
        silent = [
            f"{name} did not answer: {error.what}{f' ({error.where})' if error.where else ''}"
            for name, error in asking.failed.items()
        ]
    return Chosen(choice, tuple(asked), tuple(map(printable, (*silent, *warnings))))


def local_candidates(store: Store, warnings: list[str], device: str | None) -> list[Candidate]:
    """Every entry of the store with the cells of a device; what cannot be read is left out with a warning."""

    def problem(error: PocketzooError) -> None:
        warnings.append(f"left out: {error.what}{f' ({error.where})' if error.where else ''}")

    # Without a device no cell is looked at; a name that no device has, so that none is read.
    return store.candidates(device=device or "", on_problem=problem)


def _tags_of(ref: Reference, candidates: Iterable[Candidate]) -> list[str]:
    """Tags there are under a name, where the one that is asked for is not."""
    return [f"{c.name}:{tag}" for c in candidates if c.name == ref.name for tag in c.tags]


def on_this_machine(wanted: Constraints, inventory: Path | None) -> Constraints:
    """Where the device is this machine: its fingerprint. Others publish numbers of their machine under that name too.

    Raises:
        BadInput: a damaged inventory.
    """
    if wanted.device is None:
        return wanted
    from devices.inventory import load_inventory
    from devices.spec import LocalTransport

    found = {spec.name: spec for spec in load_inventory(inventory)}.get(wanted.device)
    if found is None or not isinstance(found.transport, LocalTransport):
        return wanted
    from devices.here import this_machine

    return msgspec.structs.replace(wanted, fingerprint=this_machine(found).fingerprint)


def check_device(wanted: Constraints, candidates: Iterable[Candidate], inventory: Path | None) -> None:
    """Refuse a device that neither the inventory nor any measurement knows."""
    if wanted.device is None:
        return
    measured = {cell.device for c in candidates for cell in c.cells}
    if wanted.device in measured:
        return
    from devices.inventory import load_inventory

    known = {*load_inventory(inventory).names, *measured}
    if wanted.device not in known:
        close = did_you_mean(wanted.device, known)
        raise BadInput(
            f"nobody knows a device {wanted.device!r}" + (f"; {close}" if close else ""),
            detail=(f"measured on: {', '.join(sorted(measured)[:12]) or 'none'}",),
            hint="devices list",
        )


def _from_remotes(asking: Asking, ref: Reference, wanted: Constraints, warnings: list[str]) -> list[Candidate]:
    found: list[Candidate] = []
    cache = FactsCache()
    for config in asking.configs:
        try:
            remote = asking.remote(config)
            # A server that is far away answers eight questions in the time of one.
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="snapshot") as threads:
                for snapshot in threads.map(remote.snapshot, _names(remote, ref)):
                    if snapshot is not None:
                        found += _candidates(remote, config.name, snapshot, cache, wanted, warnings)
        except PocketzooError as error:
            asking.failed[config.name] = error
    return found


def _names(remote: Remote, ref: Reference) -> Sequence[str]:
    """The names of a remote that may be of the family."""
    if ref.tag is not None or ref.digest is not None:
        return (ref.name,)
    names = remote.names()
    return names if len(names) <= FEW_NAMES else [name for name in names if is_variant(name, ref.name)]


def _candidates(
    remote: Remote, source: str, snapshot: Snapshot, cache: FactsCache, wanted: Constraints, warnings: list[str]
) -> list[Candidate]:
    found = []
    for digest in sorted(snapshot.manifests):
        try:
            artifact = decode_manifest(snapshot, digest, remote.address)
        except PocketzooError as error:
            warnings.append(f"left out {snapshot.name}@sha256:{digest[:12]} of {source}: {error.what}")
            continue
        tags = tuple(sorted(tag for tag, at in snapshot.tags.items() if at == digest))
        cells: Sequence[CellFacts] = ()
        if wanted.device is not None:
            cells = _cells(remote, source, snapshot, digest, cache, warnings)
        found.append(msgspec.structs.replace(candidate(artifact, source, tags, ()), cells=tuple(cells)))
    return found


def _cells(
    remote: Remote, source: str, snapshot: Snapshot, digest: str, cache: FactsCache, warnings: list[str]
) -> list[CellFacts]:
    """The facts of an entry's measurements; those not seen before are fetched and held against the hash they bear."""
    files = snapshot.measurements.get(digest, ())
    seen = {name: cache.get(digest, name) for name in files}
    new = [name for name, cell in seen.items() if cell is None]
    if len(new) > MOST_MEASUREMENTS:
        warnings.append(f"left out {len(new) - MOST_MEASUREMENTS} measurements of {source}/{snapshot.name}: too many")
        del new[MOST_MEASUREMENTS:]

    def fetched(name: str) -> CellFacts | PocketzooError:
        try:
            return cache.put(digest, name, remote.measurement(snapshot.name, digest, name), remote.address)
        except PocketzooError as error:
            return error

    cells = [cell for cell in seen.values() if cell is not None]
    if not new:
        return cells
    with ThreadPoolExecutor(min(AT_ONCE, len(new)), thread_name_prefix="facts") as threads:
        for name, answer in zip(new, threads.map(fetched, new), strict=True):
            if isinstance(answer, CellFacts):
                cells.append(answer)
            else:
                warnings.append(f"left out the measurement {name} of {source}/{snapshot.name}: {answer.what}")
    return cells
