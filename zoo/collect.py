"""Taking away: entries that are removed, and, after a grace period, what no entry needs any longer (``zoo gc``).

What is needed: every file of every manifest, what a remembered lock file pins, what a lease holds. A manifest or a lock
file that cannot be read might need anything, so nothing is collected until it can. All of it is looked at while the
register of leases is held alone, leases first; why no process can lose a file by that: docs/decisions/0501.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pocketzoo.errors import BadInput, PocketzooError
from zoo.artifact import Artifact
from zoo.kept import read_manifest
from zoo.lease import leased, registering
from zoo.lock import pinned as pinned_by_lock
from zoo.reference import DIGEST, NAME, matches
from zoo.store import Store

Pinned = Callable[[Path], frozenset[str]]
GRACE_S = 24 * 3600.0
LEFTOVER_S = 3600.0
"""Temporary files of writers live for moments; one as old as this was left by a killed process, whatever the grace."""


@dataclass(frozen=True)
class Thing:
    """Something that may be collected: where it is, the digest it is known by, bytes, and when it last changed."""

    path: Path
    digest: str
    size: int
    changed: float


@dataclass(frozen=True)
class Held:
    """What lies in a store, at one moment."""

    manifests: tuple[Artifact, ...]
    written: dict[tuple[str, str], float]
    tagged: frozenset[tuple[str, str]]
    pins: frozenset[str]
    leases: frozenset[str]
    blobs: tuple[Thing, ...]
    partials: tuple[Thing, ...]
    measurements: tuple[Thing, ...]
    signatures: tuple[Thing, ...]
    leftovers: tuple[Thing, ...]


@dataclass(frozen=True)
class Plan:
    """What is to go, and why the rest of what no entry needs stays: it is in use, pinned, or younger than the grace."""

    entries: tuple[tuple[str, str], ...] = ()
    blobs: tuple[Thing, ...] = ()
    partials: tuple[Thing, ...] = ()
    measurements: tuple[Thing, ...] = ()
    signatures: tuple[Thing, ...] = ()
    leftovers: tuple[Thing, ...] = ()
    in_use: int = 0
    pinned: int = 0
    young: int = 0

    @property
    def things(self) -> tuple[Thing, ...]:
        """All files and folders that go; those of entries not among them."""
        return (*self.blobs, *self.partials, *self.measurements, *self.signatures, *self.leftovers)

    @property
    def size(self) -> int:
        """Bytes that become free."""
        return sum(thing.size for thing in self.things)


def collect(
    store: Store,
    *,
    grace_s: float = GRACE_S,
    untagged: bool = False,
    dry_run: bool = False,
    pinned: Pinned = pinned_by_lock,
    now: float | None = None,
) -> Plan:
    """Delete what nothing needs and nothing has touched for the grace period.

    Args:
        store: the zoo.
        grace_s: seconds; what changed later stays.
        untagged: also delete entries that no tag points at, no lock file pins, and no entry that stays descends from.
        dry_run: only say what would go.
        pinned: the digests that a lock file names.
        now: seconds since the epoch; default: the clock.

    Returns:
        What went, or would go.

    Raises:
        BadInput: a manifest or a remembered lock file cannot be read; nothing was deleted.
    """
    if not store.root.is_dir():
        return Plan()
    at = time.time() if now is None else now
    plan = decide(_look(store, pinned), grace_s=grace_s, untagged=untagged, now=at)
    if dry_run or not (plan.entries or plan.things):
        return plan
    with registering(store.root, alone=True):
        # Decided again: what happened since the first look is over now, or has a lease.
        plan = decide(_look(store, pinned, clear=True), grace_s=grace_s, untagged=untagged, now=at)
        for name, digest in plan.entries:
            store.manifest(name, digest).unlink(missing_ok=True)
        for thing in plan.things:
            _delete(thing)
        if not leased(store.root):
            _delete_empty(store.root)
    return plan


def decide(held: Held, *, grace_s: float, untagged: bool, now: float) -> Plan:
    """What is to go. Pure."""

    def old(thing: Thing, at_least: float = 0.0) -> bool:
        return now - thing.changed >= max(grace_s, at_least)

    going = _untagged(held, grace_s, now) if untagged else frozenset()
    staying = [a for a in held.manifests if (a.name, a.digest) not in going]
    needed = {record.sha256 for artifact in staying for record in artifact.files}
    digests = {artifact.digest for artifact in staying}
    entries = {(artifact.name, artifact.digest) for artifact in staying}
    counts = {"in_use": 0, "pinned": 0, "young": 0}

    def free(things: Iterable[Thing], wanted: Callable[[Thing], bool], at_least: float = 0.0) -> tuple[Thing, ...]:
        gone = []
        for thing in things:
            if wanted(thing):
                continue
            if thing.digest in held.leases:
                counts["in_use"] += 1
            elif thing.digest in held.pins:
                counts["pinned"] += 1
            elif not old(thing, at_least):
                counts["young"] += 1
            else:
                gone.append(thing)
        return tuple(gone)

    return Plan(
        entries=tuple(sorted(going)),
        blobs=free(held.blobs, lambda t: t.digest in needed),
        # A partial file is no use to an entry that has its file, and those that have not are pulled again.
        partials=free(held.partials, lambda _: False),
        measurements=free(held.measurements, lambda t: t.digest in digests),
        signatures=free(held.signatures, lambda t: (t.path.parent.name, t.digest) in entries),
        leftovers=free(held.leftovers, lambda _: False, LEFTOVER_S),
        **counts,
    )


def _untagged(held: Held, grace_s: float, now: float) -> frozenset[tuple[str, str]]:
    """Entries with no tag, pin, lease or youth of their own, and no descendant that has."""
    by_digest: dict[str, list[Artifact]] = {}
    for artifact in held.manifests:
        by_digest.setdefault(artifact.digest, []).append(artifact)
    keep: set[tuple[str, str]] = set()
    ways = [
        a
        for a in held.manifests
        if (a.name, a.digest) in held.tagged
        or a.digest in held.pins
        or a.digest in held.leases
        or now - held.written[a.name, a.digest] < grace_s
    ]
    while ways:
        one = ways.pop()
        if (one.name, one.digest) not in keep:
            keep.add((one.name, one.digest))
            ways += by_digest.get(one.parent.digest, []) if one.parent else []
    return frozenset((a.name, a.digest) for a in held.manifests) - keep


def _look(store: Store, pinned: Pinned, *, clear: bool = False) -> Held:
    root = store.root
    leases = leased(root, clear=clear)  # before the manifests: who gives his lease back has written his manifest
    pins = frozenset(digest for _, digests in pins_of(root, pinned, clear=clear) for digest in digests)
    manifests, written = [], {}
    tagged: set[tuple[str, str]] = set()
    for path in _children(root / "entries", "*/*.json"):
        name, digest = path.parent.name, path.stem
        if not matches(NAME, name):
            continue
        try:
            manifests.append(read_manifest(path, name, digest))
            written[name, digest] = path.stat().st_mtime
        except FileNotFoundError:
            continue
        except (PocketzooError, OSError) as error:
            raise BadInput(
                "a manifest cannot be read, so nobody knows which files it needs; nothing was deleted",
                where=str(path),
                detail=(str(error),),
                hint="zoo verify; put the manifest right, or delete that file if the entry is not wanted",
            ) from error
    for name in sorted({artifact.name for artifact in manifests}):
        tagged.update((name, digest) for digest in store.tags(name).values())
    signatures = (p for p in _children(root / "signatures", "*/*.json") if matches(DIGEST, p.stem))
    return Held(
        manifests=tuple(manifests),
        written=written,
        tagged=frozenset(tagged),
        pins=pins,
        leases=leases,
        blobs=tuple(_things(_named(root / "blobs" / "sha256", "??/*"))),
        partials=tuple(_things(_named(root / "partial", "*"))),
        measurements=tuple(_things(_named(root / "measurements", "*"))),
        signatures=tuple(_things(signatures)),
        leftovers=tuple(_things(_leftovers(root))),
    )


def pins_of(root: Path, pinned: Pinned, *, clear: bool = False) -> Iterator[tuple[Path, frozenset[str]]]:
    """The lock files whose places a store remembers, each with what it pins; one that is not there pins nothing.

    Args:
        root: of the store.
        pinned: the digests that a lock file names.
        clear: forget the places where there is none any longer.

    Raises:
        BadInput: one cannot be read.
    """
    for note in _children(root / "roots", "*"):
        if not matches(DIGEST, note.name):
            continue
        path = Path(os.fsdecode(note.read_bytes()))
        try:
            path.stat()
            yield path, pinned(path)
        except (FileNotFoundError, NotADirectoryError):
            if clear:
                note.unlink(missing_ok=True)
        except (PocketzooError, OSError) as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BadInput:
    return BadInput(
        "a lock file cannot be read, so nobody knows what it pins; nothing was deleted",
        where=str(path),
        detail=(str(error),),
        hint="put it right, or delete it if it is not wanted",
    )


def _children(folder: Path, pattern: str) -> list[Path]:
    """What matches in a folder and the folders in it; those that vanish meanwhile have nothing in them."""
    first, _, rest = pattern.partition("/")
    try:
        found = sorted(path for path in folder.iterdir() if fnmatchcase(path.name, first))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [each for path in found for each in _children(path, rest)] if rest else found


def _named(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in _children(folder, pattern) if matches(DIGEST, path.name))


def _leftovers(root: Path) -> Iterator[Path]:
    for folder in ("blobs/sha256/*", "entries/*", "tags/*", "measurements/*", "signatures/*", "roots"):
        yield from _children(root, f"{folder}/.*.tmp")


def _things(paths: Iterable[Path]) -> Iterator[Thing]:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            # A temporary file is named after what it will be, so that the lease of a blob protects its copy, too.
            digest = path.stem if path.suffix == ".json" else path.name.lstrip(".").partition(".")[0]
            size, changed = status.st_size, status.st_mtime
            if path.is_dir() and not path.is_symlink():
                inside = [file.stat() for file in path.iterdir()]
                size = sum(file.st_size for file in inside)
                changed = max([changed, *(file.st_mtime for file in inside)])
            yield Thing(path, digest, size, changed)


def _delete(thing: Thing) -> None:
    with contextlib.suppress(FileNotFoundError):
        if thing.path.is_dir() and not thing.path.is_symlink():
            for file in thing.path.iterdir():
                file.unlink()
            thing.path.rmdir()
        elif thing.path.parent.name == "partial":
            _delete_partial(thing.path)
        else:
            thing.path.unlink()


def _delete_partial(path: Path) -> None:
    """Unless somebody is receiving it: he holds the lock, and looks again at what is there once he has it."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        pass
    finally:
        os.close(handle)


def _delete_empty(root: Path) -> None:
    for folder in ("entries/*", "tags/*", "signatures/*", "blobs/sha256/*"):
        for path in _children(root, folder):
            with contextlib.suppress(OSError):  # not empty, or no folder
                path.rmdir()
