"""How entries lie in a repository of the Hub, and which files a put changes there. Pure.

Under a name's folder, which is the repository itself where it holds one name:

    mobilenetv1-quant.tflite               the files of the newest entry, where people look for them
    README.md                              its card
    pocketzoo/entries/DIGEST.json          manifests
    pocketzoo/tags.json                    tag -> digest
    pocketzoo/measurements/DIGEST/KEY-HASH.json
    pocketzoo/signatures/DIGEST.json
    pocketzoo/files/DIGEST/NAME            the files of every other entry

An entry is at the top if it has no folder under ``pocketzoo/files``: docs/decisions/0520.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pocketzoo.files import CHUNK
from zoo.artifact import FileRecord
from zoo.backends.protocol import Change, Snapshot
from zoo.backends.tree import MEASUREMENT_FILE
from zoo.reference import DIGEST, LATEST, TAG, matches

CARD = "README.md"
FOLDER = "pocketzoo"
TAGS = f"{FOLDER}/tags.json"
LARGEST_TAGS = 1 << 20
_HEAD = b"---\n"
_RESERVED = {CARD.lower(), FOLDER}


@dataclass(frozen=True)
class Listed:
    """A file as the Hub lists it: bytes, git's object id, and the SHA-256 of one that is stored apart (LFS)."""

    size: int
    oid: str
    sha256: str | None


@dataclass(frozen=True)
class Held:
    """What a repository holds under one name at one commit. Paths are relative to the name's folder."""

    revision: str
    files: Mapping[str, Listed]

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the entries, sorted."""
        found = [parts[2].removesuffix(".json") for parts in self._parts("entries") if len(parts) == 3]
        return tuple(sorted(digest for digest in found if f"{FOLDER}/entries/{digest}.json" in self.files))

    def measurements(self, digest: str) -> tuple[str, ...]:
        """Names of the measurement files of an entry, sorted."""
        found = [parts[3] for parts in self._parts("measurements") if len(parts) == 4 and parts[2] == digest]
        return tuple(sorted(found))

    @property
    def at_top(self) -> str | None:
        """The digest of the entry whose files are at the top."""
        apart = {parts[2] for parts in self._parts("files") if len(parts) == 4}
        return next((digest for digest in self.digests if digest not in apart), None)

    def path_of(self, digest: str, record: FileRecord) -> str | None:
        """Where an entry's file is; None where it is not, or where what is there says to be another."""
        for path in (f"{FOLDER}/files/{digest}/{record.name}", record.name):
            listed = self.files.get(path)
            if listed is not None and listed.sha256 in (None, record.sha256):
                return path
        return None

    def _parts(self, folder: str) -> Iterable[list[str]]:
        inside = f"{FOLDER}/{folder}/"
        return (path.split("/") for path in self.files if path.startswith(inside))


def belongs(path: str) -> bool:
    """Whether a path relative to a name's folder follows the layout; what a Hub lists beside it is nothing to us."""
    parts = path.split("/")
    if len(parts) == 1:
        return _is_file_name(path)
    if parts[0] != FOLDER:
        return False
    if len(parts) == 2:
        return path == TAGS
    if len(parts) == 3:
        return parts[1] in ("entries", "signatures") and matches(rf"{DIGEST}\.json", parts[2])
    if len(parts) != 4 or not matches(DIGEST, parts[2]):
        return False
    if parts[1] == "measurements":
        return matches(MEASUREMENT_FILE, parts[3])
    return parts[1] == "files" and _is_file_name(parts[3])


def decode_tags(data: bytes | None) -> dict[str, str]:
    """The tags of a ``tags.json``; what is no tag or no digest is left out.

    Raises:
        ValueError: it is not JSON, or no object of strings.
    """
    if data is None:
        return {}
    try:
        found = msgspec.json.decode(data, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return {tag: digest for tag, digest in sorted(found.items()) if matches(TAG, tag) and matches(DIGEST, digest)}


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Sorted, a line each, so that a commit shows what moved."""
    return msgspec.json.format(msgspec.json.encode(dict(sorted(tags.items()))), indent=2) + b"\n"


@dataclass(frozen=True)
class Contents:
    """What a put has to read before it can decide, of the entries it touches.

    Args:
        tags: as they are now.
        manifest: of the entry that is put, if it is there.
        signature: the same.
        top_files: the files of the entry at the top.
    """

    tags: Mapping[str, str]
    manifest: bytes | None = None
    signature: bytes | None = None
    top_files: tuple[FileRecord, ...] = ()


@dataclass
class Plan:
    """One commit. ``blobs``: path -> the file that goes there; ``copies``: path -> where its content is now."""

    small: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, FileRecord] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        """Nothing would change."""
        return not (self.small or self.blobs or self.copies or self.gone)


def plan(change: Change, held: Held, now: Contents) -> Plan:
    """What a put changes. The card goes along with any change of the entry at the top, and is none by itself."""
    done = Plan()
    on_top = _goes_on_top(change, held, now)
    _place_files(done, change, held, on_top=on_top)
    if on_top and held.at_top not in (None, change.digest):
        _make_room(done, change, held, now)
    for name, data in change.measurements.items():
        path = f"{FOLDER}/measurements/{change.digest}/{name}"
        if path not in held.files:
            done.small[path] = data
    if change.signature is not None and now.signature != change.signature:
        done.small[f"{FOLDER}/signatures/{change.digest}.json"] = change.signature
    if now.manifest != change.manifest:
        done.small[f"{FOLDER}/entries/{change.digest}.json"] = change.manifest
    tags = {**now.tags, **dict.fromkeys(change.tags, change.digest)}
    if tags != now.tags:
        done.small[TAGS] = encode_tags(tags)
    if not done.empty and (on_top or CARD not in held.files):
        done.small[CARD] = carded(change.card)
    return done


def _place_files(done: Plan, change: Change, held: Held, *, on_top: bool) -> None:
    """The entry's files into their place: from where they are in the repository, or from this machine."""
    was_on_top = held.at_top == change.digest
    for record, source in change.blobs.items():
        apart = f"{FOLDER}/files/{change.digest}/{record.name}"
        place, other = (record.name, apart) if on_top else (apart, record.name)
        here = (was_on_top or not on_top) and _same(held.files.get(place), record, source)
        there = (was_on_top or on_top) and _same(held.files.get(other), record, source)
        if change.resend or not (here or there):
            done.blobs[place] = record
        elif not here:
            done.copies[place] = other
        if on_top and other in held.files:
            done.gone.add(other)


def _make_room(done: Plan, change: Change, held: Held, now: Contents) -> None:
    """The files at the top, of another entry, into a folder of their own."""
    coming = {record.name for record in change.blobs}
    for record in now.top_files:
        if record.name in held.files:
            done.copies[f"{FOLDER}/files/{held.at_top}/{record.name}"] = record.name
            if record.name not in coming:
                done.gone.add(record.name)


def as_snapshot(change: Change, held: Held, now: Contents) -> Snapshot:
    """What bears on a change, in the shape that ``moved`` compares; a tag that points to nothing is none."""
    tags = {tag: digest for tag, digest in now.tags.items() if digest in held.digests}
    manifests = {change.digest: now.manifest} if now.manifest is not None else {}
    return Snapshot(name=change.name, manifests=manifests, tags=tags, revision=held.revision)


def carded(card: bytes) -> bytes:
    """A card that the Hub finds by the tag ``pocketzoo``; one without metadata is given them."""
    return card if card.startswith(_HEAD) else _HEAD + b"tags:\n- pocketzoo\n" + _HEAD + b"\n" + card


def with_base(card: bytes, model: str, relation: str | None) -> bytes:
    """A card whose metadata name the model it was made from, by its name on the Hub."""
    if not card.startswith(_HEAD) or b"\nbase_model:" in card.split(b"\n---\n")[0]:
        return card
    lines = f"base_model: {model}\n" + (f"base_model_relation: {relation}\n" if relation else "")
    return _HEAD + lines.encode() + card.removeprefix(_HEAD)


def _goes_on_top(change: Change, held: Held, now: Contents) -> bool:
    """The newest entry lies where people look, unless it would replace a file that is not ours."""
    if LATEST not in change.tags and now.tags.get(LATEST) != change.digest and set(held.digests) - {change.digest}:
        return held.at_top == change.digest
    names = {record.name for record in change.blobs}
    if any(name.lower() in _RESERVED for name in names):
        return False
    ours = names if held.at_top == change.digest else {record.name for record in now.top_files}
    return all(name in ours or name not in held.files for name in names)


def _same(listed: Listed | None, record: FileRecord, source: Path) -> bool:
    if listed is None or listed.size != record.size:
        return False
    return listed.sha256 == record.sha256 if listed.sha256 else listed.oid == git_oid(source)


def git_oid(path: Path) -> str:
    """The name git gives a file's content, by which the Hub lists a file that is not stored apart."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _is_file_name(name: str) -> bool:
    return matches(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}", name)
