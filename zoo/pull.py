"""Getting an entry: from the store if it is there, else from the remotes in their order, every byte hashed.

``zoo pull NAME`` asks the store first, and where it holds the entry whole, nobody else. ``zoo pull REMOTE/NAME`` asks
that remote: what is in the store already is not fetched again, tags and new measurements are.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import sha256_bytes, write_atomically
from zoo.artifact import Artifact, FileRecord
from zoo.asking import Asking, decode_manifest, nowhere, pick
from zoo.backends.protocol import LARGEST_SIGNATURE, Blob, Remote, RemoteBroken, Snapshot
from zoo.candidate import LOCAL
from zoo.decode import decode_measurement
from zoo.measurement import Measurement
from zoo.progress import Progress
from zoo.receive import Received, Source, receive, sound
from zoo.reference import LATEST, Reference, parse_reference
from zoo.remotes import RemoteConfig, load_remotes
from zoo.store import Entry, Store

FILES_AT_ONCE = 4
RECORDS_AT_ONCE = 8
MOST_RECORD_BYTES = 1 << 30  # of measurements in one pull
SPARE_BYTES = 16 << 20  # that a pull leaves free


@dataclass(frozen=True)
class Offer:
    """An entry that was received whole and is not visible yet. ``manifest`` has the remote's own bytes."""

    manifest: bytes
    artifact: Artifact
    files: Mapping[FileRecord, Path]
    signature: bytes | None
    source: str


@dataclass(frozen=True)
class Pulled:
    """What a pull did.

    Args:
        entry: as the store holds it now.
        source: the remote's name; ``local`` where nobody was asked.
        address: where that is.
        fetched: bytes of files that came over the wire.
        resumed: bytes of files that an earlier, broken pull had left.
        measurements: how many were new.
        warnings: what a person should know: remotes that did not answer, a tag that moved, records left out.
    """

    entry: Entry
    source: str
    address: str
    fetched: int = 0
    resumed: int = 0
    measurements: int = 0
    warnings: tuple[str, ...] = ()


def pull(
    reference: str | Reference,
    *,
    store: Store | None = None,
    remotes: Sequence[RemoteConfig] | None = None,
    offline: bool = False,
    refresh: bool = False,
    progress: Progress | None = None,
    accept: Callable[[Offer], None] | None = None,
    consider: Callable[[Artifact], None] | None = None,
) -> Pulled:
    """Bring an entry into the store.

    Args:
        reference: ``[remote/]name[:tag|@sha256:...]``; the remote ``local`` means the store alone.
        store: where it shall be; default: the local zoo.
        remotes: who may be asked, in order; default: those that are configured, the default remote first.
        offline: ask nobody.
        refresh: ask the remotes also where the store has the entry.
        progress: is told of each block.
        accept: called before the entry becomes visible; what it raises stops the pull. It is called for an entry out
            of the store, too.
        consider: called with what a remote says the entry is, before any file is asked for; what it raises stops the
            pull.

    Raises:
        BadInput: not a reference; no such remote; nobody has the name, tag or digest (with the nearest names).
        RemoteUnavailable, RemoteDenied, RemoteBroken: nobody who answered has it, and somebody did not answer; or the
            files did not come as their manifest says.
        WorkFailed: not enough space.
    """
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    store = store or Store()
    problem: PocketzooError | None = None
    if ref.remote in (None, LOCAL):
        held, problem = _held(store, ref)
        if held is not None and problem is None and (offline or ref.remote == LOCAL or not refresh):
            if accept is not None:
                accept(_offer(store, held))
            return Pulled(held, LOCAL, str(store.root))
        if problem is not None and (offline or ref.remote == LOCAL):
            raise problem
        if problem is not None and held is not None:  # damaged here: it is this file that is wanted, whatever moved
            ref = Reference(ref.name, digest=held.artifact.digest)
    elif offline:
        raise BadInput(
            f"{ref} names a remote, and --offline asks none",
            hint=f"zoo pull --offline {Reference(ref.name, ref.tag, ref.digest)}",
        )
    configured = tuple(remotes) if remotes is not None else load_remotes().in_order()
    chosen = _named(configured, ref.remote) if ref.remote else configured
    if not chosen and problem is not None:
        if isinstance(problem, BadInput):
            problem.hint = "zoo remote add NAME URL: no remote is configured that could be asked"
        raise problem
    with Asking(chosen) as asking:
        return _from_remotes(store, ref, asking, progress, accept, consider)


def _named(configured: Sequence[RemoteConfig], name: str) -> tuple[RemoteConfig, ...]:
    for remote in configured:
        if remote.name == name:
            return (remote,)
    return (load_remotes().find(name),)


def _held(store: Store, ref: Reference) -> tuple[Entry | None, PocketzooError | None]:
    """The entry, where the store has one, and what is wrong with it."""
    entry = None
    try:
        entry = store.get(Reference(ref.name, ref.tag, ref.digest))
        for record in entry.artifact.files:
            if not sound(store.file(record), record):
                raise WorkFailed(
                    f"the stored file of {record.name} was changed",
                    where=str(store.blob(record.sha256)),
                    hint="zoo verify",
                )
    except PocketzooError as error:
        return entry, error
    return entry, None


def _offer(store: Store, entry: Entry) -> Offer:
    from zoo.artifact import encode

    files = {record: store.file(record) for record in entry.artifact.files}
    return Offer(encode(entry.artifact), entry.artifact, files, stored_signature(store, entry.artifact), LOCAL)


def signature_path(store: Store, artifact: Artifact) -> Path:
    """Where the store keeps the signature bundle of an entry: one file may be an entry under several names."""
    return store.root / "signatures" / artifact.name / f"{artifact.digest}.json"


def stored_signature(store: Store, artifact: Artifact) -> bytes | None:
    """The signature bundle of an entry, where the store has one."""
    try:
        with signature_path(store, artifact).open("rb") as file:
            return file.read(LARGEST_SIGNATURE + 1)
    except FileNotFoundError:
        return None


def _from_remotes(
    store: Store,
    ref: Reference,
    asking: Asking,
    progress: Progress | None,
    accept: Callable[[Offer], None] | None,
    consider: Callable[[Artifact], None] | None,
) -> Pulled:
    elsewhere: list[str] = []  # tags under this name where the one that is asked for is not
    for config in asking.configs:
        try:
            snapshot = asking.remote(config).snapshot(ref.name)
            if snapshot is None:
                continue
            digest = pick(snapshot, ref)
            if digest is None:
                elsewhere += [f"{config.name}/{ref.name}:{tag}" for tag in snapshot.tags]
                continue
            artifact = decode_manifest(snapshot, digest, asking.address(config))
        except PocketzooError as error:
            asking.failed[config.name] = error
            continue
        if consider is not None:
            consider(artifact)
        return _take(store, ref, artifact, config, snapshot, asking, progress, accept)
    raise nowhere(store, ref, asking, elsewhere)


def _take(
    store: Store,
    ref: Reference,
    artifact: Artifact,
    config: RemoteConfig,
    snapshot: Snapshot,
    asking: Asking,
    progress: Progress | None,
    accept: Callable[[Offer], None] | None,
) -> Pulled:
    digest = artifact.digest
    warnings = [
        f"{name} did not answer: {error.what}{f' ({error.where})' if error.where else ''}"
        for name, error in asking.failed.items()
    ]
    # The one that offered the entry first; the others may hold the same bytes, and bytes are known by their hash.
    order = [config, *(other for other in asking.configs if other.name != config.name)]
    with store.lease(record.sha256 for record in artifact.files):
        _check_space(store, artifact)
        received = _receive_all(store, artifact, order, asking, progress)
        signature = snapshot.signatures.get(digest)
        if accept is not None:
            files = {record: came.path for record, came in zip(artifact.files, received, strict=True)}
            accept(Offer(snapshot.manifests[digest], artifact, files, signature, config.name))
        if signature is not None:
            write_atomically(signature_path(store, artifact), signature)
        tag = ref.tag or LATEST if ref.digest is None else None
        tags = (tag,) if tag is not None and snapshot.tags.get(tag) == digest else ()
        warnings += _replaced(store, artifact, tags)
        # Before the manifest: a pull that is killed in between would leave an entry that nobody asks about again.
        new, problems = _new_measurements(store, artifact, snapshot, asking.remote(config))
        known = _holds(store, artifact)
        if not known:
            for name, (data, _) in new.items():
                write_atomically(_measurements(store, digest) / name, data)
        store.enter(artifact, tags=tags)
        if known:
            for _, measurement in new.values():
                store.attach(measurement)
    return Pulled(
        entry=store.get(Reference(artifact.name, digest=digest)),
        source=config.name,
        address=asking.address(config),
        fetched=sum(came.fetched for came in received),
        resumed=sum(came.resumed for came in received),
        measurements=len(new),
        warnings=(*warnings, *problems),
    )


def _replaced(store: Store, artifact: Artifact, tags: tuple[str, ...]) -> Iterator[str]:
    """What this pull takes the place of."""
    for tag in tags:
        try:
            before = store.get(Reference(artifact.name, tag=tag)).artifact.digest
        except PocketzooError:
            continue
        if before != artifact.digest:
            yield f"{artifact.name}:{tag} stood for sha256:{before}, which the store still holds"
    try:
        there = store.get(Reference(artifact.name, digest=artifact.digest)).artifact
    except PocketzooError:
        return
    if there != artifact:
        yield f"the store had another manifest for this file of {artifact.name}; the published one took its place"


def _check_space(store: Store, artifact: Artifact) -> None:
    wanted = 0
    for record in {record.sha256: record for record in artifact.files}.values():
        if not store.blob(record.sha256).exists():
            partial = store.partial(record.sha256)
            wanted += max(0, record.size - (partial.stat().st_size if partial.exists() else 0))
    free = shutil.disk_usage(store.root).free
    if wanted and wanted + SPARE_BYTES > free:
        raise WorkFailed(
            f"{artifact.name} wants {wanted:,} bytes, and {free:,} are free",
            where=str(store.root),
            hint="zoo gc, or point POCKETZOO_HOME at a larger disk",
        )


def _receive_all(
    store: Store, artifact: Artifact, order: Sequence[RemoteConfig], asking: Asking, progress: Progress | None
) -> list[Received]:
    stop = threading.Event()

    def one(record: FileRecord) -> Received:
        def opener(config: RemoteConfig) -> Callable[[int], AbstractContextManager[Blob]]:
            @contextmanager
            def opened(offset: int) -> Iterator[Blob]:
                remote = asking.remote(config)
                with remote.blob(artifact.name, artifact.digest, record, offset) as body:
                    yield body

            return opened

        sources = [Source(asking.address(config), opener(config)) for config in order]
        return receive(store, record, sources, progress=progress, stop=stop)

    # Two records may name one file.
    records = list({record.sha256: record for record in artifact.files}.values())
    if len(records) == 1:
        came = {records[0].sha256: one(records[0])}
    else:
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="receive") as threads:
            try:
                jobs = {record.sha256: threads.submit(one, record) for record in records}
                done = wait(jobs.values(), return_when=FIRST_EXCEPTION).done
                failed = next((error for job in done if (error := job.exception()) is not None), None)
                if failed is not None:
                    raise failed
            except BaseException:
                stop.set()
                threads.shutdown(cancel_futures=True)
                raise
            came = {sha256: job.result() for sha256, job in jobs.items()}
    return [came[record.sha256] for record in artifact.files]


def _measurements(store: Store, digest: str) -> Path:
    return store.root / "measurements" / digest


def _holds(store: Store, artifact: Artifact) -> bool:
    try:
        store.get(Reference(artifact.name, digest=artifact.digest))
    except PocketzooError:
        return False
    return True


def _new_measurements(
    store: Store, artifact: Artifact, snapshot: Snapshot, remote: Remote
) -> tuple[dict[str, tuple[bytes, Measurement]], tuple[str, ...]]:
    """Fetch the measurements that are new, each held against the hash in its name; what is wrong is left out."""
    digest = artifact.digest
    here = _measurements(store, digest)
    names = [name for name in snapshot.measurements.get(digest, ()) if not (here / name).exists()]
    left = MOST_RECORD_BYTES
    found: dict[str, tuple[bytes, Measurement]] = {}
    problems = []
    with ThreadPoolExecutor(RECORDS_AT_ONCE, thread_name_prefix="measurement") as threads:
        for start in range(0, len(names), RECORDS_AT_ONCE):
            some = names[start : start + RECORDS_AT_ONCE]
            jobs = [threads.submit(remote.measurement, artifact.name, digest, name) for name in some]
            for name, job in zip(some, jobs, strict=True):
                try:
                    data = job.result()
                    left -= len(data)
                    found[name] = data, checked_measurement(digest, name, data, remote.address)
                except PocketzooError as error:
                    problems.append(f"left out the measurement {name}: {error.what}")
            if left < 0:
                skipped = len(names) - start - len(some)
                problems.append(f"left out {skipped} measurements: more than {MOST_RECORD_BYTES:,} bytes of them")
                break
    return found, tuple(problems)


def checked_measurement(digest: str, name: str, data: bytes, where: str) -> Measurement:
    """Decode a remote's measurement file of an entry's digest, held against the key and hash in its name.

    Raises:
        RemoteBroken: it is another one.
        BadInput: it is no measurement, or of a schema this version does not read.
    """
    key, _, tail = name.removesuffix(".json").partition("-")
    if sha256_bytes(data)[:16] != tail:
        raise RemoteBroken("its content is not what its name says", where=where)
    measurement = decode_measurement(data, where)
    if measurement.artifact_sha256 != digest or measurement.job_key != key:
        raise RemoteBroken("it belongs to another file or cell", where=where)
    return measurement
