"""A folder as a remote, also on a network share. No lock is needed and no link is followed.

A file is written beside its place under a name of its own, flushed and renamed over it, which every file system that
is worth sharing does at once. Hosts that share the folder need neither the same clock nor the same locks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import CHUNK
from zoo.backends.protocol import MOST_NAMES, Blob, ReadOnly, RemoteBroken, RemoteDenied, RemoteUnavailable
from zoo.backends.tree import TreeRemote

ABANDONED_S = 24 * 3600.0  # a temporary file this old, by the share's own clock, has lost its writer
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory(root: Path, *, read_only: bool = False) -> TreeRemote:
    """The zoo published in a folder; the folder is made by the first put.

    Args:
        root: the folder; it may be reached through links, what is in it may not.
        read_only: refuse to write, whatever the permissions say.

    Raises:
        BadInput: the path is no folder.
    """
    if root.exists() and not root.is_dir():
        raise BadInput("a remote is a folder, and this is none", where=str(root), hint="zoo remote add NAME FOLDER")
    return TreeRemote(DirectoryFiles(root, read_only=read_only))


class DirectoryFiles:
    """Implements :class:`zoo.backends.tree.Files` in a folder."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self._root = root
        self._read_only = read_only

    @property
    def address(self) -> str:
        """The folder."""
        return str(self._root)

    def names(self, folder: str) -> list[str]:
        """See :class:`Files`."""
        found: list[str] = []
        try:
            with self._told(folder), self._folder(folder.split("/")) as handle, os.scandir(handle) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        found.append(entry.name)
                    if len(found) > MOST_NAMES:
                        break
        except FileNotFoundError:
            # A share that is not mounted must not look like an empty zoo.
            self._reachable()
        return found

    def size(self, path: str) -> int | None:
        """See :class:`Files`."""
        *folders, name = path.split("/")
        try:
            with self._told(path), self._folder(folders) as handle:
                found = os.stat(name, dir_fd=handle, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise self._no_file(path)
        return found.st_size

    @contextlib.contextmanager
    def open(self, path: str, offset: int) -> Iterator[Blob]:
        """See :class:`Files`."""
        *folders, name = path.split("/")
        with self._told(path), self._folder(folders) as handle:
            # Not blocking: a named pipe with a file's name would keep us for ever.
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise self._no_file(path)
            os.lseek(file, offset, os.SEEK_SET)
            yield Blob(offset, self._chunks(file, path))
        finally:
            os.close(file)

    def write(self, path: str, content: bytes | Path) -> None:
        """See :class:`Files`."""
        if self._read_only:
            raise ReadOnly("this remote is read-only", where=self.address, hint="zoo remote list")
        *folders, name = path.split("/")
        try:
            with self._told(path), self._folder(folders, make=True) as handle:
                temporary = f".{name[:100]}.{secrets.token_hex(8)}.tmp"
                # The mode any new file has: the umask, or the share's default rules, decide who else may read it.
                file = os.open(
                    temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=handle
                )
                try:
                    try:
                        _fill(file, content)
                        os.fsync(file)
                        written = os.fstat(file).st_mtime
                    finally:
                        os.close(file)
                    os.replace(temporary, name, src_dir_fd=handle, dst_dir_fd=handle)  # by descriptor
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(temporary, dir_fd=handle)
                    raise
                with contextlib.suppress(OSError):  # some network file systems cannot flush a folder
                    os.fsync(handle)
                _sweep(handle, written)
        except FileNotFoundError as error:
            raise RemoteUnavailable(f"{path} cannot be written: its folder went away", where=self.address) from error

    def close(self) -> None:
        """See :class:`Files`. Nothing is kept open."""

    @contextlib.contextmanager
    def _folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder under the root, entered a component at a time, so that no link leads out."""
        if make:
            self._root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o777, dir_fd=handle)  # by descriptor
                inner = os.open(part, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def _chunks(self, file: int, path: str) -> Iterator[bytes]:
        with self._told(path):
            while chunk := os.read(file, CHUNK):
                yield chunk

    def _reachable(self) -> None:
        if not self._root.is_dir():
            raise RemoteUnavailable(
                "the folder of this remote is not there",
                where=self.address,
                hint=f"mount the share, or make the folder: mkdir -p {self.address}",
            )

    def _no_file(self, path: str) -> RemoteBroken:
        return RemoteBroken(f"{path} is no plain file; nothing there is followed or opened", where=self.address)

    @contextlib.contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """The operating system's errors as a remote's own; FileNotFoundError passes, it is an answer."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            where = f"{self.address}/{path}"
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise RemoteBroken(
                    f"{path} leads over a link or a file; links inside a remote are not followed", where=where
                ) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                raise RemoteDenied(
                    f"no permission: {error.strerror}", where=where, hint=f"ls -ld {self.address}"
                ) from error
            if error.errno == errno.EROFS:
                raise ReadOnly("this remote is mounted read-only", where=where) from error
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WorkFailed(
                    "no space left there; nothing half-written is kept", where=where, hint=f"df -h {self.address}"
                ) from error
            raise RemoteUnavailable(str(error.strerror or error), where=where) from error


def _fill(file: int, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        return
    with content.open("rb") as reader:
        while chunk := reader.read(CHUNK):
            view = memoryview(chunk)
            while view:
                view = view[os.write(file, view) :]


def _sweep(folder: int, now: float) -> None:
    """Remove what writers left that were killed; ``now`` is the time of a file just written there."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    if now - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_S:
                        os.unlink(entry.name, dir_fd=folder)
