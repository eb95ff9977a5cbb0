"""A real PostgreSQL server of its own for tests and benchmarks: unprivileged, on a unix socket, gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import runs

MISSING = "needs PostgreSQL's server: apt-get install postgresql"


def programs() -> Path | None:
    """The folder with initdb, postgres and pg_ctl; Debian keeps them out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    plain = shutil.which("initdb")
    return found[-1].parent if found else Path(plain).parent if plain else None


@dataclass
class Server:
    """A running server. ``new_database`` gives the URL of an empty database."""

    folder: Path
    bin: Path
    owner: str | None
    fsync: bool = False
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_database(self) -> str:
        name = f"results{next(self._numbers)}"
        self.call("createdb", "--host", str(self.folder), "--username", "pocketzoo", name)
        return f"postgresql://pocketzoo@/{name}?host={self.folder}"

    def start(self) -> None:
        """Start it, also after :meth:`kill`."""
        # What survives a power loss is the server's affair and not tested here; without fsync the tests are quick.
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=100"
        options += f" -c fsync={'on' if self.fsync else 'off'}"
        log = str(self.folder / "server.log")
        data = str(self.folder / "data")
        self.call("pg_ctl", "start", "--wait", "--pgdata", data, "--log", log, "--options", options)

    def kill(self) -> None:
        """End it at once, as a crash does: no client is told goodbye, nothing is written any more."""
        lock = self.folder / "data" / "postmaster.pid"
        pid = int(lock.read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        while any(runs(int(one)) for one in (pid, *children)):
            time.sleep(0.02)
        for left in (lock, *self.folder.glob(".s.PGSQL.*")):  # a zombie of that number would pass for their owner
            left.unlink(missing_ok=True)

    def call(self, program: str, *argv: str) -> None:
        """Run one of its programs. Output goes to a file: a server that pg_ctl starts keeps what it inherits open."""
        log = self.folder / "calls.log"
        with log.open("ab") as out:
            done = subprocess.run(
                [str(self.bin / program), *argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, cwd=self.folder,
                user=self.owner, extra_groups=None if self.owner is None else [],
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            )  # fmt: skip
        if done.returncode:
            server_log = self.folder / "server.log"
            more = server_log.read_text() if server_log.exists() else ""
            raise RuntimeError(f"{program} {argv}: exit {done.returncode}\n{log.read_text()}\n{more}")


@contextlib.contextmanager
def running(*, fsync: bool = False) -> Iterator[Server]:
    """A server until the block ends. It refuses to run as root, so root runs it as the package's own user."""
    binaries = programs()
    if binaries is None:
        raise RuntimeError(MISSING)
    owner = "postgres" if os.geteuid() == 0 else None
    # Not under pytest's own folder: that is closed to other users, and a socket's path is at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pocketzoo-pg-", dir="/tmp"))
    data = folder / "data"
    server = Server(folder, binaries, owner, fsync)
    try:
        if owner is not None:
            os.chown(folder, pwd.getpwnam(owner).pw_uid, -1)
        server.call(
            "initdb", "--pgdata", str(data), "--username", "pocketzoo", "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        )  # fmt: skip
        server.start()
        try:
            yield server
        finally:
            server.call("pg_ctl", "stop", "--wait", "--pgdata", str(data), "--mode", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
