"""The local transport: the contract, and what only a process on this machine can show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devices.errors import DeadlineExceeded, OutputTooLarge
from devices.transport import Transport
from devices.transports import local
from devices.transports.local import LocalTransport
from tests.contracts.transport_contract import LONG_S, TransportContract


class TestLocal(TransportContract):
    @pytest.fixture
    def transport(self) -> Transport:
        return LocalTransport()

    @pytest.fixture
    def there(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        return str(tmp_path_factory.mktemp("there"))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, patience_s: float = 20) -> bool:
    until = time.monotonic() + patience_s
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def test_deadline_ends_grandchildren() -> None:
    script = "sleep 600 & echo $! ; sh -c 'sleep 600 & echo $!; wait' ; wait"
    with pytest.raises(DeadlineExceeded) as caught:
        LocalTransport().run(["sh", "-c", script], deadline_s=1.0, env={}, stdin=b"")
    pids = [int(line) for line in caught.value.output]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_what_a_command_leaves_behind_is_ended_and_not_waited_for() -> None:
    done = LocalTransport().run(["sh", "-c", "sleep 600 & echo $!"], deadline_s=LONG_S, env={}, stdin=b"")
    assert done.exit_code == 0
    assert gone(int(done.stdout))


def test_endless_output_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MOST_OUTPUT", 1 << 20)
    with pytest.raises(OutputTooLarge):
        LocalTransport().run(["yes"], deadline_s=LONG_S, env={}, stdin=b"")


def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    program = (
        "from devices.transports.local import LocalTransport\n"
        f"argv = ['sh', '-c', 'echo $$ >{tmp_path}/pid; sleep 600']\n"
        "LocalTransport().run(argv, deadline_s=600, env={}, stdin=b'')\n"
    )
    # A shell's background job ignores Ctrl-C, and so would everything that the tests start in one.
    argv = ["env", "--default-signal=INT", sys.executable, "-c", program]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE)
    pid_file = tmp_path / "pid"
    until = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text().strip()) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert gone(int(pid_file.read_text()))
