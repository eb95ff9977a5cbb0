"""Pushes beside the tools of the trade on the same device, turn by turn; what a push of nothing new costs; the doctor.

``python -m benchmarks.transfer [--rounds N]``

The phone is a virtual one and the board an sshd, both with this machine's own programs: they are as fast as this
machine. Needs root, sshd and sftp. A session's push ends with the SHA-256 verified on the device, which neither
``adb push`` nor ``sftp`` does; ``transport`` is the same push without that.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import adbutils

from benchmarks.report import show
from benchmarks.servers import adb_server, sshd
from devices.doctor import check_device, examine
from devices.lab.phone_control import PhoneControl, phone
from devices.lab.phone_profile import Profile
from devices.reach import reach
from devices.session import Session, open_session
from devices.spec import AdbTransport, DeviceSpec, SshTransport
from pocketzoo.files import sha256_file

SIZES_MB = (17, 200)
LATENCY_S = 0.02  # of a message, for the doctor: a phone on a busy USB hub
ADB = Path(adbutils.__file__).parent / "binaries" / "adb"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.environ["POCKETZOO_HOME"] = str(Path(folder, "home"))
        here = Path(folder)
        board, sftp = stack.enter_context(_board(here))
        server = stack.enter_context(adb_server(here / "adb", ADB))
        phones = [stack.enter_context(_phone(here / f"phone{n}", server)) for n in range(4)]
        handset = phones[0][0]
        rows = [
            *_pushes(here, handset, "adb push", lambda file, name: _adb_push(handset, file, name), rounds),
            *_pushes(here, board, "sftp", sftp, rounds),
        ]
        show("push", rows, f"{rounds} rounds, each push once a round, of new content; median MB/s of 10^6 bytes.")
        show("push again", [_unchanged(here, spec) for spec in (handset, board)], "50 files of 10 kB each.")
        for _, control in phones:
            control.fault("latency", seconds=LATENCY_S, times=1_000_000)
        doctor = _doctor([spec for spec, _ in phones], rounds)
        show("doctor", [doctor], f"{rounds} rounds; four phones, every message of which takes {LATENCY_S * 1e3:g} ms.")


Push = Callable[[Path, str], None]


def _pushes(here: Path, spec: DeviceSpec, rival: str, theirs: Push, rounds: int) -> list[dict[str, object]]:
    """Rows of MB/s: theirs, our transport's, and our session's, which verifies."""
    found = []
    with open_session(spec) as session, contextlib.closing(reach(spec, here / "bare").transport) as bare:
        folder = session.work_dir

        def verified(file: Path, digest: str) -> None:
            session.push({digest: file})

        ours: dict[str, Push] = {
            rival: theirs,
            "transport": lambda file, name: bare.push(file, name, deadline_s=300),
            "session": verified,
        }
        for size in SIZES_MB:
            rates: dict[str, list[float]] = {name: [] for name in ours}
            for counted in range(-1, rounds):  # the first round fills caches and does not count
                for name, push in ours.items():
                    file = here / f"{size}.bin"
                    file.write_bytes(os.urandom(size * 10**6))
                    # What the zoo pushes is known by its hash.
                    to = sha256_file(file) if name == "session" else f"{folder}/of-{name.replace(' ', '-')}"
                    start = time.perf_counter()
                    push(file, to)
                    if counted >= 0:
                        rates[name].append(size / (time.perf_counter() - start))
                session.run(["sh", "-c", 'rm -f -- "$1"/of-* "$1"/files/*', "sh", folder], deadline_s=60)
            medians = {name: statistics.median(values) for name, values in rates.items()}
            row: dict[str, object] = {"device": spec.transport.kind, "MB": size}
            row |= {"rival": rival, "its MB/s": medians[rival]}
            row |= {"transport": medians["transport"], "session, verified": medians["session"]}
            row["transport / rival"] = medians["transport"] / medians[rival]
            row["session / rival"] = medians["session"] / medians[rival]
            found.append(row)
    return found


def _unchanged(here: Path, spec: DeviceSpec) -> dict[str, object]:
    """Round trips of a push of 50 files that are there already."""
    files = {}
    for number in range(50):
        file = here / f"{number}.small"
        file.write_bytes(os.urandom(10_000))
        files[sha256_file(file)] = file
    with open_session(spec) as session:
        start = time.perf_counter()
        session.push(files)
        first = time.perf_counter() - start
        counted = _Counting(session)
        start = time.perf_counter()
        session.push(files)
        again = time.perf_counter() - start
    return {
        "device": spec.transport.kind,
        "first push ms": first * 1e3,
        "again ms": again * 1e3,
        "round trips": counted.calls,
    }


class _Counting:
    """Counts what a session asks of its transport from now on."""

    def __init__(self, session: Session) -> None:
        self.calls = 0
        inner = session._transport
        for name in ("run", "push", "pull"):
            setattr(inner, name, self._counted(getattr(inner, name)))

    def _counted(self, method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            self.calls += 1
            return method(*arguments, **named)

        return call


def _doctor(specs: Sequence[DeviceSpec], rounds: int) -> dict[str, object]:
    together, apart = [], []
    for counted in range(-1, rounds):
        start = time.perf_counter()
        examine(specs, asked_for=True)
        middle = time.perf_counter()
        for spec in specs:
            check_device(spec)
        if counted >= 0:
            together.append(middle - start)
            apart.append(time.perf_counter() - middle)
    side, turn = statistics.median(together), statistics.median(apart)
    return {"side by side s": side, "one after the other s": turn, "times faster": turn / side}


@contextlib.contextmanager
def _phone(folder: Path, server: str) -> Iterator[tuple[DeviceSpec, PhoneControl]]:
    with phone(folder, Profile(properties={"ro.product.model": "bench"}, disk_mb=2048)) as (control, port):
        way = AdbTransport(kind="adb", serial=f"127.0.0.1:{port}", server=server)
        yield DeviceSpec(name=folder.name, runner="python", transport=way), control


def _adb_push(spec: DeviceSpec, file: Path, name: str) -> None:
    way = spec.transport
    assert isinstance(way, AdbTransport)
    port = way.server.rpartition(":")[2]
    argv = [str(ADB), "-P", port, "-s", str(way.serial), "push", str(file), name]
    subprocess.run(argv, check=True, capture_output=True)


@contextlib.contextmanager
def _board(here: Path) -> Iterator[tuple[DeviceSpec, Push]]:
    folder = here / "sshd"
    with sshd(folder) as port:
        key, known = str(folder / "client"), str(folder / "known_hosts")
        user = getpass.getuser()
        way = {"kind": "ssh", "host": "127.0.0.1", "port": port, "user": user, "key": key, "known_hosts": known}
        spec = DeviceSpec(
            name="board", runner="python", transport=SshTransport.model_validate({**way, "work_dir": str(here / "w")})
        )

        def push(file: Path, name: str) -> None:
            options = ["-i", key, "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes", "-P", str(port)]
            argv = ["sftp", "-q", *options, f"{user}@127.0.0.1"]
            subprocess.run(argv, check=True, capture_output=True, input=f"put {file} {name}\n".encode())

        yield spec, push


if __name__ == "__main__":
    main()
