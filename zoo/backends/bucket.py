"""A bucket, or whatever else fsspec has a driver for, as a remote: s3, gs, abfs, memory, ...

A bucket shows a file when its one request is complete, so nothing is renamed there; on other file systems a file is
written under a name of its own and moved. Drivers are extras; which credentials they find where is theirs.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pocketzoo.errors import BadInput, PocketzooError
from pocketzoo.files import CHUNK
from zoo.backends.protocol import Blob, ReadOnly, RemoteDenied, RemoteUnavailable
from zoo.backends.tree import TreeRemote

READ_AHEAD = 8 << 20
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_WHOLE_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"})
_DENIED = ("Forbidden", "AccessDenied", "Unauthorized", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoCredentials")


def open_bucket(url: str, *, read_only: bool = False) -> TreeRemote:
    """The zoo under an fsspec URL.

    Raises:
        BadInput: its driver is not installed.
    """
    return TreeRemote(BucketFiles(url, read_only=read_only))


class BucketFiles:
    """Implements :class:`zoo.backends.tree.Files` over an fsspec file system."""

    def __init__(self, url: str, *, read_only: bool) -> None:
        import fsspec

        self._address = url.rstrip("/")
        self._kind = urlsplit(url).scheme
        self._read_only = read_only
        try:
            # What somebody else has published since must show: no listing is remembered.
            self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            extra = _EXTRAS.get(self._kind)
            raise BadInput(
                f"no driver for {self._kind} is installed",
                where=self._address,
                hint=f"pip install 'pocketzoo[{extra}]'" if extra else f"install fsspec's driver: {error}",
            ) from error
        except Exception as error:
            raise self._translated(error, "") from error
        self._root = root.rstrip("/")

    @property
    def address(self) -> str:
        """The URL."""
        return self._address

    def names(self, folder: str) -> list[str]:
        """See :class:`Files`."""
        path = self._at(folder)
        try:
            with self._told(folder):
                self._fs.invalidate_cache()
                found = [entry.rstrip("/") for entry in self._fs.ls(path, detail=False)]
                # A bucket may hold an empty file in place of the folder itself.
                return [entry.rpartition("/")[2] for entry in found if entry.strip("/") != path.strip("/")]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, path: str) -> int | None:
        """See :class:`Files`."""
        try:
            with self._told(path):
                self._fs.invalidate_cache()
                found = self._fs.info(self._at(path))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found.get("type") == "file" else None

    @contextlib.contextmanager
    def open(self, path: str, offset: int) -> Iterator[Blob]:
        """See :class:`Files`."""
        with self._told(path):
            self._fs.invalidate_cache()
            file = self._fs.open(self._at(path), "rb", block_size=READ_AHEAD)
        try:
            with self._told(path):
                file.seek(offset)
            yield Blob(offset, self._chunks(file, path))
        finally:
            with contextlib.suppress(Exception):  # what went wrong is told already
                file.close()

    def write(self, path: str, content: bytes | Path) -> None:
        """See :class:`Files`."""
        if self._read_only:
            raise ReadOnly("this remote is read-only", where=self.address, hint="zoo remote list")
        at = self._at(path)
        folder, _, name = at.rpartition("/")
        with self._told(path):
            if self._kind in _WHOLE_AT_ONCE:
                self._send(at, content)
                return
            temporary = f"{folder}/.{name[:100]}.{secrets.token_hex(8)}.tmp"
            self._fs.makedirs(folder, exist_ok=True)
            try:
                self._send(temporary, content)
                self._fs.mv(temporary, at)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._fs.rm_file(temporary)
                raise

    def close(self) -> None:
        """See :class:`Files`. Drivers keep their own connections."""

    def _send(self, path: str, content: bytes | Path) -> None:
        if isinstance(content, bytes):
            self._fs.pipe_file(path, content)
        else:
            self._fs.put_file(str(content), path)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _chunks(self, file: Any, path: str) -> Iterator[bytes]:
        while True:
            with self._told(path):
                chunk = file.read(CHUNK)
            if not chunk:
                return
            yield chunk

    @contextlib.contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """Drivers raise whatever their libraries do; FileNotFoundError passes, it is an answer."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, PocketzooError):
            raise
        except Exception as error:
            raise self._translated(error, path) from error

    def _translated(self, error: Exception, path: str) -> PocketzooError:
        where = f"{self._address}/{path}" if path else self._address
        # A query of a URL in a message may be a signature.
        said = re.sub(r"\?\S*", "?...", (str(error).splitlines() or [""])[0])[:200]
        text = f"{type(error).__name__}: {said}" if said else type(error).__name__
        if isinstance(error, PermissionError) or any(word in f"{type(error).__name__} {said}" for word in _DENIED):
            return RemoteDenied(
                f"no permission: {text}", where=where, hint=f"check the credentials that the {self._kind} driver finds"
            )
        return RemoteUnavailable(text, where=where, hint="run the same command again")
