"""Files that appear whole or not at all, and the digest that names them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in chunks so that size does not matter."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value, whatever the order of its keys."""
    import json  # not at the top: every command starts by importing this file

    return sha256_bytes(json.dumps(value, sort_keys=True).encode())


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write a file that becomes visible under ``path`` only when the block ends without an error.

    The temporary file lives in the same folder, so the final rename is atomic; on any error it is removed and
    what stood at ``path`` before is still there.

    Args:
        path: the final place; missing parent folders are made.
        durable: flush to disk before the rename, so that a power loss leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        # mkstemp makes files private; a published file has the permissions any new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` as a whole."""
    with replacing(path, durable=durable) as file:
        file.write(data)


@contextmanager
def locked_file(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
    """A file, made where it is missing, that one process at a time holds; whoever holds it may remove it.

    Args:
        path: its place; the folder is made.
        waiting: called where another process holds it and is waited for.

    Yields:
        The open file, which has this name at that moment.
    """
    mine = False
    while not mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            # Who held it may have removed it since; only what has the name now is a lock.
            with contextlib.suppress(FileNotFoundError):
                mine = os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
            if mine:
                yield handle
        finally:
            os.close(handle)
