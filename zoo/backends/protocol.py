"""Where entries are published: one Protocol for a folder, the Hugging Face Hub and any fsspec URL.

A remote is untrusted. What it returns are bytes; :mod:`zoo.decode` turns them into records, whoever fetches a blob
hashes it. A remote's own errors are the ones below, with an address that holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pocketzoo.errors import BadInput, WorkFailed
from zoo.artifact import FileRecord
from zoo.decode import LARGEST

# A remote is not believed about how much it has to say. Bytes; beyond these it is RemoteBroken.
LARGEST_MANIFEST = 4 << 20
LARGEST_MEASUREMENT = LARGEST
LARGEST_SIGNATURE = 1 << 20
LARGEST_LISTING = 32 << 20
LARGEST_SNAPSHOT = 256 << 20  # the manifests and signatures of one name together
MOST_NAMES = 200_000  # in one listing


class RemoteUnavailable(WorkFailed):
    """The remote does not answer, breaks off, or answers with an error of its own; the same command may work later."""


class RemoteBusy(RemoteUnavailable):
    """The remote asks to be left alone for longer than a command waits; it is not asked again by the same command."""


class RemoteDenied(WorkFailed):
    """The remote wants a (better) token, key or permission."""


class RemoteBroken(WorkFailed):
    """The remote answered what no sound remote answers: a wrong size, a wrong hash, a listing that is none."""


class ReadOnly(BadInput):
    """Nothing can be published there."""


class Moved(WorkFailed):
    """Somebody else published under this name since the snapshot was taken: take a new one and put again."""


@dataclass(frozen=True)
class Snapshot:
    """What a remote holds under one name at one moment.

    Args:
        name: the model's name.
        manifests: digest -> the manifest's bytes as the remote gave them; bounded in size, not yet decoded.
        tags: tag -> digest.
        measurements: digest -> names of the measurement files published for it, ``KEY-HASH.json``.
        signatures: digest -> the signature bundle's bytes, where the entry was signed.
        revision: what a put may be made conditional on; None where the remote has nothing like it.
    """

    name: str
    manifests: Mapping[str, bytes]
    tags: Mapping[str, str]
    measurements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    signatures: Mapping[str, bytes] = field(default_factory=dict)
    revision: str | None = None


@dataclass(frozen=True)
class Change:
    """What one push adds under one name. Nothing is ever taken away by it, except that a tag moves.

    Args:
        name: the model's name.
        digest: of the entry.
        manifest: the artifact's canonical manifest.
        blobs: every file of the entry with its place on this machine, hashed by who made the change.
        tags: tags that shall point to the digest from now on.
        measurements: file name ``KEY-HASH.json`` -> bytes.
        card: the generated README.md.
        signature: the signature bundle, where the entry is signed.
        resend: send the blobs also where the remote seems to have them: one of its copies is damaged.
    """

    name: str
    digest: str
    manifest: bytes
    blobs: Mapping[FileRecord, Path]
    tags: tuple[str, ...]
    measurements: Mapping[str, bytes]
    card: bytes
    signature: bytes | None = None
    resend: bool = False


@dataclass(frozen=True)
class Published:
    """What a put did. ``changed`` is False where the remote held all of it already; then nothing was written.

    A card alone is no change: two versions of this program word it differently and would replace each other's for ever.
    """

    changed: bool
    blobs_sent: int
    bytes_sent: int
    address: str


class Remote(Protocol):
    """One place where entries are published. Methods may be called from several threads at once.

    All of them raise RemoteUnavailable, RemoteDenied or RemoteBroken.
    """

    @property
    def address(self) -> str:
        """For messages: where it is, without user names' secrets, tokens or signed queries."""
        ...

    def names(self) -> tuple[str, ...]:
        """The names of all entries, sorted; what is no name of the grammar is left out."""
        ...

    def snapshot(self, name: str) -> Snapshot | None:
        """What is published under a name; None where there is nothing."""
        ...

    def measurement(self, name: str, digest: str, file_name: str) -> bytes:
        """One measurement file of a snapshot, bounded in size."""
        ...

    def blob(self, name: str, digest: str, record: FileRecord, offset: int) -> AbstractContextManager[Blob]:
        """The bytes of an entry's file from ``offset`` on; the entry is named by name and digest.

        A remote that cannot start in the middle yields a :class:`Blob` whose ``offset`` is 0. The body may lie about
        its length; it is the reader that counts and hashes, and that stops reading when it has had enough. Breaking
        off in the middle may also be raised from the chunks, as RemoteUnavailable.

        Raises:
            RemoteBroken: also where the blob is not there: the manifest promised it.
        """
        ...

    def put(self, change: Change, base: Snapshot | None) -> Published:
        """Publish: blobs that are missing first, the manifest when they are all there, tags last.

        A reader sees the whole entry or none of it. ``base`` is the snapshot the change was decided on; None: there
        was nothing. Where what is put is there already, ``base`` may be old.

        Raises:
            Moved: a tag this change moves, or the manifest it replaces, is not what ``base`` says (:func:`moved`); or
                the remote can tell in another way that the name has changed. Nothing became visible.
            ReadOnly: nothing can be published here.
        """
        ...

    def close(self) -> None:
        """Give back connections. The remote is not used after it."""
        ...


@dataclass(frozen=True)
class Blob:
    """A body that is being received: where it starts, and its chunks."""

    offset: int
    chunks: Iterator[bytes]


def moved(change: Change, base: Snapshot | None, now: Snapshot | None) -> str | None:
    """What somebody else changed between two snapshots of that which a change would overwrite; None: nothing.

    A tag or manifest that is already what the change wants is no reason to decide anew.
    """
    before = base or Snapshot(name=change.name, manifests={}, tags={})
    after = now or Snapshot(name=change.name, manifests={}, tags={})
    for tag in change.tags:
        at = after.tags.get(tag)
        if at not in (before.tags.get(tag), change.digest):
            return f"the tag {tag} has moved to sha256:{at[:12]}" if at else f"the tag {tag} is gone"
    manifest = after.manifests.get(change.digest)
    if manifest not in (before.manifests.get(change.digest), change.manifest):
        return "its manifest was replaced" if manifest is not None else "its manifest is gone"
    return None
