"""The adb transport: against the real server without a phone, and against one that answers as it is told.

The scripted server shows each way in which a phone fails; the contract runs on it too.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices import session as sessions
from devices.errors import (
    ConnectionLost,
    DeadlineExceeded,
    DeviceIncapable,
    DeviceMissing,
    DeviceOffline,
    NotAuthorised,
    TransferRefused,
)
from devices.inventory import load_inventory
from devices.session import open_session
from devices.spec import AdbTransport as Written
from devices.spec import DeviceSpec
from devices.transport import Transport
from devices.transports.adb import AdbTransport, find, look, versions
from tests.contracts.transport_contract import LONG_S, TransportContract
from tests.devices.adb_servers import ScriptedServer, Talk, real_server, run_here, scripted_server, sync_here
from tests.devices.sshd import free_port
from tests.devices.test_local import gone
from tests.devices.test_session import make

KIRIN = {"ro.board.platform": "kirin970"}
EXPECT = {"ro.board.platform": ("kirin970",)}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        scripted.phones = {"SER1": "device"}
        scripted.properties = {"SER1": KIRIN}
        scripted.shell = run_here
        scripted.sync = sync_here
        yield scripted


def way(server: ScriptedServer, serial: str | None = None) -> Written:
    return Written(kind="adb", serial=serial, server=server.address)


def phone(server: ScriptedServer, folder: Path, serial: str | None = None) -> DeviceSpec:
    transport = Written(kind="adb", serial=serial, server=server.address, work_dir=str(folder / "work"))
    return DeviceSpec(name="kirin970", runner="benchmark_model", transport=transport, expect=EXPECT)


def run(server: ScriptedServer, *argv: str, deadline_s: float = LONG_S) -> bytes:
    return AdbTransport("SER1", server.address).run(argv, deadline_s=deadline_s, env={}, stdin=b"").stdout


class TestAdb(TransportContract):
    @pytest.fixture
    def transport(self, server: ScriptedServer) -> Transport:
        return AdbTransport("SER1", server.address)

    @pytest.fixture
    def there(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        return str(tmp_path_factory.mktemp("there"))


def test_the_real_server_without_a_phone(tmp_path: Path) -> None:
    with real_server(tmp_path) as address:
        assert look(address) == []
        spec = load_inventory().get("kirin970")
        spec = spec.model_copy(update={"transport": Written(kind="adb", server=address)})
        with pytest.raises(DeviceMissing, match="kirin970 is not connected: no phone is attached") as caught:
            open_session(spec, root=tmp_path / "home")
        assert caught.value.exit_code == 3
        for advice in ("USB debugging", "`adb devices`", "--inventory", "serial"):
            assert advice in str(caught.value.hint)
        with pytest.raises(DeviceMissing, match="SER9 is not attached"):
            find("kirin970", Written(kind="adb", serial="SER9", server=address), {})
        nothing = f"127.0.0.1:{free_port()}"
        with pytest.raises(DeviceMissing, match=f"{nothing} is not attached"):
            find("kirin970", Written(kind="adb", serial=nothing, server=address), {})
        assert f"server {address}" in versions(address)


def test_no_server_at_all(tmp_path: Path) -> None:
    address = f"127.0.0.2:{free_port()}"
    assert look(address) is None
    with pytest.raises(DeviceMissing, match="no adb server answers"):
        find("x", Written(kind="adb", server=address), {})


def test_a_server_that_says_nothing_is_not_waited_for(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.silent = True
    assert look(server.address, timeout_s=0.3) is None
    monkeypatch.setattr("devices.transports.adb.LIST_S", 0.3)
    with pytest.raises(DeviceOffline, match="does not answer"):
        find("x", way(server), {})


def test_the_one_phone_that_fits_is_found(server: ScriptedServer) -> None:
    server.phones = {"A": "device", "B": "device", "C": "unauthorized"}
    server.properties = {"A": {"ro.board.platform": "sdm845"}, "B": KIRIN}
    assert find("kirin970", way(server), EXPECT) == "B"
    assert find("any", way(server, "A"), EXPECT) == "A"


def test_no_phone_fits(server: ScriptedServer) -> None:
    server.phones = {"A": "device", "C": "unauthorized"}
    server.properties = {"A": {"ro.board.platform": "sdm845"}}
    with pytest.raises(DeviceMissing, match="no attached phone is kirin970") as caught:
        find("kirin970", way(server), EXPECT)
    assert caught.value.output == ("A: ro.board.platform is sdm845", "C: unauthorized")


def test_two_phones_fit(server: ScriptedServer) -> None:
    server.phones = {"A": "device", "B": "device"}
    server.properties = {"A": KIRIN, "B": KIRIN}
    with pytest.raises(DeviceMissing, match="2 attached phones fit kirin970") as caught:
        find("kirin970", way(server), EXPECT)
    assert "--inventory" in str(caught.value.hint)


@pytest.mark.parametrize("serial", [None, "SER1"])
def test_an_unauthorised_phone(server: ScriptedServer, serial: str | None) -> None:
    server.phones = {"SER1": "unauthorized"}
    with pytest.raises(NotAuthorised, match="does not trust this computer") as caught:
        find("kirin970", way(server, serial), EXPECT)
    assert (caught.value.exit_code, caught.value.device) == (3, "kirin970")
    assert "Allow USB debugging?" in str(caught.value.hint)


def test_no_permission_on_the_usb_device(server: ScriptedServer) -> None:
    server.phones = {"SER1": "no permissions"}
    with pytest.raises(NotAuthorised, match="USB device"):
        find("kirin970", way(server, "SER1"), EXPECT)


def test_a_tcp_serial_is_connected(server: ScriptedServer) -> None:
    serial = "10.0.0.5:4444"
    server.on_connect = lambda service: server.phones.update({serial: "device"})
    assert find("kirin970", way(server, serial), EXPECT) == serial
    assert server.connects == [f"host:connect:{serial}"]


def test_an_offline_tcp_phone_is_connected_anew(server: ScriptedServer) -> None:
    serial = "10.0.0.5:4444"
    server.phones[serial] = "offline"

    def connect(service: str) -> None:
        if service.startswith("host:connect:"):
            server.phones[serial] = "device"

    server.on_connect = connect
    assert find("kirin970", way(server, serial), EXPECT) == serial
    assert server.connects == [f"host:disconnect:{serial}", f"host:connect:{serial}"]


def test_connected_is_not_believed(server: ScriptedServer) -> None:
    with pytest.raises(DeviceMissing, match=r"10\.0\.0\.5:4444 is not attached"):
        find("kirin970", way(server, "10.0.0.5:4444"), EXPECT)


def test_a_phone_without_shell_v2(server: ScriptedServer) -> None:
    server.features = "cmd"
    with pytest.raises(DeviceIncapable, match="exit code"):
        run(server, "true")


def test_a_drop_in_a_command_is_no_success(server: ScriptedServer) -> None:
    def dropping(talk: Talk, line: str) -> None:
        talk.connection.sendall(b"OKAY")
        talk.packet(1, b"half of the out")

    server.shell = dropping
    with pytest.raises(ConnectionLost, match="before the command's exit code"):
        run(server, "echo")


def test_a_drop_in_a_packet(server: ScriptedServer) -> None:
    def dropping(talk: Talk, line: str) -> None:
        talk.connection.sendall(b"OKAY" + struct.pack("<BI", 1, 1000) + b"some")

    server.shell = dropping
    with pytest.raises(ConnectionLost):
        run(server, "echo")


@pytest.mark.parametrize("answer", [b"", b"OK", b"OKAY"])
def test_a_shell_that_is_never_answered(server: ScriptedServer, answer: bytes) -> None:
    def hanging(talk: Talk, line: str) -> None:
        talk.connection.sendall(answer)
        talk.wait_for_the_end()

    server.shell = hanging
    with pytest.raises(DeadlineExceeded):
        run(server, "echo", deadline_s=0.5)


def test_output_that_trickles_is_not_waited_for(server: ScriptedServer) -> None:
    def trickling(talk: Talk, line: str) -> None:
        talk.connection.sendall(b"OKAY")
        for _ in range(1200):
            talk.packet(1, b"tick\n")
            time.sleep(0.05)

    server.shell = trickling
    with pytest.raises(DeadlineExceeded) as caught:
        run(server, "echo", deadline_s=0.5)
    assert "tick" in caught.value.output


def test_a_sync_that_hangs(server: ScriptedServer, tmp_path: Path) -> None:
    server.sync = lambda talk: talk.wait_for_the_end()
    transport = AdbTransport("SER1", server.address)
    _, path = make(tmp_path, bytes(10_000_000))
    with pytest.raises(DeadlineExceeded):
        transport.push(path, "/x", deadline_s=0.5)
    with pytest.raises(DeadlineExceeded):
        transport.pull("/x", tmp_path / "y", deadline_s=0.5)
    assert not (tmp_path / "y").exists()


def test_a_drop_in_a_push_and_a_pull(server: ScriptedServer, tmp_path: Path) -> None:
    server.sync = lambda talk: talk.connection.sendall(b"DATA" + struct.pack("<I", 100) + b"half")
    transport = AdbTransport("SER1", server.address)
    _, path = make(tmp_path, bytes(10_000_000))
    with pytest.raises(ConnectionLost):
        transport.push(path, "/x", deadline_s=LONG_S)
    with pytest.raises(ConnectionLost):
        transport.pull("/x", tmp_path / "y", deadline_s=LONG_S)
    assert not (tmp_path / "y").exists()


def test_a_read_only_file_system_says_so(server: ScriptedServer, tmp_path: Path) -> None:
    def refusing(talk: Talk) -> None:
        reason = b"couldn't create file: Read-only file system"
        talk.connection.sendall(b"FAIL" + struct.pack("<I", len(reason)) + reason)
        talk.wait_for_the_end()

    server.sync = refusing
    _, path = make(tmp_path, bytes(10_000_000))
    with pytest.raises(TransferRefused, match="Read-only file system"):
        AdbTransport("SER1", server.address).push(path, "/system/x", deadline_s=LONG_S)


def test_a_phone_that_is_unplugged_and_comes_back(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PAUSES_S", (0.1,) * 50)
    with open_session(phone(server, tmp_path), root=tmp_path / "home") as session:
        server.phones = {}
        threading.Timer(0.5, lambda: server.phones.update(SER1="device")).start()
        assert session.run(["echo", "back"], deadline_s=LONG_S).stdout == b"back\n"
        server.phones = {}
        monkeypatch.setattr(sessions, "PAUSES_S", (0.01,))
        with pytest.raises(DeviceOffline, match="gone from the adb server's list"):
            session.run(["echo"], deadline_s=LONG_S)


def test_session_over_adb(server: ScriptedServer, tmp_path: Path) -> None:
    files = dict([make(tmp_path, os.urandom(1_000_000)), make(tmp_path, b"print(6 * 7)", "agent.py")])
    with open_session(phone(server, tmp_path), root=tmp_path / "home") as session:
        there = session.push(files)
        assert session.push(files) == there
        agent = next(path for path in there.values() if path.endswith(".py"))
        assert session.run([session.python, agent], deadline_s=LONG_S).stdout == b"42\n"
        assert session.facts().abis


def test_a_corrupted_push_is_noticed(server: ScriptedServer, tmp_path: Path) -> None:
    digest, path = make(tmp_path, b"content")
    times = []

    def corrupting(talk: Talk) -> None:
        sync_here(talk)
        times.append(1)
        if len(times) == 1:
            for file in (tmp_path / "work" / "files").iterdir():
                file.write_bytes(b"c0ntent")

    server.sync = corrupting
    with open_session(phone(server, tmp_path), root=tmp_path / "home") as session:
        assert Path(session.push({digest: path})[digest]).read_bytes() == b"content"
    assert len(times) == 2


def test_what_runs_on_after_a_drop_is_ended(server: ScriptedServer, tmp_path: Path) -> None:
    with open_session(phone(server, tmp_path), root=tmp_path / "home") as session:
        with pytest.raises(DeadlineExceeded) as caught:
            session.run(["sh", "-c", "echo $$; sleep 600"], deadline_s=2)
        assert gone(int(caught.value.output[-1]))
