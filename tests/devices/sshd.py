"""A real sshd on loopback with keys and configuration of its own, for tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from devices.spec import SshTransport

MISSING = "needs sshd and ssh-keygen: apt-get install openssh-server"


def available() -> bool:
    """Whether this machine has what it takes."""
    return shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin") is not None and bool(shutil.which("ssh-keygen"))


class Sshd:
    """A running server. ``drop`` ends its connections, ``rekey`` gives it another host key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.known_hosts = folder / "known_hosts"
        self.process: subprocess.Popen[bytes] | None = None
        folder.chmod(0o700)
        make_key(folder / "client")
        make_key(folder / "host")
        (folder / "authorized_keys").write_bytes((folder / "client.pub").read_bytes())
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nMaxSessions 100\n"
            "Subsystem sftp internal-sftp\n"
        )
        self.trust()

    def trust(self) -> None:
        kind, key = (self.folder / "host.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
        with (self.folder / "log").open("ab") as log:
            argv = [str(program), "-D", "-e", "-f", str(self.folder / "config")]
            self.process = subprocess.Popen(argv, stderr=log, start_new_session=True)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.drop()
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def drop(self) -> None:
        """End every connection, as a cable that is pulled does; the server goes on."""
        assert self.process is not None
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if b"sshd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def rekey(self) -> None:
        self.stop()
        make_key(self.folder / "host")
        self.start()

    def spec(self, **changes: object) -> SshTransport:
        values: dict[str, object] = {
            "kind": "ssh",
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "key": str(self.folder / "client"),
            "known_hosts": str(self.known_hosts),
            "work_dir": str(self.folder / "work"),
        }
        return SshTransport.model_validate(values | changes)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Sshd]:
    server = Sshd(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def make_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found
