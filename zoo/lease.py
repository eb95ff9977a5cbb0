"""What is in use right now, so that nothing of it is collected: leases, and the register they are entered in.

    leases/register      locked for a moment by who takes a lease or sets a tag, alone by who takes something away
    leases/*.lease       locked as long as its process lives; lists the digests that are in use

All locks are flocks: they end with their process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def registering(root: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold the register of a store: together with others, or alone. Held for moments, so it is waited for."""
    folder = root / "leases"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "register", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def lease(root: Path, digests: Iterable[str]) -> Iterator[None]:
    """These digests are in use inside the block, whichever process asks."""
    text = "\n".join(sorted(set(digests))).encode()
    with registering(root):  # who collects sees the lease locked and filled in, or not at all
        handle, name = tempfile.mkstemp(dir=root / "leases", suffix=".lease")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, text)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            os.close(handle)
            raise
    try:
        yield
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def leased(root: Path, *, clear: bool = False) -> frozenset[str]:
    """The digests of all live leases.

    Args:
        root: of the store.
        clear: remove what dead processes left; only who holds the register alone may.
    """
    digests: set[str] = set()
    folder = root / "leases"
    for path in folder.glob("*.lease") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _locked(handle):
                    digests.update(os.read(handle, os.fstat(handle).st_size).decode("ascii", "replace").split())
                elif clear:
                    path.unlink()
            finally:
                os.close(handle)
    return frozenset(digests)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
