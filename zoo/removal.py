"""Removing a tag or an entry on purpose. Files and measurements stay until they are collected (:mod:`zoo.collect`)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from pocketzoo.errors import BadInput, WorkFailed
from zoo.collect import Pinned, pins_of
from zoo.kept import read_manifest
from zoo.lease import leased, registering
from zoo.lock import pinned as pinned_by_lock
from zoo.reference import LATEST, Reference, parse_reference
from zoo.store import Store


@dataclass(frozen=True)
class Removed:
    """What was removed: tags, and the entry unless it was a tag alone that was named."""

    name: str
    digest: str
    tags: tuple[str, ...]
    entry: bool


def remove(
    store: Store, reference: str | Reference, *, force: bool = False, pinned: Pinned = pinned_by_lock
) -> Removed:
    """Remove what a reference names: ``name:tag`` that tag alone, ``name`` and ``name@sha256:...`` the entry it means
    with all its tags.

    Its files, measurements and signature are collected when the grace period is over that begins now; until then
    adding or pulling it again brings everything back. The tag that led here goes last, so that a removal that was
    killed is gone on with by the same command.

    Args:
        store: the zoo.
        reference: what.
        force: also where another entry names it as its parent, or a lock file pins it.
        pinned: the digests that a lock file names.

    Raises:
        BadInput: no such entry or tag; it is a parent or pinned, and ``force`` is not given.
        WorkFailed: another process is using it.
    """
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    if not store.root.is_dir() or ref.remote is not None:
        store.get(ref)  # tells what is wrong
    with registering(store.root, alone=True):
        tags = store.tags(ref.name)
        wanted = ref.tag or LATEST
        if ref.tag is not None and ref.tag in tags:
            (store.root / "tags" / ref.name / ref.tag).unlink(missing_ok=True)
            return Removed(ref.name, tags[ref.tag], (ref.tag,), entry=False)
        digest = ref.digest or (tags.get(wanted) if ref.tag is None else None)
        leading = [wanted] if ref.digest is None else []
        if digest is None or not (store.manifest(ref.name, digest).exists() or digest in tags.values()):
            digest, leading = store.get(ref).artifact.digest, []
        if digest in leased(store.root):
            raise WorkFailed(f"{ref.name} is in use by another process", where=str(store.root), hint="try again later")
        if not force:
            _check_unneeded(store, ref.name, digest, pinned)
        pointing = [tag for tag, target in tags.items() if target == digest]
        _renew(store, ref.name, digest)
        store.manifest(ref.name, digest).unlink(missing_ok=True)
        for tag in sorted(pointing, key=lambda tag: tag in leading):
            (store.root / "tags" / ref.name / tag).unlink(missing_ok=True)
    return Removed(ref.name, digest, tuple(pointing), entry=True)


def _check_unneeded(store: Store, name: str, digest: str, pinned: Pinned) -> None:
    others = store.candidates(on_problem=lambda _: None)
    if not any(c.digest == digest and c.name != name for c in others):
        children = sorted({c.name for c in others if c.parent == digest})
        if children:
            more = f" and {len(children) - 5} more" if len(children) > 5 else ""
            raise BadInput(
                f"{name}@sha256:{digest[:12]} is the parent of {', '.join(children[:5])}{more}",
                where=str(store.root),
                hint="remove them first, or add --force",
            )
    for path, digests in pins_of(store.root, pinned):
        if digest in digests:
            raise BadInput(
                f"a lock file pins {name}@sha256:{digest[:12]}",
                where=str(path),
                hint="add --force; its files stay as long as it is pinned",
            )


def _renew(store: Store, name: str, digest: str) -> None:
    """Start the grace period of what the entry alone may need."""
    places = [store.blob(digest), store.root / "measurements" / digest]
    places.append(store.root / "signatures" / name / f"{digest}.json")
    with contextlib.suppress(BadInput, OSError):
        places += [
            store.blob(record.sha256) for record in read_manifest(store.manifest(name, digest), name, digest).files
        ]
    for place in places:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            os.utime(place)
