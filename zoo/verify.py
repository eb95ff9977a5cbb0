"""Is what the zoo holds still what it was? Every hash, manifest, number, tag and lineage looked at again.

Nothing is believed that can be read from the files themselves: no index, no cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_bytes, sha256_file
from zoo.artifact import Artifact, Parent, encode
from zoo.backends.tree import MEASUREMENT_FILE
from zoo.decode import LARGEST, decode_artifact, decode_measurement
from zoo.foreign import check_readable
from zoo.reference import DIGEST, NAME, TAG, matches
from zoo.store import Entry, Store

LONGEST_LINEAGE = 1000


@dataclass(frozen=True)
class Finding:
    """One check of one entry. ``says`` holds what was found; a problem also holds what to do."""

    entry: str
    check: str
    ok: bool
    says: str


def unreadable(problems: Sequence[PocketzooError], entries: Sequence[Entry]) -> list[PocketzooError]:
    """The problems of entries that could not be read at all; :func:`verify_entry` tells those of the others."""
    told = {id(problem) for entry in entries for problem in entry.problems}
    return [problem for problem in problems if id(problem) not in told]


def verify_entry(store: Store, entry: Entry, parents: Mapping[str, Parent | None] | None = None) -> Iterator[Finding]:
    """Check one entry: its files (size, SHA-256), that the model can be read or loaded, its manifest, lineage, numbers.

    Args:
        store: the zoo.
        entry: one of its entries.
        parents: :func:`lineages`, where many entries are checked.
    """
    artifact = entry.artifact
    sound = True
    for record in artifact.files:
        finding = _file(store, artifact.name, record.sha256, record.size, record.name)
        sound = sound and finding.ok
        yield finding
    if sound:
        try:
            if (says := check_readable(store.file(artifact.files[0]), artifact.format)) is not None:
                yield Finding(artifact.name, "loads", True, says)
        except PocketzooError as error:
            yield Finding(artifact.name, "loads", False, error.what)
    yield _manifest(store, artifact)
    if artifact.parent is not None:
        yield lineage_finding(artifact, parents if parents is not None else lineages(store))
    yield from _accuracy(artifact)
    yield from _measurements(store, entry)


def lineages(store: Store) -> dict[str, Parent | None]:
    """What each entry of the zoo says it was made from, by digest; manifests that cannot be read say nothing."""
    found: dict[str, Parent | None] = {}
    folder = store.root / "entries"
    for path in sorted(folder.glob("*/*.json")) if folder.is_dir() else []:
        if matches(NAME, path.parent.name) and matches(DIGEST, path.stem):
            try:
                found[path.stem] = decode_artifact(_bounded(path), str(path)).parent or found.get(path.stem)
            except (PocketzooError, OSError):
                continue
    return found


def lineage_finding(artifact: Artifact, parents: Mapping[str, Parent | None]) -> Finding:
    """Whether the chain of parents ends, and whether its first link is here. Pure.

    A parent that is not in this zoo is no fault: a quantized model may be pulled without the one it came from.
    """
    parent = artifact.parent
    if parent is None:
        return Finding(artifact.name, "lineage", True, "it names no parent")
    text = f"{parent.relation or 'derived'} from {parent.name}@sha256:{parent.digest[:12]}"
    seen = {artifact.digest}
    link: Parent | None = parent
    while link is not None:
        if link.digest in seen or len(seen) > LONGEST_LINEAGE:
            return Finding(artifact.name, "lineage", False, f"{text}: its lineage runs in a circle")
        seen.add(link.digest)
        link = parents.get(link.digest)
    return Finding(artifact.name, "lineage", True, text if parent.digest in parents else f"{text} (not in this zoo)")


def verify_tags(store: Store, name: str | None = None) -> Iterator[Finding]:
    """Tags that are none, or that point at no entry. Those that are sound are one finding for each name."""
    root = store.root / "tags"
    folders = [root / name] if name is not None else sorted(root.iterdir()) if root.is_dir() else []
    for folder in folders:
        if not matches(NAME, folder.name) or not folder.is_dir():
            continue
        sound = []
        for path in sorted(folder.iterdir()):
            if not matches(TAG, path.name):
                continue  # a temporary file of a writer
            digest = path.read_text(encoding="ascii", errors="replace").strip() if path.stat().st_size < 100 else ""
            manifest = store.root / "entries" / folder.name / f"{digest}.json"
            if not matches(DIGEST, digest):
                yield Finding(folder.name, "tag", False, f"{path.name} holds no digest: {path}")
            elif not manifest.is_file():
                yield Finding(folder.name, "tag", False, f"{path.name} points at sha256:{digest}, which is not here")
            else:
                sound.append(path.name)
        if sound:
            yield Finding(folder.name, "tag", True, ", ".join(sound))


def _manifest(store: Store, artifact: Artifact) -> Finding:
    path = store.root / "entries" / artifact.name / f"{artifact.digest}.json"
    try:
        data = _bounded(path)
    except OSError as error:
        return Finding(artifact.name, "manifest", False, f"cannot be read ({error.strerror}): {path}")
    if data != encode(artifact):
        return Finding(artifact.name, "manifest", False, f"was changed, it is not in its canonical form: {path}")
    return Finding(artifact.name, "manifest", True, f"schema {artifact.schema}, sha256:{sha256_bytes(data)[:12]}")


def _accuracy(artifact: Artifact) -> Iterator[Finding]:
    """Numbers of another file under this one: they may be there, and must be told."""
    for accuracy in artifact.accuracy:
        if accuracy.measured_on != artifact.digest:
            says = f"{accuracy.metric} was measured on sha256:{accuracy.measured_on[:12]}, not on this file"
            yield Finding(artifact.name, "accuracy", True, says)


def _measurements(store: Store, entry: Entry) -> Iterator[Finding]:
    """Every file under the entry's digest: its name's hash, what it says it measured, and that it can be read."""
    name, digest = entry.artifact.name, entry.artifact.digest
    folder = store.root / "measurements" / digest
    good = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith("."):
            continue  # a temporary file of a writer
        key, _, tail = path.stem.partition("-")
        try:
            data = _bounded(path)
            if not matches(MEASUREMENT_FILE, path.name):
                wrong = "it is no measurement"
            elif sha256_bytes(data)[:16] != tail:
                wrong = "it was changed: it is not what its name says"
            else:
                found = decode_measurement(data, str(path))
                wrong = "" if (found.artifact_sha256, found.job_key) == (digest, key) else "it belongs to another file"
        except PocketzooError as error:
            wrong = error.what
        except OSError as error:
            wrong = f"it cannot be read ({error.strerror})"
        if wrong:
            yield Finding(name, "measurement", False, f"{wrong}: {path}")
        else:
            good += 1
    yield Finding(name, "measurements", True, f"{good} of this file")


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def _file(store: Store, name: str, sha256: str, size: int, file_name: str) -> Finding:
    path = store.blob(sha256)
    if not path.is_file():
        return Finding(name, "file", False, f"{file_name} is missing: {path}")
    if path.stat().st_size != size:
        return Finding(
            name, "file", False, f"{file_name} has {path.stat().st_size:,} bytes instead of {size:,}: {path}"
        )
    if sha256_file(path) != sha256:
        return Finding(name, "file", False, f"{file_name} was changed, its SHA-256 differs: {path}")
    return Finding(name, "file", True, f"{file_name} sha256:{sha256}")
