"""The remotes this machine knows: ``remotes.json`` in the state folder, and what a URL may be.

    a folder             /srv/zoo, ./zoo, file:///srv/zoo
    the Hub              hf://OWNER (one repository a model) or hf://OWNER/REPO, [?private=true]
    a web server         https://host/zoo, http://host/zoo: read-only, its folders must be listed
    sftp                 sftp://[user@]host[:port]/path
    a bucket             s3://bucket/path, gs://bucket/path, and what else fsspec has a driver for

Passwords and tokens have no place in a URL, because a URL is written to a file and printed: they come from where each
of these worlds keeps them (agent and ~/.ssh, ~/.netrc, HF_TOKEN, the cloud's own environment and files).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically
from pocketzoo.home import home
from pocketzoo.names import did_you_mean
from zoo.backends.protocol import Remote
from zoo.reference import LONGEST_NAME, NAME, matches

SCHEMA = 1
VARIABLE = "POCKETZOO_REMOTE"
"""Names the default remote of one process: a name that is configured, or a URL."""
FROM_ENVIRONMENT = "environment"
RESERVED = ("local", FROM_ENVIRONMENT)
_LARGEST = 1 << 20
_OWN = ("", "file", "hf", "http", "https", "sftp")
# What wraps another file system, unpacks archives, or reaches what one of ours reaches better.
_NOT_FSSPEC = frozenset(
    {"arrow_hdfs", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir", "dirfs", "filecache", "generic"}
    | {"git", "github", "hf", "jlab", "jupyter", "libarchive", "local", "reference", "scp", "simplecache", "ssh", "tar"}
    | {"zip"}
)


class RemoteConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One configured remote."""

    name: str
    url: str
    read_only: bool = False


class Remotes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them, in the order they were added; ``default`` is asked first and published to."""

    schema: int = SCHEMA
    default: str | None = None
    remotes: tuple[RemoteConfig, ...] = ()

    def find(self, name: str) -> RemoteConfig:
        """The remote of a name.

        Raises:
            BadInput: there is none; with the nearest names.
        """
        for remote in self.remotes:
            if remote.name == name:
                return remote
        names = [remote.name for remote in self.remotes]
        close = did_you_mean(name, names)
        raise BadInput(
            f"no remote is called {name!r}",
            detail=(close or (f"there are: {', '.join(names)}" if names else "there is none yet"),),
            hint="zoo remote list" if names else "zoo remote add NAME URL",
        )

    def in_order(self) -> tuple[RemoteConfig, ...]:
        """The default first, the others as they were added."""
        return tuple(sorted(self.remotes, key=lambda remote: remote.name != self.default))


decodable(RemoteConfig, Remotes)


def load_remotes() -> Remotes:
    """What is configured, with the default that the environment names.

    Raises:
        BadInput: the file is damaged or of a newer version; the environment names no remote.
    """
    remotes = _read(_file())
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return remotes
    if matches(NAME, wanted) and any(remote.name == wanted for remote in remotes.remotes):
        return msgspec.structs.replace(remotes, default=wanted)
    if "/" not in wanted:
        try:
            remotes.find(wanted)
        except BadInput as error:
            error.where = f"the variable {VARIABLE}"
            raise
    own = RemoteConfig(name=FROM_ENVIRONMENT, url=check_url(wanted))
    return msgspec.structs.replace(remotes, default=own.name, remotes=(own, *remotes.remotes))


def add_remote(name: str, url: str, *, default: bool = False, read_only: bool = False) -> RemoteConfig:
    """Add a remote; the first one becomes the default. Nothing is connected to.

    Raises:
        BadInput: not a name, a name that is taken, not a URL, or one with a secret in it.
    """
    if not matches(NAME, name) or len(name) > LONGEST_NAME or name in RESERVED:
        raise BadInput(
            f"not a name for a remote: {name!r}",
            hint=f"lower-case letters and digits joined by single '.', '_' or '-'; not {' or '.join(RESERVED)}",
        )
    added = RemoteConfig(name=name, url=check_url(url), read_only=read_only)
    with _changing() as path:
        remotes = _read(path)
        there = next((remote for remote in remotes.remotes if remote.name == name), None)
        if there is not None and there != added:
            raise BadInput(
                f"a remote called {name} is there already: {there.url}", hint=f"zoo remote remove {name}, then add it"
            )
        kept = tuple(remote for remote in remotes.remotes if remote.name != name)
        chosen = name if default or remotes.default is None else remotes.default
        _write(path, msgspec.structs.replace(remotes, remotes=(*kept, added), default=chosen))
    return added


def remove_remote(name: str) -> RemoteConfig:
    """Forget a remote; what is published there stays. The default, where it was that, is none from now on.

    Raises:
        BadInput: there is none of that name.
    """
    with _changing() as path:
        remotes = _read(path)
        gone = remotes.find(name)
        default = None if remotes.default == name else remotes.default
        kept = tuple(remote for remote in remotes.remotes if remote.name != name)
        _write(path, msgspec.structs.replace(remotes, remotes=kept, default=default))
    return gone


def set_default(name: str) -> RemoteConfig:
    """Make a configured remote the one that is asked first and published to.

    Raises:
        BadInput: there is none of that name.
    """
    with _changing() as path:
        remotes = _read(path)
        chosen = remotes.find(name)
        _write(path, msgspec.structs.replace(remotes, default=name))
    return chosen


def which(wanted: str | None) -> RemoteConfig:
    """The remote that ``--to`` or ``--remote`` names: a configured name, a URL, or the default where it is None.

    Raises:
        BadInput: there is no such remote, or no default.
    """
    remotes = load_remotes()
    if wanted is None:
        if remotes.default is None:
            hint = "zoo remote default NAME" if remotes.remotes else "zoo remote add NAME URL"
            raise BadInput("no remote is given and none is the default", hint=hint)
        return remotes.find(remotes.default)
    if "/" in wanted:
        return RemoteConfig(name=FROM_ENVIRONMENT, url=check_url(wanted))
    return remotes.find(wanted)


def open_remote(config: RemoteConfig) -> Remote:
    """Open a remote; slow libraries are imported here, and only the one it needs.

    Raises:
        BadInput: the driver is not installed, or the folder is none.
    """
    parts = urlsplit(config.url)
    if parts.scheme in ("", "file"):
        from zoo.backends.directory import open_directory

        return open_directory(Path(unquote(parts.path)), read_only=config.read_only)
    if parts.scheme == "hf":
        from importlib import import_module

        hub: Remote = import_module("zoo.backends.hub").open_hub(config.url)
        return hub
    if parts.scheme in ("http", "https"):
        from zoo.backends.http import open_http

        return open_http(config.url, name=config.name)
    if parts.scheme == "sftp":
        from zoo.backends.sftp import open_sftp

        return open_sftp(config.url, read_only=config.read_only)
    from zoo.backends.bucket import open_bucket

    return open_bucket(config.url, read_only=config.read_only)


def check_url(text: str) -> str:
    """The URL as it is kept: paths absolute, no trailing slash.

    Raises:
        BadInput: not a URL of a kind that is known, or one that holds a password, token, query or fragment. The text
            itself is not in the message: it may hold the secret.
    """
    if not text.isprintable() or not text.strip():
        raise BadInput("not the URL of a remote: it is empty or has unprintable characters")
    if "://" not in text:
        try:
            return Path(text).expanduser().absolute().as_uri()
        except RuntimeError as error:  # ~NAME, and nobody is called that here
            raise BadInput("not the URL of a remote: its ~ leads nowhere, nobody has that name here") from error
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadInput("not the URL of a remote: it cannot be parsed", hint="zoo remote add --help") from error
    scheme = parts.scheme
    if parts.password is not None or (parts.username and scheme != "sftp"):
        raise BadInput(
            f"a {scheme} URL with a user name or password in it is refused: it would be kept and printed",
            hint=_SECRETS.get(scheme, "leave it out; the driver finds credentials where its cloud keeps them"),
        )
    if parts.fragment or (parts.query and not (scheme == "hf" and parts.query == "private=true")):
        raise BadInput(f"a {scheme} URL with a query or fragment in it is refused", hint="zoo remote add --help")
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise BadInput("a file URL names no host", hint="write file:///path, or just the path")
        return Path("/" + unquote(parts.path).lstrip("/")).as_uri()
    if (not parts.hostname and scheme != "memory") or (port is not None and not 0 < port < 65536):
        raise BadInput(f"a {scheme} URL needs a host, owner or bucket", hint="zoo remote add --help")
    if any(part in (".", "..") for part in unquote(parts.path).split("/")):
        raise BadInput(f"a {scheme} URL with '.' or '..' in its path", hint="write the path it leads to")
    if scheme not in _OWN and (scheme in _NOT_FSSPEC or not _known(scheme)):
        raise BadInput(f"no remote of the kind {scheme!r} is known", hint="zoo remote add --help")
    return text.rstrip("/")


_SECRETS = {
    "http": "write it to ~/.netrc",
    "https": "write it to ~/.netrc",
    "sftp": "use the ssh agent or a key: ssh-copy-id USER@HOST",
    "hf": "hf auth login, or HF_TOKEN",
}


def _known(scheme: str) -> bool:
    from fsspec.registry import known_implementations

    return scheme in known_implementations


def _file() -> Path:
    return home() / "remotes.json"


def _read(path: Path) -> Remotes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return Remotes()
    try:
        if len(data) > _LARGEST:
            raise msgspec.DecodeError("it is too large")
        remotes = msgspec.json.decode(data, type=Remotes)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(
            f"the list of remotes cannot be read: {error}", where=str(path), hint="mend or remove it, then add them"
        ) from error
    if remotes.schema != SCHEMA:
        raise BadInput(
            f"a list of remotes of schema {remotes.schema}; this pocketzoo reads schema {SCHEMA}",
            where=str(path),
            hint="pip install --upgrade pocketzoo",
        )
    return remotes


def _write(path: Path, remotes: Remotes) -> None:
    write_atomically(path, msgspec.json.format(msgspec.json.encode(remotes), indent=2) + b"\n")


@contextmanager
def _changing() -> Iterator[Path]:
    """One process at a time reads, changes and writes the list."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(handle)
