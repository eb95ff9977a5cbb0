"""Binaries that measure, known by their SHA-256: ``harness runner add`` keeps them, campaigns push them to devices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from devices import elf
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_file, write_atomically
from pocketzoo.home import home
from zoo.artifact import Sha256

NAMES = ("benchmark_model",)
ABIS = ("armv7", "armv8", "x86_64", "x86", "riscv64")
LARGEST = 1 << 30  # bytes; the largest official build has 60 MB
_PROGRAM = (2, 3)  # e_type of an executable, and of one that can be loaded anywhere


class Binary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A registered binary. ``added`` is the time in UTC (ISO 8601): the newest of a name and ABI is the one used."""

    schema: Annotated[int, Meta(ge=1, le=1)] = 1
    name: str
    abi: str
    sha256: Sha256
    size: Annotated[int, Meta(ge=1)]
    source: str
    added: str


decodable(Binary)


class Registry:
    """The registered binaries under a folder: each under its digest, a JSON record beside it.

    Args:
        root: default: ``runners`` in the state folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else home() / "runners"

    def add(self, path: Path, *, abi: str, name: str = "benchmark_model") -> Binary:
        """Keep a copy of a binary. Adding it again makes it the newest.

        Raises:
            BadInput: no such file, no program, or one for another ABI.
        """
        header = _header(path)
        found = elf.abi_of_header(header)
        if found != abi:
            what = f"a program for {found}" if found else _not_elf(header)
            hint = f"harness runner add {path} --abi {found}" if found else f"give the {name} built for {abi}"
            raise BadInput(f"{path.name} is {what}, not a program for {abi}", where=str(path), hint=hint)
        if not _is_program(header):
            raise BadInput(
                f"{path.name} is an ELF file that cannot be started (an object file or a library)",
                where=str(path),
                hint=f"give the {name} program itself",
            )
        data = path.read_bytes()
        digest = sha256_file(path)
        kept = self._file(digest)
        write_atomically(kept, data)
        kept.chmod(0o755)
        if sha256_file(kept) != digest:
            raise BadInput("the file changed while it was copied", where=str(path), hint="add it again")
        record = Binary(
            name=name,
            abi=abi,
            sha256=digest,
            size=len(data),
            source=path.name,
            added=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        write_atomically(self._record(digest), msgspec.json.encode(record) + b"\n")
        return record

    def all(self) -> tuple[Binary, ...]:
        """Every registered binary, the newest first.

        Raises:
            WorkFailed: a record is damaged.
        """
        return tuple(sorted(self._records(), key=lambda b: (b.added, b.sha256), reverse=True))

    def newest(self, name: str, abi: str) -> Binary | None:
        """The binary that is used for a name and ABI."""
        return next((binary for binary in self.all() if (binary.name, binary.abi) == (name, abi)), None)

    def in_use(self) -> tuple[Binary, ...]:
        """The newest binary of each name and ABI."""
        newest: dict[tuple[str, str], Binary] = {}
        for binary in self.all():
            newest.setdefault((binary.name, binary.abi), binary)
        return tuple(newest.values())

    def path(self, binary: Binary) -> Path:
        """The kept file.

        Raises:
            WorkFailed: it is gone, or another one than was added.
        """
        kept = self._file(binary.sha256)
        if not kept.is_file() or sha256_file(kept) != binary.sha256:
            raise WorkFailed(
                f"the registered {binary.name} sha256:{binary.sha256[:12]} is missing or damaged",
                where=str(kept),
                hint=f"harness runner add PATH --abi {binary.abi}",
            )
        return kept

    def remove(self, prefix: str) -> Binary:
        """Forget the one binary whose digest begins with ``prefix`` (``sha256:`` in front is taken off).

        Raises:
            BadInput: none or several begin so.
        """
        found = self.find(prefix)
        # The record first: a file without one is never used.
        self._record(found.sha256).unlink(missing_ok=True)
        self._file(found.sha256).unlink(missing_ok=True)
        return found

    def find(self, prefix: str) -> Binary:
        """The one binary whose digest begins with ``prefix`` (``sha256:`` in front is taken off).

        Raises:
            BadInput: none or several begin so.
        """
        wanted = prefix.removeprefix("sha256:").lower()
        found = [binary for binary in self.all() if wanted and binary.sha256.startswith(wanted)]
        if len(found) != 1:
            what = f"{len(found)} registered binaries begin with" if found else "no registered binary begins with"
            detail = tuple(f"{b.sha256[:16]} {b.name} {b.abi}" for b in found)
            raise BadInput(f"{what} {prefix!r}", detail=detail, hint="harness runner list")
        return found[0]

    def _records(self) -> Iterator[Binary]:
        for path in self.root.glob("*.json") if self.root.is_dir() else ():
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Binary)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise WorkFailed(
                    f"a record of a registered binary is damaged: {error}", where=str(path), hint=f"rm {path}"
                ) from error
            if path.stem == record.sha256:
                yield record

    def _file(self, digest: str) -> Path:
        return self.root / digest

    def _record(self, digest: str) -> Path:
        return self.root / f"{digest}.json"


def _header(path: Path) -> bytes:
    if not path.is_file():
        raise BadInput("no such file" if not path.exists() else "not a file", where=str(path))
    if path.stat().st_size > LARGEST:
        raise BadInput(f"larger than {LARGEST >> 20} MiB; that is no runner", where=str(path))
    with path.open("rb") as file:
        return file.read(64)


def _is_program(header: bytes) -> bool:
    """Whether an ELF file is of a type that starts and has an address to start at (a library has none)."""
    order: Literal["little", "big"] = "little" if header[5] == 1 else "big"
    width = 8 if header[4] == 2 else 4
    kind = int.from_bytes(header[16:18], order)
    return kind in _PROGRAM and int.from_bytes(header[24 : 24 + width], order) != 0


def _not_elf(header: bytes) -> str:
    if header.startswith(b"#!"):
        return "a script"
    if header.startswith(b"PK"):
        return "a zip or .apk file"
    return "an ELF file of another kind" if header.startswith(b"\x7fELF") else "no ELF file"
