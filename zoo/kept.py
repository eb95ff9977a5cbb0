"""Reading what a store keeps: manifests and measurements, each bounded, and held against the name of its file."""

from __future__ import annotations

from pathlib import Path

from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_bytes
from zoo.artifact import Artifact
from zoo.decode import LARGEST, decode_artifact, decode_measurement
from zoo.measurement import Measurement
from zoo.reference import DIGEST, matches

MEASUREMENT_FILE = rf"{DIGEST}-[0-9a-f]{{16}}\.json"


def measurement_file(job_key: str, data: bytes) -> str:
    """The name under which a measurement is kept: its job key and 16 digits of its own SHA-256."""
    return f"{job_key}-{sha256_bytes(data)[:16]}.json"


def read_manifest(path: Path, name: str, digest: str) -> Artifact:
    """The manifest of the entry that bears this name and digest.

    Raises:
        BadInput: it is damaged, or that of another entry.
        OSError: it cannot be read.
    """
    artifact = decode_artifact(_bounded(path), str(path))
    if artifact.name != name or artifact.digest != digest:
        raise BadInput(
            f"the manifest says {artifact.name}@sha256:{artifact.digest}, its place says {name}@sha256:{digest}",
            where=str(path),
            hint="zoo verify",
        )
    return artifact


def read_measurement(path: Path) -> Measurement:
    """A measurement out of ``measurements/DIGEST/KEY-HASH.json``.

    Raises:
        BadInput: it is damaged, or its digest, key or content is not what its place says.
        OSError: it cannot be read.
    """
    if not matches(MEASUREMENT_FILE, path.name):
        raise BadInput("not the name of a measurement, which is KEY-HASH.json", where=str(path), hint="zoo verify")
    data = _bounded(path)
    key, _, content = path.stem.partition("-")
    if sha256_bytes(data)[:16] != content:
        raise BadInput("the measurement was changed: it is not what its name says", where=str(path), hint="zoo verify")
    measurement = decode_measurement(data, str(path))
    if measurement.job_key != key or measurement.artifact_sha256 != path.parent.name:
        raise BadInput("the measurement belongs to another file or cell", where=str(path), hint="zoo verify")
    return measurement


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST + 1)
