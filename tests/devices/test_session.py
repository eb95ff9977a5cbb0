"""A session over the local transport, and over one that fails on request."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from devices import lock, scripts
from devices import session as sessions
from devices.errors import (
    ConnectionLost,
    DeadlineExceeded,
    DeviceBusy,
    DeviceIncapable,
    DeviceMissing,
    DeviceOffline,
    TransferCorrupted,
    TransferRefused,
)
from devices.inventory import load_inventory
from devices.reach import Way
from devices.session import Session, open_session
from devices.transport import Completed
from devices.transports.local import LocalTransport
from pocketzoo.errors import BadInput
from tests.devices.test_local import alive, gone

SPEC = load_inventory().get("local")


def make(tmp_path: Path, content: bytes, name: str = "model.tflite") -> tuple[str, Path]:
    path = tmp_path / name
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), path


class Failing(LocalTransport):
    """The local transport with faults: each entry of ``faults`` is taken by the first call it applies to."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, Exception | Callable[[Path], None]]] = []
        self.calls: list[str] = []

    def _fault(self, what: str) -> Exception | Callable[[Path], None] | None:
        self.calls.append(what)
        for index, (where, fault) in enumerate(self.faults):
            if where == what:
                del self.faults[index]
                return fault
        return None

    def run(self, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str], stdin: bytes) -> Completed:
        clean = len(argv) > 2 and argv[2] == scripts.END_ALL
        fault = self._fault("clean" if clean else "run")
        if isinstance(fault, Exception):
            raise fault
        return super().run(argv, deadline_s=deadline_s, env=env, stdin=stdin)

    def push(self, local: Path, remote: str, *, deadline_s: float) -> None:
        fault = self._fault("push")
        if isinstance(fault, Exception):
            raise fault
        super().push(local, remote, deadline_s=deadline_s)
        if fault is not None:
            fault(Path(remote))


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Failing:
    monkeypatch.setattr(sessions, "PAUSES_S", (0.01, 0.01, 0.01))
    return Failing()


def opened(failing: Failing, tmp_path: Path) -> Session:
    way = Way(transport=failing, lock="t", work_dir=str(tmp_path / "work"), python="python3")
    held = lock.acquire(tmp_path / "locks", "t", device="local")
    session = Session(SPEC, way, held, owner="0123456789abcdef")
    failing.calls.clear()
    return session


def test_push_is_verified_and_skipped_when_there(failing: Failing, tmp_path: Path) -> None:
    one, two = make(tmp_path, b"one"), make(tmp_path, b"two", "agent.py")
    with opened(failing, tmp_path) as session:
        there = session.push(dict([one, two]))
        assert failing.calls == ["run", "push", "push", "run"]
        assert Path(there[one[0]]).read_bytes() == b"one"
        assert there[two[0]].endswith(f"/files/{two[0]}.py")
        assert os.access(there[one[0]], os.X_OK)
        failing.calls.clear()
        assert session.push(dict([one, two])) == there
        assert failing.calls == ["run"]  # the whole set in one round trip


def test_a_file_of_equal_size_and_other_content_is_sent_again(failing: Failing, tmp_path: Path) -> None:
    digest, path = make(tmp_path, b"right")
    with opened(failing, tmp_path) as session:
        there = Path(session.push({digest: path})[digest])
        there.write_bytes(b"wrong")
        assert session.push({digest: path})[digest] == str(there)
        assert there.read_bytes() == b"right"


def test_a_corrupted_push_is_sent_again(failing: Failing, tmp_path: Path) -> None:
    digest, path = make(tmp_path, b"content")
    failing.faults = [("push", lambda there: there.write_bytes(b"c0ntent") and None)]
    with opened(failing, tmp_path) as session:
        there = session.push({digest: path})
        assert Path(there[digest]).read_bytes() == b"content"
        assert failing.calls.count("push") == 2


def test_a_push_that_stays_corrupted_is_an_error_and_leaves_nothing(failing: Failing, tmp_path: Path) -> None:
    digest, path = make(tmp_path, b"content")
    failing.faults = [("push", lambda there: there.write_bytes(b"c0ntent") and None)] * 3
    with opened(failing, tmp_path) as session:
        with pytest.raises(TransferCorrupted, match="another hash"):
            session.push({digest: path})
        assert list(Path(session.work_dir, "files").iterdir()) == []


def test_a_drop_in_a_push_is_tried_again(failing: Failing, tmp_path: Path) -> None:
    digest, path = make(tmp_path, b"content")
    failing.faults = [("push", ConnectionLost("drop")), ("push", DeviceOffline("offline"))]
    with opened(failing, tmp_path) as session:
        assert Path(session.push({digest: path})[digest]).read_bytes() == b"content"


def test_permanent_errors_are_not_tried_again(failing: Failing, tmp_path: Path) -> None:
    digest, path = make(tmp_path, b"content")
    failing.faults = [("push", TransferRefused("disk full"))]
    with opened(failing, tmp_path) as session:
        with pytest.raises(TransferRefused) as caught:
            session.push({digest: path})
        assert caught.value.device == "local"
        assert failing.calls.count("push") == 1


def test_a_changed_local_file_is_refused(failing: Failing, tmp_path: Path) -> None:
    digest, path = make(tmp_path, b"content")
    path.write_bytes(b"c0ntent")
    with opened(failing, tmp_path) as session:
        with pytest.raises(BadInput, match="has changed"):
            session.push({digest: path})
        with pytest.raises(BadInput, match="no such file"):
            session.push({digest: tmp_path / "missing"})


def test_a_dropped_command_is_cleaned_up_and_run_again(failing: Failing, tmp_path: Path) -> None:
    with opened(failing, tmp_path) as session:
        failing.faults = [("run", ConnectionLost("drop")), ("clean", DeviceOffline("still away"))]
        assert session.run(["echo", "hi"], deadline_s=60).stdout == b"hi\n"
        assert failing.calls == ["run", "clean", "clean", "run"]


def test_tries_end_and_the_error_names_the_device(failing: Failing, tmp_path: Path) -> None:
    with opened(failing, tmp_path) as session:
        failing.faults = [("run", DeviceOffline("away"))] * 10
        with pytest.raises(DeviceOffline) as caught:
            session.run(["echo"], deadline_s=60)
        assert (caught.value.device, caught.value.exit_code) == ("local", 3)
        assert failing.calls == ["run"] * 4


def test_no_retry_past_the_deadline(failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(failing, tmp_path) as session:
        monkeypatch.setattr(sessions, "PAUSES_S", (1000.0,))
        failing.faults = [("run", DeviceOffline("away"))]
        with pytest.raises(DeviceOffline):
            session.run(["echo"], deadline_s=30)


def test_deadline_ends_what_left_its_group(tmp_path: Path) -> None:
    with open_session(SPEC, root=tmp_path) as session:
        with pytest.raises(DeadlineExceeded) as caught:
            session.run(["sh", "-c", "setsid sleep 600 & echo $!; sleep 600"], deadline_s=2)
        assert gone(int(caught.value.output[-1]))
        assert session.run(["echo", "next"], deadline_s=60).ok


def test_the_next_owner_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from devices.inventory import load_inventory\n"
        "from devices.session import open_session\n"
        f"s = open_session(load_inventory().get('local'), root=Path({str(tmp_path)!r}))\n"
        f"s.run(['sh', '-c', 'echo $$ >{tmp_path}/pid; sleep 600'], deadline_s=600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program])
    pid_file = tmp_path / "pid"
    until = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text().strip()) and time.monotonic() < until:
        time.sleep(0.02)
    orphan = int(pid_file.read_text())
    with pytest.raises(DeviceBusy, match=f"process {owner.pid} of"):
        open_session(SPEC, root=tmp_path)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert alive(orphan)
    with open_session(SPEC, root=tmp_path, wait_s=60):
        assert gone(orphan)


def test_processes_of_other_homes_are_left_alone(tmp_path: Path) -> None:
    env = {**os.environ, scripts.MARK: "fedcba9876543210.1"}
    other = subprocess.Popen(["sleep", "600"], env=env)
    try:
        open_session(SPEC, root=tmp_path).close()
        assert alive(other.pid)
    finally:
        other.kill()
        other.wait()


def test_partial_files_of_a_killed_owner_are_removed(failing: Failing, tmp_path: Path) -> None:
    opened(failing, tmp_path).close()
    files = tmp_path / "work" / "files"
    (files / ".part-0123456789abcdef-x.tflite").write_bytes(b"half")
    (files / ".part-someone-else").write_bytes(b"half")
    opened(failing, tmp_path).close()
    assert [path.name for path in files.iterdir()] == [".part-someone-else"]


def test_pull_is_verified(tmp_path: Path) -> None:
    with open_session(SPEC, root=tmp_path / "home") as session:
        session.run(["sh", "-c", f"printf data >'{session.work_dir}/out put'"], deadline_s=60)
        session.pull(f"{session.work_dir}/out put", tmp_path / "back" / "out")
        assert (tmp_path / "back" / "out").read_bytes() == b"data"
        with pytest.raises(TransferRefused, match="cannot read"):
            session.pull(f"{session.work_dir}/missing", tmp_path / "back" / "none")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["out"]


def test_local_session(tmp_path: Path) -> None:
    with open_session(SPEC, root=tmp_path) as session:
        assert session.python == sys.executable
        assert session.work_dir == str((tmp_path / "devices" / "local").resolve())
        assert session.run([session.python, "-c", "print(6 * 7)"], deadline_s=60).stdout == b"42\n"
        assert session.facts() is session.facts()
        assert session.conditions().free_bytes
    session.close()
    open_session(SPEC, root=tmp_path).close()


def test_a_device_without_sha256sum_says_so(failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "PREPARE", scripts.PREPARE.replace("sha256sum", "no-such-sha256sum"))
    with pytest.raises(DeviceIncapable, match="sha256sum"):
        opened(failing, tmp_path)


def test_a_work_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("a file in the way")
    with pytest.raises(TransferRefused, match="work folder"):
        open_session(SPEC, root=tmp_path)
    (tmp_path / "devices").unlink()
    open_session(SPEC, root=tmp_path).close()  # the lock was let go


def test_many_files_go_in_few_round_trips(failing: Failing, tmp_path: Path) -> None:
    files = dict(make(tmp_path, str(n).encode(), f"{n}.bin") for n in range(50))
    with opened(failing, tmp_path) as session:
        session.push(files)
        failing.calls.clear()
        session.push(files)
        assert len(failing.calls) <= 2


def test_unreachable_devices_are_exit_3(failing: Failing, tmp_path: Path) -> None:
    with opened(failing, tmp_path) as session:
        failing.faults = [("run", DeviceMissing("gone"))]
        with pytest.raises(DeviceMissing) as caught:
            session.conditions()
        assert caught.value.exit_code == 3


def shared(failing: Failing, tmp_path: Path, *, owner: str, host: str) -> Session:
    """A session as another host would open it: a lock of its own, the same folder on the device."""
    way = Way(transport=failing, lock="t", work_dir=str(tmp_path / "work"), python="python3", shared=True)
    return Session(SPEC, way, lock.acquire(tmp_path / host, "t", device="local"), owner=owner)


def test_another_host_is_told_who_has_the_device(failing: Failing, tmp_path: Path) -> None:
    first = shared(failing, tmp_path, owner="a" * 16, host="a")
    with pytest.raises(DeviceBusy, match=rf"in use by process {os.getpid()} of .* since .*; free in at most \d+ s"):
        shared(failing, tmp_path, owner="b" * 16, host="b")
    first.close()
    second = shared(failing, tmp_path, owner="b" * 16, host="c")
    assert second.run(["echo", "mine"], deadline_s=60).ok
    second.close()
    assert not (tmp_path / "work" / "owner").exists()


def test_a_dead_hosts_lease_ends_and_an_owner_comes_back_at_once(failing: Failing, tmp_path: Path) -> None:
    shared(failing, tmp_path, owner="a" * 16, host="a")  # never closed, as after a power cut
    shared(failing, tmp_path, owner="a" * 16, host="b").close()
    lease = tmp_path / "work" / "owner"
    for ends in (int(time.time()) - 1, int(time.time()) + 10 * 86400):
        lease.write_text(f"{'c' * 16} {ends} somebody\n")
        shared(failing, tmp_path, owner="a" * 16, host=f"at{ends}").close()
    lease.write_text("garbage\n")
    shared(failing, tmp_path, owner="a" * 16, host="g").close()


def test_the_lease_is_renewed_for_a_long_command_and_its_loss_is_noticed(failing: Failing, tmp_path: Path) -> None:
    session = shared(failing, tmp_path, owner="a" * 16, host="a")
    failing.calls.clear()
    session.run(["true"], deadline_s=60)
    assert failing.calls == ["run"]
    session.run(["true"], deadline_s=5000)
    assert failing.calls == ["run"] * 3
    assert int((tmp_path / "work" / "owner").read_text().split()[1]) > time.time() + 5000
    (tmp_path / "work" / "owner").write_text(f"{'b' * 16} {int(time.time()) + 500} process 1 of eve@other\n")
    with pytest.raises(DeviceBusy, match="eve@other"):
        session.run(["true"], deadline_s=50000)
    session.close()
    assert (tmp_path / "work" / "owner").exists()  # it is not ours to remove
