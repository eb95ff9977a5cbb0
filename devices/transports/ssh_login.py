"""Reaching an ssh host: ~/.ssh/config, keys and the agent; a host key that is not recorded is never accepted."""

from __future__ import annotations

import getpass
import logging
import shlex
import socket
from pathlib import Path
from typing import Any

import paramiko

from devices import spec as written
from devices.errors import DeviceMissing, DeviceOffline, HostKeyRejected, NotAuthorised

CONNECT_S = 15.0

# What paramiko's own thread meets reaches us as an error; its traceback is nothing for a user.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Address:
    """Where an ssh entry leads, after ~/.ssh/config: host, port, user, keys, known_hosts files, proxy command."""

    def __init__(self, way: written.SshTransport, config: Path | None = None) -> None:
        path = config if config is not None else Path("~/.ssh/config").expanduser()
        options = paramiko.SSHConfig()
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                options.parse(file)
        found = options.lookup(way.host)
        self.host = str(found.get("hostname", way.host))
        self.port = way.port if way.port is not None else int(found.get("port", 22))
        self.user = way.user or str(found.get("user", "")) or getpass.getuser()
        keys = [way.key] if way.key else [str(key) for key in found.get("identityfile", [])]
        self.keys = [key for key in (Path(text).expanduser() for text in keys) if way.key or key.is_file()]
        files = [way.known_hosts] if way.known_hosts else str(found.get("userknownhostsfile", "")).split()
        self.known_hosts = [Path(text).expanduser() for text in files or ["~/.ssh/known_hosts"]]
        jump = found.get("proxyjump")
        self.proxy = f"ssh -W {self.host}:{self.port} {shlex.quote(str(jump))}" if jump else found.get("proxycommand")

    @property
    def name(self) -> str:
        """The host as known_hosts files call it."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    def __str__(self) -> str:
        return f"{self.user}@{self.name}"

    def socket(self) -> socket.socket | paramiko.ProxyCommand:
        """A connection to the host, or to its proxy command.

        Raises:
            DeviceMissing: no such host, or nothing listens there.
        """
        if self.proxy:
            return paramiko.ProxyCommand(str(self.proxy))
        try:
            connection = socket.create_connection((self.host, self.port), timeout=CONNECT_S)
            # Small messages in both directions must not wait for each other's delayed acknowledgements.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            raise DeviceMissing(
                f"no ssh server answers at {self.name}: {error.strerror or error}",
                hint="switch it on, check `host` and `port` in the inventory, and try: "
                f"ssh -p {self.port} {self.user}@{self.host}",
            ) from error

    def recorded(self) -> paramiko.HostKeys:
        """The host keys of the known_hosts files; those of the system only where none is written."""
        keys = paramiko.HostKeys()
        for path in (Path("/etc/ssh/ssh_known_hosts"), *self.known_hosts):
            if path.is_file():
                keys.load(str(path))
        return keys


def connect(address: Address, timeout_s: float, link: socket.socket | paramiko.ProxyCommand) -> paramiko.SSHClient:
    """An authenticated connection to a host whose key is recorded.

    Args:
        address: the host.
        timeout_s: for each of the steps, in seconds.
        link: a connection to it.

    Raises:
        DeviceMissing: nothing answers there.
        HostKeyRejected: its key is not recorded, or is another one than recorded.
        NotAuthorised: no key or agent that it accepts.
        DeviceOffline: it answered, and then not as an ssh server.
    """
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.get_host_keys().update(address.recorded())
    trust = f"ssh-keygen -F '{address.name}' shows what is recorded; `devices trust NAME` shows and records its key"
    try:
        client.connect(
            address.host,
            port=address.port,
            username=address.user,
            key_filename=[str(key) for key in address.keys] or None,  # type: ignore[arg-type]  # a list is taken too
            timeout=timeout_s,
            banner_timeout=timeout_s,
            auth_timeout=timeout_s,
            channel_timeout=timeout_s,
            look_for_keys=not address.keys,
            sock=link,
            transport_factory=_transport,  # type: ignore[arg-type]  # its options are passed on as they are
        )
    except paramiko.BadHostKeyException as error:
        client.close()
        raise HostKeyRejected(
            f"{address.name} shows another host key than the one recorded for it: {fingerprint(error.key)}, "
            f"recorded {fingerprint(error.expected_key)}",
            hint="find out why; where it was installed anew: "
            f"ssh-keygen -R '{address.name}', then `devices trust NAME`",
        ) from error
    except (paramiko.PasswordRequiredException, paramiko.AuthenticationException) as error:
        client.close()
        raise _refused(address, f"{address} accepts none of our keys: {error}") from error
    except FileNotFoundError as error:
        client.close()
        raise NotAuthorised(f"there is no key {error.filename}", hint="mend `key` in the inventory") from error
    except paramiko.SSHException as error:
        client.close()
        if "not found in known_hosts" in str(error):
            raise HostKeyRejected(f"the host key of {address.name} is not recorded", hint=trust) from error
        if "No authentication methods available" in str(error):  # neither an agent nor a key to try
            raise _refused(address, f"{address} wants a key, and there is none to offer") from error
        raise DeviceOffline(f"{address} does not answer as an ssh server: {error}") from error
    except (OSError, EOFError) as error:
        client.close()
        raise DeviceOffline(f"the connection to {address} broke: {error or type(error).__name__}") from error
    except BaseException:
        client.close()
        raise
    return client


def _refused(address: Address, what: str) -> NotAuthorised:
    tried = ", ".join(str(key) for key in address.keys) or "the agent's and ~/.ssh's keys"
    return NotAuthorised(
        what,
        output=(f"tried: {tried}",),
        hint=f"ssh-add KEY, or ssh-copy-id -p {address.port} {address.user}@{address.host}, or write `key` in the "
        "inventory",
    )


def _transport(link: socket.socket, **options: Any) -> paramiko.Transport:
    """A transport that prefers ciphers that authenticate by themselves: files travel a third faster than with a MAC."""
    transport = paramiko.Transport(link, **options)
    known = transport.get_security_options()
    known.ciphers = sorted(known.ciphers, key=lambda name: "gcm" not in name)
    return transport


def host_key(address: Address) -> paramiko.PKey:
    """The key a host shows now, without logging in.

    Raises:
        DeviceMissing, DeviceOffline: nothing answers there, or not as an ssh server.
    """
    transport = paramiko.Transport(address.socket())
    try:
        transport.start_client(timeout=CONNECT_S)
        return transport.get_remote_server_key()
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise DeviceOffline(f"{address} does not answer as an ssh server: {error}") from error
    finally:
        transport.close()


def fingerprint(key: paramiko.PKey) -> str:
    """``ssh-ed25519 SHA256:...``, as ssh prints it."""
    return f"{key.get_name()} {key.fingerprint}"


def record(address: Address, key: paramiko.PKey) -> Path:
    """Append a host's key to its first known_hosts file; returns the file."""
    path = address.known_hosts[0]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = path.read_bytes() if path.is_file() else b""
    separator = b"" if not before or before.endswith(b"\n") else b"\n"
    with path.open("ab") as file:
        file.write(separator + f"{address.name} {key.get_name()} {key.get_base64()}\n".encode())
    return path
