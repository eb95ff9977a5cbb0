"""The local zoo: blobs by SHA-256, manifests written last and by rename, measurements one file each.

    root/
      blobs/sha256/ab/abcd...             every file of every entry, once, read-only
      entries/NAME/DIGEST.json            the artifact's canonical manifest
      tags/NAME/TAG                       the digest a tag stands for
      measurements/DIGEST/KEY-HASH.json   one measurement each, append-only
      partial/DIGEST                      a file that is being received (:mod:`zoo.receive`)
      leases/                             what is in use (:mod:`zoo.lease`)
      roots/HASH                          where a lock file is that pins entries
      index/                              what is derived from all that, for speed (:mod:`zoo.index`)

A reader never sees half an entry: blobs come first, the manifest is renamed into place when they are all there, the
tag last. Measurements are files of their own, so that numbers can be added without touching the weights, and two
publishers lose nothing. Nothing is taken away here: :mod:`zoo.collect` does that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import CHUNK, replacing, sha256_bytes, sha256_file, write_atomically
from pocketzoo.home import home
from pocketzoo.names import did_you_mean
from zoo.artifact import Artifact, FileRecord, encode
from zoo.candidate import Candidate
from zoo.decode import decode_artifact
from zoo.export import export_files
from zoo.index import Index, Listed
from zoo.kept import measurement_file, read_manifest, read_measurement
from zoo.lease import lease, registering
from zoo.measurement import Measurement
from zoo.reference import DIGEST, LATEST, NAME, TAG, Reference, check_tag, matches, parse_reference


@dataclass(frozen=True)
class Entry:
    """An artifact with the tags that point to it and the measurements published for it, oldest first.

    ``problems`` holds an error for each measurement that is damaged and therefore left out.
    """

    artifact: Artifact
    tags: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    problems: tuple[PocketzooError, ...] = ()


def _children(folder: Path) -> list[Path]:
    """What is in a folder, sorted; in one that is not there, or vanishes meanwhile, is nothing."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _json_files(folder: Path) -> list[Path]:
    return [path for path in _children(folder) if path.suffix == ".json"]


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
        """Every entry, by name, then by digest, read from its files; :meth:`listing` is the fast way.

        Args:
            on_problem: called with the error of an entry that cannot be read, which is then left out, and of each
                measurement that is damaged, which is then missing from its entry; by default the error is raised.
        """
        for name in self.names():
            tags = self.tags(name)
            for path in _json_files(self.root / "entries" / name):
                try:
                    entry = self._read(name, path.stem, tags)
                except FileNotFoundError:
                    continue  # removed meanwhile
                except PocketzooError as problem:
                    on_problem(problem)
                    continue
                for damaged in entry.problems:
                    on_problem(damaged)
                yield entry

    def names(self) -> list[str]:
        """The names of all entries, sorted."""
        try:
            found = os.listdir(self.root / "entries")  # noqa: PTH208  names, not paths
        except FileNotFoundError:
            return []
        return sorted(name for name in found if matches(NAME, name) and self._has_entries(name))

    def listing(self, on_problem: Callable[[PocketzooError], None] = _raise) -> list[Listed]:
        """What ``zoo list`` shows of every entry, by name, then by digest; through the index.

        Args:
            on_problem: as for :meth:`entries`.
        """
        return Index(self.root).listing(on_problem)

    def candidates(
        self,
        names: Iterable[str] | None = None,
        device: str | None = None,
        *,
        on_problem: Callable[[PocketzooError], None] = _raise,
    ) -> list[Candidate]:
        """Entries as choices, by name, then by digest, without samples; through the index.

        Args:
            names: of these names only; default: all.
            device: with the cells of this device only; default: of all devices.
            on_problem: as for :meth:`entries`.
        """
        return Index(self.root).candidates(names, device, on_problem)

    def get(self, reference: str | Reference) -> Entry:
        """The entry a reference means.

        Raises:
            BadInput: not a reference; no such name (with the nearest ones), tag or digest; a damaged manifest. A
                damaged measurement is left out (``Entry.problems``).
        """
        ref = parse_reference(reference) if isinstance(reference, str) else reference
        if ref.remote:
            raise BadInput(
                f"no remote is called {ref.remote!r}: this zoo holds local entries",
                hint=f"zoo show {Reference(ref.name, ref.tag, ref.digest)}",
            )
        if not self._has_entries(ref.name):
            raise self._unknown_name(ref.name, self.names())
        tags = self.tags(ref.name)
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
        if not self.manifest(ref.name, digest).exists():
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
        with self.lease(record.sha256 for record in artifact.files):
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
        for tag in tags:
            check_tag(tag)
        manifest = encode(artifact)
        decode_artifact(manifest, artifact.name)  # what is written can be read again
        with self.lease(record.sha256 for record in artifact.files):
            for record in artifact.files:
                self.file(record)  # from here on it stays: the lease came first (docs/decisions/0501)
            write_atomically(self.manifest(artifact.name, artifact.digest), manifest)
            if tags:
                with registering(self.root):
                    for tag in tags:
                        write_atomically(self.root / "tags" / artifact.name / tag, artifact.digest.encode())
        return self._read(artifact.name, artifact.digest, self.tags(artifact.name))

    def keep(self, source: Path, record: FileRecord) -> Path:
        """Take a file into the store, hashed on the way; where a sound copy is there already, nothing is written.

        Raises:
            WorkFailed: ``source`` is not the file that ``record`` describes.
        """
        path = self.blob(record.sha256)
        with self.lease([record.sha256]):
            if path.is_file() and path.stat().st_size == record.size and sha256_file(path) == record.sha256:
                with contextlib.suppress(PermissionError):  # another user's file; the lease alone protects it then
                    os.utime(path)  # whoever enters it later has the grace period from now on
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

    def lease(self, digests: Iterable[str]) -> AbstractContextManager[None]:
        """Files and entries with these digests are in use inside the block: nobody takes them away, in any process.

        The lease is a locked file, so that it ends with its process, however that ends.
        """
        return lease(self.root, digests)

    def remember_lock(self, path: Path) -> None:
        """From now on what the lock file at ``path`` names is not collected, as long as that file is there."""
        place = os.fsencode(path.absolute())
        write_atomically(self.root / "roots" / sha256_bytes(place), place)

    def attach(self, measurement: Measurement) -> bool:
        """Add a measurement to the entries of its artifact.

        Returns:
            False where this very measurement is there already.

        Raises:
            BadInput: no entry has the artifact's digest.
        """
        digest, data = measurement.artifact_sha256, encode(measurement)
        path = self.root / "measurements" / digest / measurement_file(measurement.job_key, data)
        with self.lease([digest]):
            if not self._holds(digest, measurement.model):
                raise BadInput(
                    f"no entry has the digest {digest}; a measurement belongs to a file",
                    where=str(self.root),
                    hint="zoo add FILE --name NAME",
                )
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

    def manifest(self, name: str, digest: str) -> Path:
        """Where the manifest of an entry is kept, whether or not it is there."""
        return self.root / "entries" / name / f"{digest}.json"

    def _has_entries(self, name: str) -> bool:
        try:
            with os.scandir(self.root / "entries" / name) as found:
                return any(file.name.endswith(".json") for file in found)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _holds(self, digest: str, likely: str) -> bool:
        """Whether an entry has this digest; ``likely`` is the name that is looked at first."""
        entries = self.root / "entries"
        if (entries / likely / f"{digest}.json").exists():
            return True
        return entries.is_dir() and any((name / f"{digest}.json").exists() for name in entries.iterdir())

    def tags(self, name: str) -> dict[str, str]:
        """The tags under a name, sorted, and the digests they stand for."""
        tags = {}
        for path in _children(self.root / "tags" / name):
            if matches(TAG, path.name):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    digest = path.read_text(encoding="ascii", errors="replace").strip()
                    if matches(DIGEST, digest):
                        tags[path.name] = digest
        return tags

    def _read(self, name: str, digest: str, tags: Mapping[str, str]) -> Entry:
        artifact = read_manifest(self.manifest(name, digest), name, digest)
        folder = self.root / "measurements" / digest
        found, problems = [], []
        for file in _json_files(folder):
            try:
                found.append(read_measurement(file))
            except PocketzooError as problem:
                problems.append(problem)
        return Entry(
            artifact=artifact,
            tags=tuple(sorted(tag for tag, target in tags.items() if target == digest)),
            measurements=tuple(sorted(found, key=lambda m: (m.time, m.job_key))),
            problems=tuple(problems),
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
