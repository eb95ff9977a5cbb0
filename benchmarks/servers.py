"""An adb server and an sshd of a benchmark's own, on loopback; both end with the block."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

READY_S = 30.0


@contextlib.contextmanager
def adb_server(folder: Path, program: Path) -> Iterator[str]:
    """An adb server that sees no phone but those it is told of; its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "ADB_MDNS": "0"}
    env |= {"ANDROID_ADB_SERVER_PORT": str(port), "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553"}
    with _running([str(program), "-P", str(port), "server", "nodaemon", "--one-device", "none"], env, folder, port):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[int]:
    """An sshd; its port. In ``folder`` are its user's key ``client`` and ``known_hosts``."""
    program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        sys.exit("error: no sshd; next: apt-get install openssh-server")
    folder.mkdir(mode=0o700)
    for key in ("client", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    port = _free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/client.pub\nStrictModes no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
        "SetEnv SHLVL=2\n",  # else bash reads the start-up file of whoever runs this, for each command
        encoding="ascii",
    )
    kind, key = (folder / "host.pub").read_text(encoding="ascii").split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n", encoding="ascii")
    Path("/run/sshd").mkdir(exist_ok=True)
    with _running([program, "-D", "-e", "-f", str(folder / "config")], os.environ, folder, port):
        yield port


@contextlib.contextmanager
def _running(argv: Sequence[str], env: Mapping[str, str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"error: {argv[0]} does not come up:\n{(folder / 'log').read_text(errors='replace')}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
