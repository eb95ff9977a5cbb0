"""The local zoo: blobs by SHA-256, manifests written last and by rename, measurements one file each.

    root/
      blobs/sha256/ab/abcd...             every file of every entry, once, read-only
      entries/NAME/DIGEST.json            the artifact's canonical manifest
      tags/NAME/TAG                       the digest a tag stands for
      measurements/DIGEST/KEY-HASH.json   one measurement each, append-only

A reader never sees half an entry: blobs come first, the manifest is renamed into place when they are all there, the
tag last. Measurements are files of their own, so that numbers can be added without touching the weights, and two
publishers lose nothing.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import CHUNK, replacing, sha256_bytes, sha256_file, write_atomically
from pocketzoo.home import home
from pocketzoo.names import did_you_mean
from zoo.artifact import Artifact, FileRecord, encode
from zoo.decode import decode_artifact, decode_measurement
from zoo.export import export_files
from zoo.measurement import Measurement
from zoo.reference import DIGEST, LATEST, NAME, TAG, Reference, check_tag, matches, parse_reference


@dataclass(frozen=True)
class Entry:
    """An artifact with the tags that point to it and the measurements published for it, oldest first."""

    artifact: Artifact
    tags: tuple[str, ...]
    measurements: tuple[Measurement, ...]


def _raise(problem: PocketzooError) -> None:
    raise problem


class Store:
    """The entries under one folder.

    Args:
        root: the folder; the default is ``zoo`` in the state folder. It is made when something is first added.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else home() / "zoo"

    # reading

    def entries(self, on_problem: Callable[[PocketzooError], None] = _raise) -> Iterator[Entry]:
        """Every entry, by name, then by digest.

        Args:
            on_problem: called with the error of an entry that cannot be read, which is then left out; by default the
                error is raised.
        """
        for name in self.names():
            tags = self._tags(name)
            for path in sorted((self.root / "entries" / name).glob("*.json")):
                try:
                    yield self._read(name, path.stem, tags)
                except PocketzooError as problem:
                    on_problem(problem)

    def names(self) -> list[str]:
        """The names of all entries, sorted."""
        folder = self.root / "entries"
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if matches(NAME, path.name) and any(path.glob("*.json")))

    def get(self, reference: str | Reference) -> Entry:
        """The entry a reference means.

        Raises:
            BadInput: not a reference; no such name (with the nearest ones), tag or digest; a damaged manifest.
        """
        ref = parse_reference(reference) if isinstance(reference, str) else reference
        if ref.remote:
            raise BadInput(
                f"no remote is called {ref.remote!r}: this zoo holds local entries",
                hint=f"zoo show {Reference(ref.name, ref.tag, ref.digest)}",
            )
        names = self.names()
        if ref.name not in names:
            raise self._unknown_name(ref.name, names)
        tags = self._tags(ref.name)
        digest = ref.digest or tags.get(ref.tag or LATEST)
        if digest is None and ref.tag is None and not tags:
            # Nothing points anywhere (a kill between manifest and tag): one entry needs no tag to be meant.
            stems = [path.stem for path in (self.root / "entries" / ref.name).glob("*.json")]
            digest = stems[0] if len(stems) == 1 else None
        if digest is None:
            raise BadInput(
                f"{ref.name} has no tag {ref.tag or LATEST!r}",
                where=str(self.root),
                detail=(f"its tags: {', '.join(sorted(tags)) or 'none'}",),
                hint="zoo list",
            )
        if not self._manifest(ref.name, digest).exists():
            raise BadInput(f"{ref.name} has no entry with digest {digest}", where=str(self.root), hint="zoo list")
        return self._read(ref.name, digest, tags)

    def blob(self, sha256: str) -> Path:
        """Where the file with this digest is kept, whether or not it is there."""
        return self.root / "blobs" / "sha256" / sha256[:2] / sha256

    def file(self, record: FileRecord) -> Path:
        """The path of an entry's file in the store.

        Raises:
            WorkFailed: it is missing or its size differs; ``zoo verify`` tells more.
        """
        path = self.blob(record.sha256)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = -1
        if size != record.size:
            problem = "is missing" if size < 0 else f"has {size:,} bytes instead of {record.size:,}"
            raise WorkFailed(f"the stored file of {record.name} {problem}", where=str(path), hint="zoo verify")
        return path

    # writing

    def add(self, artifact: Artifact, files: Mapping[str, Path], *, tags: tuple[str, ...] = (LATEST,)) -> Entry:
        """Add or update an entry.

        Args:
            artifact: the manifest; its file records decide what must be in ``files``.
            files: file name in the artifact -> path on this machine.
            tags: tags that shall point to it from now on.

        Returns:
            The entry as stored, with the measurements the store already held for this digest.

        Raises:
            BadInput: a file is missing from ``files``, or is not the one the artifact describes.
        """
        for tag in tags:
            check_tag(tag)
        for record in artifact.files:
            if record.name not in files:
                raise BadInput(f"{artifact.name}: no file given for {record.name}")
            self.keep(files[record.name], record)
        return self.enter(artifact, tags=tags)

    def enter(self, artifact: Artifact, *, tags: tuple[str, ...] = ()) -> Entry:
        """Add or update an entry whose files the store holds already (:meth:`keep`).

        Raises:
            WorkFailed: a file is not there.
        """
        for record in artifact.files:
            self.file(record)
        for tag in tags:
            check_tag(tag)
        manifest = encode(artifact)
        decode_artifact(manifest, artifact.name)  # what is written can be read again
        write_atomically(self._manifest(artifact.name, artifact.digest), manifest)
        for tag in tags:
            write_atomically(self.root / "tags" / artifact.name / tag, artifact.digest.encode())
        return self._read(artifact.name, artifact.digest, self._tags(artifact.name))

    def keep(self, source: Path, record: FileRecord) -> Path:
        """Take a file into the store, hashed on the way; where a sound copy is there already, nothing is written.

        Raises:
            WorkFailed: ``source`` is not the file that ``record`` describes.
        """
        path = self.blob(record.sha256)
        if path.is_file() and path.stat().st_size == record.size and sha256_file(path) == record.sha256:
            return path
        _copy_checked(source, path, record)
        path.chmod(0o444)  # the weights of an entry never change; a stray write fails instead of corrupting
        return path

    def partial(self, sha256: str) -> Path:
        """Where a file with this digest is received before it is whole and hashed."""
        return self.root / "partial" / sha256

    def move_in(self, received: Path, record: FileRecord) -> Path:
        """Make a received file visible by renaming it. Who received it has hashed it: every byte, size and digest."""
        path = self.blob(record.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        received.chmod(0o444)
        received.replace(path)
        return path

    @contextmanager
    def lease(self, digests: Iterable[str]) -> Iterator[None]:
        """Blobs with these digests are in use inside the block; :mod:`zoo.collect` leaves them alone, in any process.

        The lease is a locked file, so that it ends with its process, however that ends.
        """
        folder = self.root / "leases"
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".lease")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, "\n".join(sorted(set(digests))).encode())
            yield
        finally:
            Path(name).unlink(missing_ok=True)
            os.close(handle)

    def attach(self, measurement: Measurement) -> bool:
        """Add a measurement to the entries of its artifact.

        Returns:
            False where this very measurement is there already.

        Raises:
            BadInput: no entry has the artifact's digest.
        """
        digest = measurement.artifact_sha256
        if not any(self._manifest(name, digest).exists() for name in self.names()):
            raise BadInput(
                f"no entry has the digest {digest}; a measurement belongs to a file",
                where=str(self.root),
                hint="zoo add FILE --name NAME",
            )
        data = encode(measurement)
        path = self.root / "measurements" / digest / f"{measurement.job_key}-{sha256_bytes(data)[:16]}.json"
        if path.exists():
            return False
        write_atomically(path, data)
        return True

    def export(self, entry: Entry, target: Path, *, force: bool = False) -> list[Path]:
        """Copy an entry's files into a folder; each is hashed while it is copied and visible only when it is right.

        Raises:
            BadInput: another file of that name is there and ``force`` is not given.
            WorkFailed: the stored file is damaged.
        """
        return export_files([(record, self.file(record)) for record in entry.artifact.files], target, force=force)

    # inside

    def _manifest(self, name: str, digest: str) -> Path:
        return self.root / "entries" / name / f"{digest}.json"

    def _tags(self, name: str) -> dict[str, str]:
        folder = self.root / "tags" / name
        tags = {}
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if matches(TAG, path.name):
                    digest = path.read_text(encoding="ascii", errors="replace").strip()
                    if matches(DIGEST, digest):
                        tags[path.name] = digest
        return tags

    def _read(self, name: str, digest: str, tags: Mapping[str, str]) -> Entry:
        path = self._manifest(name, digest)
        artifact = decode_artifact(path.read_bytes(), str(path))
        if artifact.name != name or artifact.digest != digest:
            raise BadInput(
                f"the manifest says {artifact.name}@sha256:{artifact.digest}, its place says {name}@sha256:{digest}",
                where=str(path),
                hint="zoo verify",
            )
        folder = self.root / "measurements" / digest
        found = [
            decode_measurement(file.read_bytes(), str(file))
            for file in (sorted(folder.glob("*.json")) if folder.is_dir() else [])
        ]
        return Entry(
            artifact=artifact,
            tags=tuple(sorted(tag for tag, target in tags.items() if target == digest)),
            measurements=tuple(sorted(found, key=lambda m: (m.time, m.job_key))),
        )

    def _unknown_name(self, name: str, names: list[str]) -> BadInput:
        close = did_you_mean(name, names)
        detail = (close,) if close else (f"the zoo holds: {', '.join(names[:8])}" if names else "the zoo is empty",)
        return BadInput(
            f"no model {name!r} in the local zoo",
            where=str(self.root),
            detail=detail,
            hint="zoo list" if names else "compress run RECIPE, or zoo add FILE --name NAME",
        )


def _copy_checked(source: Path, target: Path, record: FileRecord) -> None:
    """Copy with the digest taken on the way; a difference leaves nothing behind."""
    import hashlib

    digest = hashlib.sha256()
    with source.open("rb") as reader, replacing(target) as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        if digest.hexdigest() != record.sha256 or os.fstat(reader.fileno()).st_size != record.size:
            raise WorkFailed(
                f"{record.name} is not the file its manifest describes (SHA-256 {digest.hexdigest()})",
                where=str(source),
                detail=(f"expected {record.sha256}, {record.size:,} bytes",),
                hint="zoo verify",
            )
