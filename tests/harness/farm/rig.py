"""A farm of real processes for tests: scheduler, hosts, clients; each can be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.results import Results
from pocketzoo.files import write_atomically
from tests.harness.conftest import SCRIPTS

LIMIT_S = 200.0


@dataclass
class Rig:
    """Processes by name; ``folder`` holds their logs and state folders, ``database`` is the farm's."""

    folder: Path
    database: str
    scheme: str = "tcp"
    certs: Path | None = None
    port: int = 0
    limit_s: float = LIMIT_S
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = _port_of_our_own()

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def env(self, home: str) -> dict[str, str]:
        return {
            **os.environ,
            "POCKETZOO_HOME": str(self.folder / home),
            "POCKETZOO_RESULTS": self.database,
            "POCKETZOO_REMOTE": str(self.folder / "share"),
        }

    def start(self, name: str, argv: list[str], home: str, printed: str | None = None) -> None:
        with (
            (self.folder / f"{name}.log").open("ab") as log,
            (self.folder / (printed or f"{name}.log")).open("ab") as out,
        ):
            self.processes[name] = subprocess.Popen(
                argv, env=self.env(home), stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                cwd=Path(__file__).parents[3],
            )  # fmt: skip

    def scheduler(self) -> None:
        argv = [str(SCRIPTS / "harness"), "farm", "scheduler", "--listen", self.address, *self._certs("scheduler")]
        self.start("scheduler", argv, "home-scheduler")
        self.until(lambda: "listens at" in self.said_since("scheduler"), "the scheduler")

    def host(self, name: str, *devices: str, seconds: float = 0.05, options: tuple[str, ...] = ()) -> None:
        module = [sys.executable, "-m", "tests.harness.farm.simulated_host"]
        argv = [*module, self.address, name, str(seconds), *devices, *self._certs("host"), *options]
        shutil.rmtree(self.folder / f"home-{name}" / "held", ignore_errors=True)  # of one that was killed
        self.start(name, argv, f"home-{name}")

    def offers(self, name: str, count: int) -> None:
        """Wait until a host, since it was started last, has offered so many devices."""
        self.until(lambda: self.said_since(name).count("is offered") >= count, f"{name} to offer its devices")

    def allow(self, host: str, device: str, repeats: int | None) -> None:
        """Let so many repeats end on a device since its host was started; None: all of them."""
        file = self.folder / f"home-{host}" / "allowed" / device
        if repeats is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, str(repeats).encode())

    def held(self, host: str, device: str, repeats: int) -> None:
        """Wait until a device has measured so many repeats and is in the middle of the next."""
        file = self.folder / f"home-{host}" / "held" / device
        self.until(lambda: file.read_text() == str(repeats), f"{device} on {host} in the repeat after {repeats}")

    def kill(self, name: str) -> None:
        process = self.processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        with (self.folder / f"{name}.log").open("ab") as log:
            log.write(b"killed\n")

    def command(self, *argv: str, home: str = "home-client") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPTS / argv[0]), *argv[1:]], env=self.env(home), capture_output=True, text=True, check=False,
            timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def client(self, name: str, *options: str, program: str = "harness", printed: str | None = None) -> None:
        """``harness run --farm``, or another command, as a process that is not waited for.

        ``printed`` names a file for what it prints; without one that goes where it talks.
        """
        self.start(name, [str(SCRIPTS / program), *options], "home-client", printed)

    def run_options(self, *devices: str, threads: int = 6, repeats: int = 3) -> list[str]:
        named = [part for device in devices for part in ("--device", device)]
        counts = ",".join(str(number + 1) for number in range(threads))
        return [
            "run", "--farm", self.address, *named, "--model", "tiny", "--threads", counts, "--repeats", str(repeats),
            "--runs", "9", "--warmup", "1", "--retry", "0", *self._certs("client"),
        ]  # fmt: skip

    def ended(self, name: str) -> int:
        return self.processes[name].wait(self.limit_s)

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def said_since(self, name: str) -> str:
        """What it said since it was killed last."""
        return self.said(name).rsplit("killed\n", 1)[-1]

    def waiting(self) -> list[tuple[str, str]]:
        """(task, campaign) of everything in the queue."""
        return [(one["task"], one["campaign"]) for one in self.status()["queue"]]

    def status(self) -> dict[str, Any]:
        done = self.command("harness", "farm", "status", "--farm", self.address, "--json", *self._certs("client"))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Wait for something that another process brings about."""
        end = time.monotonic() + self.limit_s
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                if found := holds():
                    return found
            time.sleep(0.05)
        logs = "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-800:]}" for path in self.folder.glob("*.log")
        )
        raise AssertionError(f"never: {what}\n{logs}")

    def stored(self) -> int:
        """Repeats in the database; -1 while it is away."""
        from sqlalchemy import func, select

        from harness.results.schema import repeats
        from pocketzoo.errors import WorkFailed

        results = Results(self.database)
        try:
            with results.database.reading() as connection:
                return 0 if connection is None else connection.execute(select(func.count(repeats.c.id))).scalar_one()
        except WorkFailed:
            return -1
        finally:
            results.close()

    def unsound(self, *, cells: int, repeats: int) -> list[str]:
        """What is wrong with the database: every cell must have one finished round with every repeat once."""
        from sqlalchemy import select

        from harness.results import schema

        results, wrong = Results(self.database), []
        with results.database.reading() as connection:
            assert connection is not None
            rounds = connection.execute(select(schema.rounds)).all()
            numbers: dict[int, list[int]] = {}
            for row in connection.execute(select(schema.repeats.c.round_id, schema.repeats.c.number)):
                numbers.setdefault(row.round_id, []).append(row.number)
        results.close()
        if len(rounds) != cells or len({row.job_key for row in rounds}) != cells:
            wrong.append(f"{len(rounds)} rounds of {len({row.job_key for row in rounds})} cells, not of {cells}")
        for row in rounds:
            if row.state != "done" or sorted(numbers.get(row.id, [])) != list(range(repeats)):
                wrong.append(f"{row.device} {row.job_key[:12]}: {row.state}, repeats {sorted(numbers.get(row.id, []))}")
        return wrong

    def _certs(self, member: str) -> list[str]:
        return [] if self.certs is None else ["--certs", str(self.certs / member)]


def _port_of_our_own() -> int:
    """A port for a listener that is killed and started again: none that the system gives to others meanwhile."""
    while True:
        port = secrets.randbelow(20000) + 10000  # what is given out by itself begins at 32768
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def farm(folder: Path, database: str, model: Path, *, certs: Path | None = None) -> Iterator[Rig]:
    """A farm whose remote holds the model ``tiny``; its processes are ended with the block."""
    with bare_farm(folder, database, certs=certs) as rig:
        share = str(folder / "share")
        for argv in (("zoo", "add", str(model), "--name", "tiny"), ("zoo", "push", "tiny", "--to", share)):
            done = rig.command(*argv)
            assert done.returncode == 0, done.stderr
        yield rig


@contextlib.contextmanager
def bare_farm(folder: Path, database: str, *, certs: Path | None = None) -> Iterator[Rig]:
    """A farm whose remote is empty; its processes are ended with the block."""
    rig = Rig(folder, database, scheme="tls" if certs else "tcp", certs=certs)
    (folder / "share").mkdir()
    try:
        yield rig
    finally:
        for process in rig.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(30)
