"""Publishing an entry: decided on a snapshot, put as one change, and decided anew where somebody was faster."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence

from pocketzoo.errors import PocketzooError, WorkFailed
from pocketzoo.files import sha256_bytes
from zoo.artifact import encode
from zoo.backends.protocol import LARGEST_MEASUREMENT, Change, Moved, Published, Remote, Snapshot
from zoo.backends.tree import MEASUREMENT_FILE
from zoo.decode import decode_measurement
from zoo.pull import stored_signature
from zoo.receive import sound
from zoo.reference import check_tag, matches
from zoo.store import Entry, Store

MOST_TRIES = 40
"""Each lost try means that somebody else published under the name, so this is a bound on others' luck, not on ours."""
_PAUSE_S = 0.05
MOST_OF_OTHERS = 200
"""So many measurements of others are read for the card; each holds every raw sample."""


def push(
    store: Store,
    remote: Remote,
    entry: Entry,
    *,
    tags: Sequence[str],
    check: Callable[[Snapshot | None], None] | None = None,
    signature: bytes | None = None,
    card: bytes | None = None,
    resend: bool = False,
    on_problem: Callable[[PocketzooError], None] | None = None,
) -> Published:
    """Publish an entry with its files, its measurements and, where the store has one, its signature.

    Args:
        store: holds the entry.
        remote: where to.
        entry: what.
        tags: tags that shall point to it there.
        check: called with each snapshot that a put is decided on, before anything is sent; what it raises stops the
            push. This is where gates are.
        signature: the signature bundle; default: the one the store has.
        card: the README.md; default: generated (:mod:`zoo.card`).
        resend: send the files also where the remote seems to have them: its copy is damaged.
        on_problem: is told of measurements that are left out because they are damaged; default: the push fails.

    Raises:
        WorkFailed: a stored file is damaged or missing; others published under the name again and again.
        ReadOnly, RemoteUnavailable, RemoteDenied, RemoteBroken: by the remote.
    """
    artifact = entry.artifact
    for tag in tags:
        check_tag(tag)
    blobs = {}
    with store.lease(record.sha256 for record in artifact.files):
        for record in artifact.files:
            path = store.file(record)
            if not sound(path, record):
                raise WorkFailed(
                    f"the stored file of {record.name} was changed; it is not published",
                    where=str(path),
                    hint=f"zoo verify {artifact.name}",
                )
            blobs[record] = path
        for attempt in range(MOST_TRIES):
            base = remote.snapshot(artifact.name)
            if check is not None:
                check(base)
            there = set(base.measurements.get(artifact.digest, ())) if base else set()
            measurements = _measurements(store, artifact.digest, there, on_problem)
            change = Change(
                name=artifact.name,
                digest=artifact.digest,
                manifest=encode(artifact),
                blobs=blobs,
                tags=tuple(tags),
                measurements=measurements,
                card=card if card is not None else _card(store, remote, entry, base, tags, bool(measurements)),
                signature=signature if signature is not None else stored_signature(store, artifact),
                resend=resend,
            )
            try:
                return remote.put(change, base)
            except Moved:
                # Uneven pauses: publishers that met once should not meet again in step.
                time.sleep(random.uniform(0, _PAUSE_S * min(attempt + 1, 10)))  # noqa: S311
    raise WorkFailed(
        f"others published {artifact.name} {MOST_TRIES} times while this push was decided",
        where=remote.address,
        hint="run the same command again",
    )


def _measurements(
    store: Store, digest: str, there: set[str], on_problem: Callable[[PocketzooError], None] | None
) -> dict[str, bytes]:
    """The measurements a remote lacks, each held against the hash in its name."""
    found = {}
    folder = store.root / "measurements" / digest
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not matches(MEASUREMENT_FILE, path.name) or path.name in there:
            continue
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_MEASUREMENT + 1)
            if sha256_bytes(data)[:16] != path.stem.partition("-")[2]:
                raise WorkFailed("a measurement was changed: it is not what its name says", where=str(path))
            decode_measurement(data, str(path))
        except PocketzooError as problem:
            if on_problem is None:
                raise
            on_problem(problem)
            continue
        found[path.name] = data
    return found


def _card(store: Store, remote: Remote, entry: Entry, base: Snapshot | None, tags: Sequence[str], news: bool) -> bytes:
    """The README.md of what will be there: also with the latencies that others published for this file.

    Where nothing is new nothing is written, and nobody is asked for theirs.
    """
    from zoo.card import card

    artifact = entry.artifact
    known = base or Snapshot(name=artifact.name, manifests={}, tags={})
    pointing = {tag for tag, digest in known.tags.items() if digest == artifact.digest}
    new = news or known.manifests.get(artifact.digest) != encode(artifact) or not pointing.issuperset(tags)
    theirs = []
    held = store.root / "measurements" / artifact.digest
    missing = [name for name in known.measurements.get(artifact.digest, ()) if not (held / name).exists()]
    for name in missing[:MOST_OF_OTHERS] if new else ():
        data = remote.measurement(artifact.name, artifact.digest, name)
        with contextlib.suppress(PocketzooError):  # of an unknown schema, or damaged: not ours to judge, nor to show
            theirs.append(decode_measurement(data, name))
    return card(
        artifact, (*entry.measurements, *theirs), tags=sorted(pointing.union(tags)), url=getattr(remote, "url", None)
    ).encode()
