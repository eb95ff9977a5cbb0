"""A remote that is a tree of files: a folder, an sftp server, a bucket, or a web server that lists its folders.

    blobs/sha256/ab/abcd...             every file of every entry, once
    entries/NAME/DIGEST.json            manifests
    entries/NAME/README.md              the card of the entry that was published last
    tags/NAME/TAG                       the digest a tag stands for
    measurements/DIGEST/KEY-HASH.json   one measurement each, append-only
    signatures/NAME/DIGEST.json         the bundle of a signed entry

The same tree as the local store's, so a folder can be copied from one to the other. Every file appears whole or not at
all, and the order of writing (blobs, measurements, signature, manifest, tags) and of reading (tags before manifests)
is what makes an entry appear whole: docs/decisions/0510.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from zoo.artifact import FileRecord
from zoo.backends.protocol import (
    LARGEST_MANIFEST,
    LARGEST_MEASUREMENT,
    LARGEST_SIGNATURE,
    LARGEST_SNAPSHOT,
    MOST_NAMES,
    Blob,
    Change,
    Moved,
    Published,
    RemoteBroken,
    Snapshot,
    moved,
)
from zoo.reference import DIGEST, LONGEST_NAME, NAME, TAG, matches

MEASUREMENT_FILE = rf"{DIGEST}-[0-9a-f]{{16}}\.json"
SIDE_BY_SIDE = 8  # small files asked for at once: what a distant server costs is its distance
_LARGEST_TAG = 4096

T = TypeVar("T")
R = TypeVar("R")


class Files(Protocol):
    """What a tree needs of the place it is kept in. Paths are relative, ``/`` between plain components.

    Methods may be called from several threads at once, and raise RemoteUnavailable, RemoteDenied, RemoteBroken.
    """

    @property
    def address(self) -> str:
        """For messages; holds no secret."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names in a folder, in any order; empty where there is no such folder."""
        ...

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None where there is none."""
        ...

    def open(self, path: str, offset: int) -> AbstractContextManager[Blob]:
        """The bytes of a file from ``offset`` on (see :class:`Blob`).

        Raises:
            FileNotFoundError: there is none, on entering.
        """
        ...

    def write(self, path: str, content: bytes | Path) -> None:
        """Write a file that becomes visible whole, replacing what was there.

        Raises:
            ReadOnly: nothing can be written here.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class TreeRemote:
    """Implements :class:`zoo.backends.protocol.Remote` over a tree of files."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @property
    def address(self) -> str:
        """See :class:`Remote`."""
        return self._files.address

    def names(self) -> tuple[str, ...]:
        """See :class:`Remote`."""
        return tuple(
            sorted(name for name in self._names("entries") if matches(NAME, name) and len(name) <= LONGEST_NAME)
        )

    def snapshot(self, name: str) -> Snapshot | None:
        """See :class:`Remote`. Tags are read before manifests, which are written before them: none points nowhere."""
        told = [tag for tag in self._names(f"tags/{name}") if matches(TAG, tag)]
        at = dict(zip(told, self._each(lambda tag: self._read(f"tags/{name}/{tag}", _LARGEST_TAG), told), strict=True))
        digests = sorted(
            entry.removesuffix(".json")
            for entry in self._names(f"entries/{name}")
            if matches(rf"{DIGEST}\.json", entry)
        )
        manifests: dict[str, bytes] = {}
        signatures: dict[str, bytes] = {}
        measured: dict[str, tuple[str, ...]] = {}
        total = 0
        for digest, (manifest, signature, names) in zip(
            digests, self._each(lambda digest: self._entry(name, digest), digests), strict=True
        ):
            if manifest is None:
                continue  # gone between the listing and the reading
            total += len(manifest) + len(signature or b"")
            if total > LARGEST_SNAPSHOT:
                raise RemoteBroken(f"{name} has more than {LARGEST_SNAPSHOT:,} bytes of manifests", where=self.address)
            manifests[digest] = manifest
            if signature is not None:
                signatures[digest] = signature
            if names:
                measured[digest] = names
        if not manifests:
            return None
        known = {tag: _digest(data) for tag, data in sorted(at.items())}
        tags = {tag: digest for tag, digest in known.items() if digest is not None and digest in manifests}
        return Snapshot(name=name, manifests=manifests, tags=tags, measurements=measured, signatures=signatures)

    def measurement(self, name: str, digest: str, file_name: str) -> bytes:  # noqa: ARG002  # kept by digest alone
        """See :class:`Remote`."""
        data = self._read(f"measurements/{digest}/{file_name}", LARGEST_MEASUREMENT)
        if data is None:
            raise RemoteBroken(f"the measurement {file_name} is gone", where=self.address)
        return data

    @contextlib.contextmanager
    def blob(self, name: str, digest: str, record: FileRecord, offset: int) -> Iterator[Blob]:  # noqa: ARG002
        """See :class:`Remote`."""
        try:
            with self._files.open(_blob(record.sha256), offset) as body:
                yield body
        except FileNotFoundError as error:
            raise RemoteBroken(
                f"{record.name} of {name} is missing there (sha256:{record.sha256[:12]})", where=self.address
            ) from error

    def put(self, change: Change, base: Snapshot | None) -> Published:
        """See :class:`Remote`.

        Nothing is locked, because nothing that several hosts share can be locked alike everywhere. Blobs, measurements
        and manifests are named by their content or digest, so writers cannot lose one another's; a tag that moved is
        looked for before the first byte and again before the manifest. Between that look and the rename of a tag,
        milliseconds later, the later of two writers wins the tag, and both entries are there.
        """
        self._unmoved(change, base)
        manifest = f"entries/{change.name}/{change.digest}.json"
        signature = f"signatures/{change.name}/{change.digest}.json"
        sent = [
            record for record in change.blobs if change.resend or self._files.size(_blob(record.sha256)) != record.size
        ]
        for record in sent:
            self._files.write(_blob(record.sha256), change.blobs[record])
        changed = bool(sent)
        present = set(self._names(f"measurements/{change.digest}")) if change.measurements else set()
        for file_name, data in change.measurements.items():
            if file_name not in present:
                self._files.write(f"measurements/{change.digest}/{file_name}", data)
                changed = True
        if change.signature is not None and self._read(signature, LARGEST_SIGNATURE) != change.signature:
            self._files.write(signature, change.signature)
            changed = True
        now = self._unmoved(change, base)
        if now is None or now.manifests.get(change.digest) != change.manifest:
            self._files.write(manifest, change.manifest)
            changed = True
        tags = now.tags if now else {}
        moving = [tag for tag in change.tags if tags.get(tag) != change.digest]
        if changed or moving:
            self._files.write(f"entries/{change.name}/README.md", change.card)
        for tag in moving:
            self._files.write(f"tags/{change.name}/{tag}", change.digest.encode())
        return Published(
            changed=changed or bool(moving),
            blobs_sent=len(sent),
            bytes_sent=sum(record.size for record in sent),
            address=self.address,
        )

    def close(self) -> None:
        """See :class:`Remote`."""
        self._files.close()

    def _unmoved(self, change: Change, base: Snapshot | None) -> Snapshot | None:
        """What bears on a change now: its tags and its manifest; the rest of the name may be large."""
        manifest = self._read(f"entries/{change.name}/{change.digest}.json", LARGEST_MANIFEST)
        known = {change.digest, *(base.manifests if base else ())}
        tags = {}
        for tag in change.tags:
            at = _digest(self._read(f"tags/{change.name}/{tag}", _LARGEST_TAG))
            # As in a snapshot, a tag that points to nothing is none.
            if at and (at in known or self._files.size(f"entries/{change.name}/{at}.json") is not None):
                tags[tag] = at
        manifests = {change.digest: manifest} if manifest is not None else {}
        now = Snapshot(name=change.name, manifests=manifests, tags=tags)
        if (why := moved(change, base, now)) is not None:
            raise Moved(f"somebody else published {change.name} meanwhile: {why}", where=self.address)
        return now

    def _entry(self, name: str, digest: str) -> tuple[bytes | None, bytes | None, tuple[str, ...]]:
        manifest = self._read(f"entries/{name}/{digest}.json", LARGEST_MANIFEST)
        signature = self._read(f"signatures/{name}/{digest}.json", LARGEST_SIGNATURE)
        files = self._names(f"measurements/{digest}")
        return manifest, signature, tuple(sorted(file for file in files if matches(MEASUREMENT_FILE, file)))

    def _names(self, folder: str) -> list[str]:
        names = self._files.names(folder)
        if len(names) > MOST_NAMES:
            raise RemoteBroken(f"{folder} lists {len(names):,} names; at most {MOST_NAMES:,}", where=self.address)
        return names

    def _read(self, path: str, limit: int) -> bytes | None:
        parts: list[bytes] = []
        total = 0
        try:
            with self._files.open(path, 0) as body:
                for chunk in body.chunks:
                    total += len(chunk)
                    if total > limit:
                        raise RemoteBroken(f"{path} has more than {limit:,} bytes", where=self.address)
                    parts.append(bytes(chunk))
        except FileNotFoundError:
            return None
        return b"".join(parts)

    def _each(self, ask: Callable[[T], R], of: list[T]) -> list[R]:
        if len(of) < 2:
            return [ask(one) for one in of]
        with ThreadPoolExecutor(min(SIDE_BY_SIDE, len(of))) as threads:
            return list(threads.map(ask, of))


def _blob(sha256: str) -> str:
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def _digest(data: bytes | None) -> str | None:
    text = (data or b"").decode("ascii", "replace").strip()
    return text if matches(DIGEST, text) else None
