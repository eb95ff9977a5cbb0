"""What breaks on a phone, and what a user of the harness is told: a virtual phone behind both real adb servers.

Each row of docs/devices.md's table of adb's failures is a test here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices import session as sessions
from devices.errors import (
    ConnectionLost,
    DeadlineExceeded,
    DeviceBusy,
    DeviceMissing,
    DeviceOffline,
    NotAuthorised,
    TransferCorrupted,
    TransferRefused,
    TransientDeviceError,
)
from devices.session import Session, open_session
from devices.transports.adb import AdbTransport
from tests.contracts.transport_contract import LONG_S
from tests.devices.test_session import make
from tests.lab.phone.world import WORK, World, Worlds, adb_server

SIZE = 3_000_000
SHELL = "^shell.*"
OURS = "one-of-ours"  # in the command lines that faults are meant for


@pytest.fixture(params=["bundled", "system"])
def phone(request: pytest.FixtureRequest, worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = worlds(request.param)
    one.reset()
    monkeypatch.setattr(sessions, "PAUSES_S", (0.1, 0.3, 0.5, 1.0, 2.0, 4.0))
    yield one
    one.control.clear()
    assert not one.quiet(), "something still runs on the phone"
    assert not [name for name in one.control.files(WORK) if "/.part-" in name]


@pytest.fixture
def transport(phone: World) -> AdbTransport:
    transport = phone.transport()
    assert run(transport, "true") == b""
    return transport


@pytest.fixture
def session(phone: World, tmp_path: Path) -> Iterator[Session]:
    with open_session(phone.spec(), root=tmp_path / "state") as session:
        yield session


@pytest.fixture
def file(tmp_path: Path) -> tuple[str, Path]:
    return make(tmp_path, os.urandom(SIZE))


def run(transport: AdbTransport, *argv: str, deadline_s: float = LONG_S) -> bytes:
    return transport.run(argv, deadline_s=deadline_s, env={}, stdin=b"").stdout


def long_output(lines: int = 20_000) -> list[str]:
    return ["seq", "-f", f"%g-{OURS}", str(lines)]


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PAUSES_S", (0.1, 0.1))


class TestDrops:
    def test_in_a_command(self, phone: World, transport: AdbTransport) -> None:
        fault = phone.control.fault("drop", match=OURS, after=10_000, direction="out")
        with pytest.raises(ConnectionLost, match="before the command's exit code"):
            run(transport, *long_output())
        assert phone.control.happened(fault) == 1

    def test_before_a_command_begins(self, phone: World, transport: AdbTransport) -> None:
        phone.control.fault("drop", match=OURS)
        with pytest.raises(TransientDeviceError):
            run(transport, "echo", OURS)

    def test_of_the_stream_alone(self, phone: World, transport: AdbTransport) -> None:
        phone.control.fault("close", match=OURS, after=10_000, direction="out")
        with pytest.raises(ConnectionLost, match="before the command's exit code"):
            run(transport, *long_output())

    def test_a_service_that_is_refused(self, phone: World, transport: AdbTransport) -> None:
        phone.control.fault("close", match=OURS)
        with pytest.raises(TransientDeviceError, match="refused a shell"):
            run(transport, "echo", OURS)

    def test_in_a_push(self, phone: World, transport: AdbTransport, file: tuple[str, Path]) -> None:
        phone.control.fault("drop", match="SEND", after=SIZE // 2)
        with pytest.raises(ConnectionLost):
            transport.push(file[1], "/data/local/tmp/dropped", deadline_s=LONG_S)

    def test_in_a_pull(self, phone: World, transport: AdbTransport, file: tuple[str, Path], tmp_path: Path) -> None:
        transport.push(file[1], "/data/local/tmp/there", deadline_s=LONG_S)
        phone.control.fault("drop", match="RECV", after=SIZE // 2, direction="out")
        with pytest.raises(ConnectionLost):
            transport.pull("/data/local/tmp/there", tmp_path / "pulled", deadline_s=LONG_S)
        assert [path for path in tmp_path.iterdir() if "pulled" in path.name] == []

    def test_a_session_runs_the_command_again(self, phone: World, session: Session) -> None:
        fault = phone.control.fault("drop", match=OURS, after=10_000, direction="out", times=2)
        done = session.run(long_output(), deadline_s=LONG_S)
        assert done.stdout == b"".join(f"{n}-{OURS}\n".encode() for n in range(1, 20_001))
        assert phone.control.happened(fault) == 2

    def test_a_session_gives_up_with_the_reason(
        self, phone: World, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        impatient(monkeypatch)
        phone.control.fault("drop", match=OURS, after=10_000, direction="out", times=100)
        with pytest.raises(TransientDeviceError) as caught:
            session.run(long_output(), deadline_s=LONG_S)
        assert (caught.value.device, caught.value.exit_code) == ("phone", 3)

    def test_what_runs_on_after_a_drop_is_ended_before_the_next_try(self, phone: World, session: Session) -> None:
        phone.control.fault("drop", match=OURS, after=5, direction="out")
        script = f'n=$(cat n 2>/dev/null); echo 1$n >n; [ -n "$n" ] || {{ echo {OURS}; exec sleep 600; }}; echo again'
        done = session.run(["sh", "-c", f"cd {WORK} && {script}; rm n"], deadline_s=LONG_S)
        assert done.stdout == b"again\n"
        assert phone.quiet() == {}

    def test_in_a_push_of_a_session(self, phone: World, session: Session, file: tuple[str, Path]) -> None:
        fault = phone.control.fault("drop", match="SEND", after=SIZE // 2)
        there = session.push(dict([file]))
        assert phone.control.happened(fault) == 1
        assert session.run(["sha256sum", there[file[0]]], deadline_s=LONG_S).stdout.split()[0].decode() == file[0]

    def test_unplugged_in_the_middle_of_a_push_and_back(
        self, phone: World, session: Session, file: tuple[str, Path]
    ) -> None:
        phone.control.fault("drop", match="SEND", after=SIZE // 2, seconds=1.5)
        there = session.push(dict([file]))
        assert session.run(["sha256sum", there[file[0]]], deadline_s=LONG_S).stdout.split()[0].decode() == file[0]

    def test_unplugged_for_good(
        self, phone: World, session: Session, file: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        impatient(monkeypatch)
        phone.control.fault("drop", match="SEND", after=SIZE // 2, seconds=600)
        with pytest.raises(DeviceOffline) as caught:
            session.push(dict([file]))
        assert caught.value.device == "phone"
        assert "plug it in" in str(caught.value.hint)
        assert phone.control.files(f"{WORK}/files") == []  # no half file under any name

    def test_of_a_phone_that_is_away_when_a_session_is_opened(self, phone: World, tmp_path: Path) -> None:
        phone.control.fault("offline", seconds=600)
        with pytest.raises((DeviceOffline, DeviceMissing)) as caught:
            open_session(phone.spec(), root=tmp_path / "state")
        assert caught.value.exit_code == 3
        assert caught.value.hint


class TestHangs:
    @pytest.mark.parametrize("after", [None, 0])
    def test_a_shell_that_is_never_answered(self, phone: World, transport: AdbTransport, after: int | None) -> None:
        phone.control.fault("hang", match=OURS, after=after, direction="out")
        with pytest.raises(DeadlineExceeded, match="1 s"):
            run(transport, "echo", OURS, deadline_s=1.0)
        assert run(transport, "echo", "fine") == b"fine\n"

    @pytest.mark.parametrize("after", [None, SIZE // 2])
    def test_a_push(self, phone: World, transport: AdbTransport, file: tuple[str, Path], after: int | None) -> None:
        phone.control.fault("hang", match="SEND", after=after)
        with pytest.raises(DeadlineExceeded):
            transport.push(file[1], "/data/local/tmp/hung", deadline_s=1.0)

    @pytest.mark.parametrize("after", [None, 100_000])
    def test_a_pull(self, phone: World, transport: AdbTransport, tmp_path: Path, after: int | None) -> None:
        assert run(transport, "sh", "-c", "head -c 1000000 /dev/zero >/data/local/tmp/there") == b""
        phone.control.fault("hang", match="RECV", after=after, direction="out")
        with pytest.raises(DeadlineExceeded):
            transport.pull("/data/local/tmp/there", tmp_path / "pulled", deadline_s=1.0)
        assert list(tmp_path.iterdir()) == []

    def test_output_that_trickles(self, phone: World, transport: AdbTransport) -> None:
        phone.control.fault("trickle", match=OURS, seconds=0.01)
        with pytest.raises(DeadlineExceeded) as caught:
            run(transport, "sh", "-c", f"while :; do echo {OURS}; sleep 0.1; done", deadline_s=2.0)
        assert "one" in "".join(caught.value.output)

    def test_output_that_trickles_is_whole(self, phone: World, transport: AdbTransport) -> None:
        phone.control.fault("trickle", match=OURS, seconds=0.001)
        assert run(transport, "echo", OURS) == f"{OURS}\n".encode()

    def test_a_phone_that_says_nothing_for_a_while(self, phone: World, session: Session) -> None:
        phone.control.fault("offline", seconds=1.0, silent=True)
        assert session.run(["echo", "back"], deadline_s=LONG_S).stdout == b"back\n"

    def test_a_slow_phone(self, phone: World, session: Session, file: tuple[str, Path]) -> None:
        phone.control.fault("latency", seconds=0.01, times=50)
        there = session.push(dict([file]))
        assert session.run(["sha256sum", there[file[0]]], deadline_s=LONG_S).stdout.split()[0].decode() == file[0]

    def test_a_deadline_ends_the_command_on_the_phone(self, phone: World, session: Session) -> None:
        with pytest.raises(DeadlineExceeded):
            session.run(["sh", "-c", "setsid sleep 600 & sleep 600"], deadline_s=1.0)
        assert phone.quiet() == {}


class TestFiles:
    def test_a_corrupted_push_is_sent_again(self, phone: World, session: Session, file: tuple[str, Path]) -> None:
        fault = phone.control.fault("corrupt", match="SEND", after=SIZE // 2)
        there = session.push(dict([file]))
        assert phone.control.happened(fault) == 1
        assert session.run(["sha256sum", there[file[0]]], deadline_s=LONG_S).stdout.split()[0].decode() == file[0]

    def test_a_push_that_stays_corrupted(self, phone: World, session: Session, file: tuple[str, Path]) -> None:
        phone.control.fault("corrupt", match="SEND", after=7, times=100)
        with pytest.raises(TransferCorrupted, match="another hash"):
            session.push(dict([file]))
        assert phone.control.files(f"{WORK}/files") == []

    def test_a_corrupted_pull_is_fetched_again(
        self, phone: World, session: Session, file: tuple[str, Path], tmp_path: Path
    ) -> None:
        there = session.push(dict([file]))[file[0]]
        fault = phone.control.fault("corrupt", match="RECV", after=SIZE // 2)
        session.pull(there, tmp_path / "back")
        assert phone.control.happened(fault) == 1
        assert (tmp_path / "back").read_bytes() == file[1].read_bytes()

    def test_a_full_disk(self, phone: World, session: Session, tmp_path: Path) -> None:
        # Really full: the phone's disk has 256 MB.
        filled = session.run(["sh", "-c", f"cat /dev/zero >{WORK}/filler"], deadline_s=LONG_S)
        assert b"No space left" in filled.stderr
        file = make(tmp_path, os.urandom(SIZE))
        with pytest.raises(TransferRefused, match="No space left on device") as caught:
            session.push(dict([file]))
        assert "free some space" in str(caught.value.hint)
        assert session.run(["rm", f"{WORK}/filler"], deadline_s=LONG_S).ok

    @pytest.mark.parametrize(("kind", "reason"), [("full", "No space left"), ("readonly", "Read-only file system")])
    def test_the_phones_reason_is_told(
        self, phone: World, session: Session, file: tuple[str, Path], kind: str, reason: str
    ) -> None:
        phone.control.ask("fault", kind=kind, match="SEND", after=SIZE // 2)
        with pytest.raises(TransferRefused, match=reason):
            session.push(dict([file]))
        assert list(session.push(dict([file]))) == [file[0]]

    def test_a_read_only_folder(self, transport: AdbTransport, file: tuple[str, Path]) -> None:
        with pytest.raises(TransferRefused, match="Read-only file system"):
            transport.push(file[1], "/system/file", deadline_s=LONG_S)

    def test_a_pull_of_nothing_makes_nothing(self, session: Session, tmp_path: Path) -> None:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(TransferRefused, match="cannot read /data/local/tmp/nothing") as caught:
            session.pull("/data/local/tmp/nothing", tmp_path / "back")
        assert "No such file" in "".join(caught.value.output)
        assert sorted(tmp_path.iterdir()) == before

    def test_programs_do_not_run_from_the_sdcard(self, transport: AdbTransport) -> None:
        script = "cp /bin/true /sdcard/t && chmod 755 /sdcard/t; /sdcard/t"
        assert transport.run(["sh", "-c", script], deadline_s=LONG_S, env={}, stdin=b"").exit_code == 126


class TestAccess:
    def test_unauthorised_and_then_confirmed(self, phone: World, tmp_path: Path) -> None:
        phone.control.fault("unauthorised")
        with pytest.raises(NotAuthorised, match="does not trust this computer") as caught:
            open_session(phone.spec(), root=tmp_path / "state")
        assert "Allow USB debugging?" in str(caught.value.hint)
        phone.control.authorise()
        with eventually_open(phone, tmp_path) as session:
            assert session.run(["echo", "in"], deadline_s=LONG_S).stdout == b"in\n"

    def test_trust_that_is_withdrawn_is_not_tried_again(self, phone: World, session: Session) -> None:
        phone.control.fault("unauthorised")
        with pytest.raises(NotAuthorised):
            session.run(["echo"], deadline_s=LONG_S)
        phone.control.authorise()
        until = time.monotonic() + 30
        while True:
            try:
                assert session.run(["echo", "in"], deadline_s=LONG_S).stdout == b"in\n"
                return
            except NotAuthorised:
                assert time.monotonic() < until
                time.sleep(0.1)

    def test_two_sessions_of_one_state_folder(self, phone: World, session: Session, tmp_path: Path) -> None:
        with pytest.raises(DeviceBusy, match=f"process {os.getpid()}"):
            open_session(phone.spec(), root=tmp_path / "state")

    def test_a_session_of_another_host_through_another_server(
        self, phone: World, session: Session, tmp_path: Path
    ) -> None:
        with adb_server(tmp_path / "second", "bundled") as second:
            other = World(phone.control, phone.serial, second)
            with pytest.raises(DeviceBusy, match="in use by process"):
                open_session(other.spec(), root=tmp_path / "other-state")
            assert session.run(["echo", "mine"], deadline_s=LONG_S).stdout == b"mine\n"
            session.close()
            with open_session(other.spec(), root=tmp_path / "other-state") as theirs:
                assert theirs.run(["echo", "theirs"], deadline_s=LONG_S).stdout == b"theirs\n"

    @pytest.mark.parametrize("state", ["state", "another-state"])
    def test_kill_9_of_the_owner_frees_it(self, phone: World, tmp_path: Path, state: str) -> None:
        program = (
            "import sys; from pathlib import Path; from devices.session import open_session\n"
            "from devices.spec import DeviceSpec\n"
            "held = open_session(DeviceSpec.model_validate_json(sys.argv[1]), root=Path(sys.argv[2]))\n"
            "print('held', flush=True); held.run(['sleep', '600'], deadline_s=600)\n"
        )
        argv = [sys.executable, "-c", program, phone.spec().model_dump_json(), str(tmp_path / "state")]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"held\n"
            with pytest.raises(DeviceBusy, match=f"process {owner.pid} of .* since"):
                open_session(phone.spec(), root=tmp_path / state)
            owner.kill()
        with open_session(phone.spec(), root=tmp_path / state, wait_s=0) as session:
            assert session.run(["echo", "mine"], deadline_s=LONG_S).stdout == b"mine\n"
        # What the dead owner started is ended by the next session of the same state folder alone.
        phone.control.ask("kill")

    def test_a_phone_that_comes_back_while_it_is_waited_for(self, phone: World, session: Session) -> None:
        threading.Timer(0.3, lambda: phone.control.fault("offline", seconds=1.0)).start()
        script = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); sleep 0.1; done; echo whole"
        assert session.run(["sh", "-c", script], deadline_s=LONG_S).stdout == b"whole\n"


def eventually_open(phone: World, state: Path) -> Session:
    """A session, when the adb server has noticed that it may."""
    until = time.monotonic() + 30
    while True:
        try:
            return open_session(phone.spec(), root=state)
        except (NotAuthorised, DeviceOffline, DeviceMissing):
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
