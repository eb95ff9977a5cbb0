"""Is what the zoo holds still what it was? Every hash, manifest and lineage looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_file
from zoo.foreign import check_readable
from zoo.store import Entry, Store


@dataclass(frozen=True)
class Finding:
    """One check of one entry. ``says`` holds what was found; a problem also holds what to do."""

    entry: str
    check: str
    ok: bool
    says: str


def verify_entry(store: Store, entry: Entry) -> Iterator[Finding]:
    """Check the files (size, SHA-256), that the runtime loads the model, the parent, and each measurement's file."""
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
    if artifact.parent is not None:
        held = any(other.artifact.digest == artifact.parent.digest for other in store.entries(lambda _: None))
        text = f"{artifact.parent.relation} from {artifact.parent.name}@sha256:{artifact.parent.digest[:12]}"
        yield Finding(artifact.name, "lineage", True, text if held else f"{text} (not in this zoo)")
    wrong = [m for m in entry.measurements if m.artifact_sha256 != artifact.digest]
    says = f"{len(entry.measurements)} of this file" if not wrong else f"{len(wrong)} belong to another file"
    yield Finding(artifact.name, "measurements", not wrong, says)


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
