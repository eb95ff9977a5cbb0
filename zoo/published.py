"""One entry with all its numbers, read from where it is published; its files are not fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pocketzoo.errors import BadInput, PocketzooError
from pocketzoo.files import sha256_bytes
from zoo.asking import Asking, decode_manifest, nowhere, pick
from zoo.backends.protocol import Remote, RemoteBroken, Snapshot
from zoo.candidate import LOCAL
from zoo.decode import decode_measurement
from zoo.measurement import Measurement
from zoo.reference import Reference, parse_reference
from zoo.remotes import RemoteConfig, load_remotes
from zoo.store import Entry, Store

AT_ONCE = 8
MOST_BYTES = 1 << 30  # of the measurements of one entry


@dataclass(frozen=True)
class Seen:
    """An entry and where it was seen: ``local`` or the name of a remote. ``warnings`` name records left out."""

    entry: Entry
    source: str
    warnings: tuple[str, ...] = ()


def see(
    reference: str,
    *,
    store: Store | None = None,
    remotes: Sequence[RemoteConfig] | None = None,
    offline: bool = False,
) -> Seen:
    """The entry a reference means, out of the store or, where that has none, of the first remote that does.

    Raises:
        BadInput: not a reference; nobody has it (with the nearest names).
        RemoteUnavailable, RemoteDenied, RemoteBroken: nobody who answered has it, and somebody did not answer.
    """
    ref = parse_reference(reference)
    store = store or Store()
    if ref.remote in (None, LOCAL):
        try:
            return Seen(store.get(Reference(ref.name, ref.tag, ref.digest)), LOCAL)
        except BadInput:
            if offline or ref.remote == LOCAL:
                raise
    elif offline:
        raise BadInput(f"{ref} names a remote, and --offline asks none", hint="leave the remote out of the name")
    configs = tuple(remotes) if remotes is not None else load_remotes().in_order()
    if ref.remote not in (None, LOCAL):
        configs = tuple(c for c in configs if c.name == ref.remote) or (load_remotes().find(str(ref.remote)),)
    elsewhere: list[str] = []
    with Asking(configs) as asking:
        for config in configs:
            try:
                remote = asking.remote(config)
                snapshot = remote.snapshot(ref.name)
                digest = pick(snapshot, ref) if snapshot is not None else None
                if snapshot is not None and digest is not None:
                    warnings: list[str] = []
                    return Seen(published_entry(remote, snapshot, digest, warnings), config.name, tuple(warnings))
                elsewhere += [f"{config.name}/{ref.name}:{tag}" for tag in snapshot.tags] if snapshot else []
            except PocketzooError as error:
                asking.failed[config.name] = error
        raise nowhere(store, ref, asking, elsewhere)


def published_entry(remote: Remote, snapshot: Snapshot, digest: str, warnings: list[str]) -> Entry:
    """An entry of a snapshot with the measurements published for it, oldest first; damaged ones are left out.

    Raises:
        BadInput, RemoteBroken: its manifest cannot be read or is about something else.
    """
    artifact = decode_manifest(snapshot, digest, remote.address)
    tags = tuple(sorted(tag for tag, at in snapshot.tags.items() if at == digest))
    found = sorted(_measurements(remote, snapshot, digest, warnings), key=lambda m: (m.time, m.job_key))
    return Entry(artifact, tags, tuple(found))


def _measurements(remote: Remote, snapshot: Snapshot, digest: str, warnings: list[str]) -> Iterator[Measurement]:
    names = snapshot.measurements.get(digest, ())
    left = MOST_BYTES

    def fetched(name: str) -> tuple[int, Measurement] | PocketzooError:
        try:
            data = remote.measurement(snapshot.name, digest, name)
            key, _, tail = name.removesuffix(".json").partition("-")
            if sha256_bytes(data)[:16] != tail:
                raise RemoteBroken("its content is not what its name says", where=remote.address)
            measurement = decode_measurement(data, remote.address)
            if measurement.artifact_sha256 != digest or measurement.job_key != key:
                raise RemoteBroken("it belongs to another file or cell", where=remote.address)
        except PocketzooError as error:
            return error
        return len(data), measurement

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="measurement") as threads:
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            for name, answer in zip(some, threads.map(fetched, some), strict=True):
                if isinstance(answer, PocketzooError):
                    warnings.append(f"left out the measurement {name}: {answer.what}")
                    continue
                left -= answer[0]
                yield answer[1]
            if left < 0:
                warnings.append(
                    f"left out {len(names) - start - len(some)} measurements: more than {MOST_BYTES:,} bytes"
                )
                return
