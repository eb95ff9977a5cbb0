"""What a remote holds: its manifests, without files and without samples."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pocketzoo.errors import PocketzooError
from zoo.artifact import Artifact
from zoo.asking import decode_manifest
from zoo.backends.protocol import Remote

NAMES_AT_ONCE = 8


@dataclass(frozen=True)
class Listed:
    """An entry as a remote lists it; ``measurements`` is how many files of them are published."""

    artifact: Artifact
    tags: tuple[str, ...]
    measurements: int


def remote_listing(remote: Remote, on_problem: Callable[[PocketzooError], None]) -> list[Listed]:
    """Every entry of a remote, by name, then by digest.

    Args:
        remote: asked for all its names, several at once.
        on_problem: called with the error of a name or manifest that cannot be read, which is then left out.

    Raises:
        RemoteUnavailable, RemoteDenied, RemoteBroken: it does not even tell its names.
    """
    found = []
    names = remote.names()
    with ThreadPoolExecutor(NAMES_AT_ONCE, thread_name_prefix="listing") as threads:
        jobs = [threads.submit(remote.snapshot, name) for name in names]
        for job in jobs:
            try:
                snapshot = job.result()
            except PocketzooError as problem:
                on_problem(problem)
                continue
            if snapshot is None:
                continue
            for digest in sorted(snapshot.manifests):
                try:
                    artifact = decode_manifest(snapshot, digest, remote.address)
                except PocketzooError as problem:
                    on_problem(problem)
                    continue
                tags = tuple(sorted(tag for tag, target in snapshot.tags.items() if target == digest))
                found.append(Listed(artifact, tags, len(snapshot.measurements.get(digest, ()))))
    return found
