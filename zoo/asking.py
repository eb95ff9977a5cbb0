"""Asking remotes in their order: opened when they are first asked, and what came of it is said."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack

from pocketzoo.errors import BadInput, PocketzooError
from pocketzoo.names import did_you_mean
from zoo.artifact import Artifact
from zoo.backends.protocol import Remote, RemoteBroken, RemoteUnavailable, Snapshot
from zoo.decode import decode_artifact
from zoo.reference import LATEST, Reference
from zoo.remotes import RemoteConfig, open_remote
from zoo.store import Store


class Asking:
    """The remotes of one command, closed with the block. ``failed`` holds those that did not answer, and why."""

    def __init__(self, configs: Sequence[RemoteConfig]) -> None:
        self.configs = configs
        self.failed: dict[str, PocketzooError] = {}
        self._open: dict[str, Remote] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def remote(self, config: RemoteConfig) -> Remote:
        """The remote, opened once."""
        with self._lock:
            if config.name not in self._open:
                remote = open_remote(config)
                self._stack.callback(remote.close)
                self._open[config.name] = remote
            return self._open[config.name]

    def address(self, config: RemoteConfig) -> str:
        """For messages, also where it could not be opened."""
        remote = self._open.get(config.name)
        return remote.address if remote is not None else config.url


def pick(snapshot: Snapshot, ref: Reference) -> str | None:
    """The digest a reference means in a snapshot; the same rule as the store's. None: it is not there."""
    if ref.digest is not None:
        return ref.digest if ref.digest in snapshot.manifests else None
    digest = snapshot.tags.get(ref.tag or LATEST)
    if digest is None and ref.tag is None and not snapshot.tags and len(snapshot.manifests) == 1:
        (digest,) = snapshot.manifests
    return digest


def decode_manifest(snapshot: Snapshot, digest: str, where: str) -> Artifact:
    """The manifest of an entry, which must be about the name and file that were asked for.

    Raises:
        BadInput: it is damaged, or of a schema this version does not read.
        RemoteBroken: it is about something else.
    """
    artifact = decode_artifact(snapshot.manifests[digest], where)
    if artifact.name != snapshot.name or artifact.digest != digest:
        raise RemoteBroken(
            f"asked for {snapshot.name}@sha256:{digest[:12]}, given a manifest of "
            f"{artifact.name}@sha256:{artifact.digest[:12]}",
            where=where,
        )
    return artifact


def nowhere(store: Store, ref: Reference, asking: Asking, elsewhere: list[str]) -> PocketzooError:
    """Nobody has it: the nearest names over all that were asked, who was asked, and who did not answer."""
    known = set(store.names()) if ref.remote is None else set()
    for config in asking.configs:
        if config.name not in asking.failed:
            try:
                known.update(asking.remote(config).names())
            except PocketzooError as error:
                asking.failed[config.name] = error
    asked = [f"{c.name} ({asking.address(c)})" for c in asking.configs if c.name not in asking.failed]
    if ref.remote is None:
        asked.insert(0, f"the local zoo ({store.root})")
    detail = []
    if elsewhere:
        detail.append(f"there is {', '.join(sorted(elsewhere)[:8])}")
    elif ref.name in known and ref.name in store.names():
        detail.append(f"the name is known: zoo show {ref.name}")
    elif (close := did_you_mean(ref.name, known - {ref.name})) is not None:
        detail.append(close)
    detail += [f"asked: {', '.join(asked)}"] if asked else []
    detail += [
        f"did not answer: {name}: {error.what}{f' ({error.where})' if error.where else ''}"
        for name, error in asking.failed.items()
    ]
    wanted = str(Reference(ref.name, ref.tag, ref.digest))
    if asking.failed:
        first = next(iter(asking.failed.values()))
        # One remote alone was asked: its own error says it best, with its own class and hint.
        if len(asking.configs) == 1 and not elsewhere:
            first.detail = tuple(dict.fromkeys([*first.detail, *(line for line in detail if "not answer" not in line)]))
            return first
        return RemoteUnavailable(
            f"{wanted} is not in what answered, and not all answered",
            detail=tuple(detail),
            hint=first.hint or "run the same command again",
        )
    return BadInput(
        f"no model {wanted!r} in {'the local zoo or any remote' if ref.remote is None else ref.remote}",
        detail=tuple(detail),
        hint="zoo remote add NAME URL" if not asking.configs else f"zoo list --remote {asking.configs[0].name}",
    )
