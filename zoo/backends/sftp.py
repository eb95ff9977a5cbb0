"""A folder on an ssh server as a remote, with the same keys, agent, ~/.ssh/config and known hosts as the devices.

Not fsspec's: it accepts any host key it does not know. A host whose key is not recorded is refused here
(docs/decisions/0511).
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import CHUNK
from zoo.backends.protocol import MOST_NAMES, Blob, ReadOnly, RemoteBroken, RemoteDenied, RemoteUnavailable
from zoo.backends.tree import TreeRemote

if TYPE_CHECKING:
    from paramiko import SFTPClient, SFTPFile, SSHClient

BLOCK = 1 << 15  # what every server answers in one message
AT_ONCE = 128  # blocks asked for before the first one is there: a distant server costs its distance once in 4 MiB
CHANNELS = 6  # of one connection; sshd allows ten. Two threads cannot share one: paramiko mixes up their answers
CONNECT_S = 15.0
SILENCE_S = 30.0


def open_sftp(url: str, *, read_only: bool = False, config: Path | None = None) -> TreeRemote:
    """The zoo in a folder of an ssh server.

    Args:
        url: ``sftp://[user@]host[:port]/path``; a path that begins with ``/~/`` is in the user's home.
        read_only: refuse to write.
        config: an ssh configuration to use instead of ~/.ssh/config.
    """
    return TreeRemote(SftpFiles(url, read_only=read_only, config=config))


class SftpFiles:
    """Implements :class:`zoo.backends.tree.Files` over one ssh connection, made when it is first needed."""

    def __init__(self, url: str, *, read_only: bool, config: Path | None) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise BadInput("an sftp URL needs a host", hint="sftp://USER@HOST/PATH")
        self._host, self._port = parts.hostname, parts.port
        self._user = unquote(parts.username) if parts.username else None
        path = unquote(parts.path).rstrip("/")
        self._root = path[3:] or "." if path.startswith("/~/") or path == "/~" else path or "/"
        self._read_only = read_only
        self._config = config
        self._client: SSHClient | None = None
        self._idle: list[SFTPClient] = []
        self._folders: set[str] = set()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(CHANNELS)
        user = f"{self._user}@" if self._user else ""
        self._address = f"sftp://{user}{self._host}{f':{self._port}' if self._port else ''}{path}"

    @property
    def address(self) -> str:
        """The URL."""
        return self._address

    def names(self, folder: str) -> list[str]:
        """See :class:`Files`."""
        found: list[str] = []
        try:
            with self._channel(folder) as sftp:
                # As an iterator, and no farther than a sound listing goes: memory is bounded.
                for entry in sftp.listdir_iter(self._at(folder), read_aheads=4):
                    name = entry.filename
                    if not name.startswith(".") and "/" not in name:
                        found.append(name)
                    if len(found) > MOST_NAMES:
                        break
        except FileNotFoundError:
            self._reachable()
        return found

    def size(self, path: str) -> int | None:
        """See :class:`Files`."""
        try:
            with self._channel(path) as sftp:
                found = sftp.lstat(self._at(path))
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode or 0):
            raise RemoteBroken(f"{path} is no plain file", where=self.address)
        return found.st_size

    @contextlib.contextmanager
    def open(self, path: str, offset: int) -> Iterator[Blob]:
        """See :class:`Files`."""
        with ExitStack() as stack:
            sftp = stack.enter_context(self._channel(path))
            file = sftp.open(self._at(path), "rb")
            size = file.stat().st_size or 0
            body = _Body(self, file, path, offset, size)
            stack.callback(body.end, sftp)
            yield Blob(offset, body.chunks())

    def write(self, path: str, content: bytes | Path) -> None:
        """See :class:`Files`. Where the server cannot rename over a file, that file is removed first."""
        if self._read_only:
            raise ReadOnly("this remote is read-only", where=self.address, hint="zoo remote list")
        folder, _, name = path.rpartition("/")
        try:
            with self._channel(path) as sftp:
                self._make(sftp, folder)
                temporary = f"{self._at(folder)}/.{name[:100]}.{secrets.token_hex(8)}.tmp"
                try:
                    with sftp.open(temporary, "wx") as file:
                        file.set_pipelined(True)
                        if isinstance(content, bytes):
                            file.write(content)
                        else:
                            with content.open("rb") as reader:
                                while chunk := reader.read(CHUNK):
                                    file.write(chunk)
                    size = len(content) if isinstance(content, bytes) else content.stat().st_size
                    # Writes are not waited for one by one; a disk that was full shows here.
                    if sftp.stat(temporary).st_size != size:
                        raise WorkFailed(f"{path} was not written whole; is the disk there full?", where=self.address)
                    self._rename(sftp, temporary, self._at(path))
                except BaseException:
                    with contextlib.suppress(Exception):
                        sftp.remove(temporary)
                    raise
        except FileNotFoundError as error:
            raise RemoteUnavailable(f"{path} cannot be written: its folder went away", where=self.address) from error

    def close(self) -> None:
        """See :class:`Files`."""
        with self._lock:
            client, self._client = self._client, None
            self._idle.clear()
        if client is not None:
            client.close()

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def _rename(self, sftp: SFTPClient, temporary: str, path: str) -> None:
        try:
            sftp.posix_rename(temporary, path)
        except OSError as error:
            if error.errno is not None:
                raise
            with contextlib.suppress(FileNotFoundError):  # a server without OpenSSH's extension
                sftp.remove(path)
            sftp.rename(temporary, path)

    def _make(self, sftp: SFTPClient, folder: str) -> None:
        """Make a folder and those above it up to the root; none of them may be a link."""
        parts = folder.split("/")
        for count in range(len(parts) + 1):
            path = "/".join(parts[:count])
            if path in self._folders:
                continue
            if count == 0:
                self._make_root(sftp)
            else:
                try:
                    sftp.mkdir(self._at(path))
                except OSError:  # there, or not allowed: which one shows now
                    if not stat.S_ISDIR(sftp.lstat(self._at(path)).st_mode or 0):
                        raise RemoteBroken(
                            f"{path} is a link or a file; it is not followed", where=self.address
                        ) from None
            self._folders.add(path)

    def _make_root(self, sftp: SFTPClient) -> None:
        missing = []
        path = self._root
        while path not in ("", "/", "."):
            try:
                sftp.stat(path)
                break
            except FileNotFoundError:
                missing.append(path)
                path = path.rpartition("/")[0]
        for path in reversed(missing):
            with contextlib.suppress(OSError):  # another publisher was faster; if not, the next write tells
                sftp.mkdir(path)

    def _reachable(self) -> None:
        try:
            with self._channel("") as sftp:
                sftp.stat(self._root)
        except FileNotFoundError as error:
            raise RemoteUnavailable(
                "the folder of this remote is not there",
                where=self.address,
                hint=f"make it: ssh {self._host} mkdir -p '{self._root}'",
            ) from error

    @contextlib.contextmanager
    def _channel(self, path: str) -> Iterator[SFTPClient]:
        """An sftp channel for one thread. It is used again unless something but an answer came back over it."""
        with self._room, self.told(path):
            with self._lock:
                sftp = self._idle.pop() if self._idle else None
            if sftp is None:
                sftp = self._opened()
            try:
                yield sftp
            except (FileNotFoundError, PermissionError, RemoteBroken):
                self._give_back(sftp)
                raise
            except BaseException:
                sftp.close()
                raise
            self._give_back(sftp)

    def _give_back(self, sftp: SFTPClient) -> None:
        channel = sftp.get_channel()
        with self._lock:
            if channel is not None and not channel.closed and self._client is not None:
                self._idle.append(sftp)

    def _opened(self) -> SFTPClient:
        with self._lock:
            transport = self._client.get_transport() if self._client is not None else None
            if self._client is None or transport is None or not transport.is_active():
                self._client = self._connected()
            sftp = self._client.open_sftp()
        channel = sftp.get_channel()
        if channel is not None:
            channel.settimeout(SILENCE_S)
        return sftp

    def _connected(self) -> SSHClient:
        from devices.errors import DeviceMissing, DeviceOffline, HostKeyRejected, NotAuthorised
        from devices.spec import SshTransport
        from devices.transports.ssh_login import Address, connect

        address = Address(SshTransport(kind="ssh", host=self._host, port=self._port, user=self._user), self._config)
        try:
            return connect(address, CONNECT_S, address.socket())
        except HostKeyRejected as error:
            hint = error.hint
            if "is not recorded" in error.what:
                hint = f"ssh -p {address.port} {address.user}@{address.host} once; look at its fingerprint, accept it"
            raise RemoteDenied(error.what, where=self.address, detail=error.detail, hint=hint) from error
        except NotAuthorised as error:
            hint = f"ssh-add KEY, or ssh-copy-id -p {address.port} {address.user}@{address.host}"
            raise RemoteDenied(error.what, where=self.address, detail=error.detail, hint=hint) from error
        except (DeviceMissing, DeviceOffline) as error:
            hint = f"check the network and the URL, and try: sftp -P {address.port} {address.user}@{address.host}"
            raise RemoteUnavailable(error.what, where=self.address, hint=hint) from error

    def _broken(self) -> None:
        """The connection is not used again; the next call makes one."""
        with self._lock:
            client, self._client = self._client, None
            self._idle.clear()
        if client is not None:
            client.close()

    @contextlib.contextmanager
    def told(self, path: str) -> Iterator[None]:
        """paramiko's errors as a remote's own; FileNotFoundError passes, it is an answer."""
        import paramiko

        where = f"{self.address}/{path}" if path else self.address
        try:
            yield
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise RemoteDenied(f"no permission: {error.strerror}", where=where) from error
        except (paramiko.SSHException, EOFError) as error:
            self._broken()
            raise RemoteUnavailable(f"the connection broke: {error or type(error).__name__}", where=where) from error
        except TimeoutError as error:
            self._broken()
            raise RemoteUnavailable("the server does not answer in time", where=where) from error
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise RemoteBroken(f"{path} leads over a file", where=where) from error
            if error.errno is None and "closed" in str(error).lower():
                self._broken()
            raise RemoteUnavailable(f"the server says: {error.strerror or error}", where=where) from error


class _Body:
    """A file that is being read, some blocks ahead."""

    def __init__(self, files: SftpFiles, file: SFTPFile, path: str, offset: int, size: int) -> None:
        self._files, self._file, self._path = files, file, path
        self._at, self._size = offset, size
        self._pending = False
        ask = getattr(file, "_prefetch_thread", None)
        if ask is not None:
            # paramiko asks for blocks in a thread of its own. What breaks there breaks the reader, too, which tells;
            # the thread's own traceback is nothing for a user.
            def asking(*arguments: object) -> None:
                with contextlib.suppress(Exception):
                    ask(*arguments)

            file.__dict__["_prefetch_thread"] = asking

    def chunks(self) -> Iterator[bytes]:
        """The blocks; ends where the file does, or where it became shorter: who reads counts."""
        while self._at < self._size:
            end = min(self._size, self._at + BLOCK * AT_ONCE)
            wanted = [(start, min(BLOCK, end - start)) for start in range(self._at, end, BLOCK)]
            self._pending = True
            with self._files.told(self._path):
                for block in self._file.readv(wanted):
                    if not block:
                        return
                    self._at += len(block)
                    yield block
            self._pending = False

    def end(self, sftp: SFTPClient) -> None:
        """Answers that nobody waits for any more would be taken for others': such a channel is closed."""
        if self._pending:
            sftp.close()
        else:
            self._file.close()
