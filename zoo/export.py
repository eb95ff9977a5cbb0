"""Copying an entry's files into somebody's folder, and nowhere else.

The folder is opened once and everything happens relative to it: whoever exchanges it for a link meanwhile gets
nothing. Names come from a manifest and are single components (:data:`zoo.artifact.FILE_NAME`); links are not followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import CHUNK
from zoo.artifact import FileRecord


def export_files(files: Sequence[tuple[FileRecord, Path]], target: Path, *, force: bool = False) -> list[Path]:
    """Copy files into a folder, which is made where it is missing; each is hashed on the way and appears whole.

    A file that is there already with the right content is left alone.

    Args:
        files: record and place of each.
        target: the folder; may itself be reached through a link, as the person who names it wants.
        force: replace other files of the same names.

    Raises:
        BadInput: something else is there under a name, and ``force`` is not given or it is no file.
        WorkFailed: a stored file is damaged, or the folder was exchanged meanwhile.
    """
    target.mkdir(parents=True, exist_ok=True)
    place = target.resolve(strict=True)
    with _opened(place) as folder:
        written = [_export(folder, target, record, source, force) for record, source in files]
        there = place.stat(follow_symlinks=False)
        if not os.path.samestat(there, os.fstat(folder)):
            raise WorkFailed("the folder was exchanged for another while files were copied into it", where=str(target))
    return written


def _export(folder: int, target: Path, record: FileRecord, source: Path, force: bool) -> Path:
    path = target / record.name
    there = _status(folder, record.name)
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise BadInput("there is something else than a file under that name", where=str(path))
    if there is not None and not force:
        if there.st_size == record.size and _sha256(folder, record.name) == record.sha256:
            return path
        raise BadInput(
            f"a different file called {record.name} is already there",
            where=str(path),
            hint="move it away, choose another --to, or add --force",
        )
    temporary = f".{record.name[:80]}.{secrets.token_hex(8)}.tmp"
    try:
        _copy(folder, temporary, source, record)
        os.replace(temporary, record.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    return path


def _copy(folder: int, name: str, source: Path, record: FileRecord) -> None:
    digest = hashlib.sha256()
    size = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with source.open("rb") as reader, os.fdopen(os.open(name, flags, 0o666, dir_fd=folder), "wb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    if digest.hexdigest() != record.sha256 or size != record.size:
        raise WorkFailed(
            f"{record.name} is not the file its manifest describes (SHA-256 {digest.hexdigest()})",
            where=str(source),
            detail=(f"expected {record.sha256}, {record.size:,} bytes",),
            hint="zoo verify",
        )


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[int]:
    try:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise WorkFailed("the folder was exchanged for something else meanwhile", where=str(place)) from error
        raise
    try:
        yield folder
    finally:
        os.close(folder)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _sha256(folder: int, name: str) -> str:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
