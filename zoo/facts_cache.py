"""What remotes' measurements say without their samples, kept, so that a need is answered without fetching them again.

A measurement file's name holds the hash of its content: what was read once under a name never changes. Derived data;
it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_bytes, write_atomically
from pocketzoo.home import home
from zoo.backends.protocol import RemoteBroken
from zoo.backends.tree import MEASUREMENT_FILE
from zoo.candidate import CellFacts, cell_facts
from zoo.decode import decode_measurement
from zoo.reference import DIGEST, matches

_VERSION = 1  # of CellFacts; another one is another folder
_LARGEST = 1 << 16


class FactsCache:
    """Facts by the digest of the entry and the name of the measurement file.

    Args:
        root: default: in the state folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else home() / "cache" / f"cells-{_VERSION}"

    def get(self, digest: str, file_name: str) -> CellFacts | None:
        """What is kept; None where nothing is, or nothing that can be read."""
        try:
            with self._path(digest, file_name).open("rb") as file:
                data = file.read(_LARGEST + 1)
            found = msgspec.json.decode(data, type=CellFacts)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return found if found.artifact_sha256 == digest else None

    def put(self, digest: str, file_name: str, data: bytes, where: str) -> CellFacts:
        """Read a measurement file that a remote gave, and keep what it says.

        Raises:
            RemoteBroken: it is not what its name says, or belongs to another file.
            BadInput: it is damaged, or of a schema this version does not read.
        """
        path = self._path(digest, file_name)
        key, _, tail = path.stem.partition("-")
        if sha256_bytes(data)[:16] != tail:
            raise RemoteBroken("its content is not what its name says", where=where)
        measurement = decode_measurement(data, where)
        if measurement.artifact_sha256 != digest or measurement.job_key != key:
            raise RemoteBroken("it belongs to another file or cell", where=where)
        facts = cell_facts(measurement)
        raw = msgspec.json.encode(facts)
        if len(raw) <= _LARGEST:
            with contextlib.suppress(OSError):  # a disk that is full or read-only slows the next answer, no more
                write_atomically(path, raw, durable=False)
        return facts

    def _path(self, digest: str, file_name: str) -> Path:
        if not matches(DIGEST, digest) or not matches(MEASUREMENT_FILE, file_name):
            raise BadInput(f"not the name of a measurement file: {file_name!r}")
        return self.root / digest / file_name
