"""The ssh transport against a real sshd on loopback."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from devices import session as sessions
from devices.cli import devices as cli
from devices.errors import (
    ConnectionLost,
    DeadlineExceeded,
    DeviceMissing,
    DeviceOffline,
    HostKeyRejected,
    NotAuthorised,
)
from devices.inventory import load_inventory
from devices.session import open_session
from devices.spec import DeviceSpec
from devices.transport import Transport
from devices.transports.ssh import SshTransport
from devices.transports.ssh_login import Address
from tests.contracts.transport_contract import LONG_S, TransportContract
from tests.devices import sshd
from tests.devices.test_local import gone
from tests.devices.test_session import make

pytestmark = pytest.mark.skipif(not sshd.available(), reason=sshd.MISSING)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    with sshd.running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    """One of its own, for tests that break it."""
    with sshd.running(tmp_path_factory.mktemp("sshd")) as own:
        yield own


def board(server: sshd.Sshd, **changes: object) -> DeviceSpec:
    return DeviceSpec(name="board", runner="python", transport=server.spec(**changes))


class TestSsh(TransportContract):
    @pytest.fixture
    def transport(self, shared: sshd.Sshd) -> Iterator[Transport]:
        transport = SshTransport(shared.spec())
        yield transport
        transport.close()

    @pytest.fixture
    def there(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        return str(tmp_path_factory.mktemp("there"))


def test_session_over_ssh(shared: sshd.Sshd, tmp_path: Path) -> None:
    files = dict([make(tmp_path, os.urandom(3_000_000)), make(tmp_path, b"print(6 * 7)", "agent.py")])
    with open_session(board(shared), root=tmp_path / "home") as session:
        assert session.work_dir == str(shared.folder / "work")
        there = session.push(files)
        agent = next(path for path in there.values() if path.endswith(".py"))
        assert session.run([session.python, agent], deadline_s=LONG_S).stdout == b"42\n"
        facts = session.facts()
        assert facts.abis
        assert facts.abis[0] != "armv8" or os.uname().machine == "aarch64"
        assert "ran under kernel machine" in facts.abi_proofs[facts.abis[0]]
        assert session.conditions().free_bytes


def test_deadline_ends_everything_on_the_other_side(shared: sshd.Sshd, tmp_path: Path) -> None:
    with open_session(board(shared), root=tmp_path) as session:
        with pytest.raises(DeadlineExceeded) as caught:
            session.run(["sh", "-c", "setsid sleep 600 & echo $!; sleep 600 & echo $!; wait"], deadline_s=3)
        pids = [int(line) for line in caught.value.output]
        assert len(pids) == 2
        assert all(gone(pid) for pid in pids)


def test_a_drop_in_a_command_is_no_success(server: sshd.Sshd) -> None:
    transport = SshTransport(server.spec())
    threading.Timer(1.0, server.drop).start()
    with pytest.raises(ConnectionLost):
        transport.run(["sh", "-c", "echo some; exec sleep 20"], deadline_s=LONG_S, env={}, stdin=b"")
    assert transport.run(["echo", "again"], deadline_s=LONG_S, env={}, stdin=b"").stdout == b"again\n"
    transport.close()


def test_a_session_outlives_a_drop_and_ends_the_orphan(server: sshd.Sshd, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ >>{pids}; [ $(wc -l <{pids}) -gt 1 ] || sleep 600; echo done"

    def drop_when_it_runs() -> None:
        until = time.monotonic() + LONG_S
        while not pids.exists() and time.monotonic() < until:
            time.sleep(0.05)
        server.drop()

    with open_session(board(server), root=tmp_path / "home") as session:
        dropper = threading.Thread(target=drop_when_it_runs)
        dropper.start()
        assert session.run(["sh", "-c", script], deadline_s=LONG_S).stdout == b"done\n"
        dropper.join()
    first, second = (int(line) for line in pids.read_text().split())
    assert gone(first)
    assert gone(second)


def test_a_drop_in_a_push_leaves_no_half_file(
    server: sshd.Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, path = make(tmp_path, os.urandom(30_000_000))
    monkeypatch.setattr(sessions, "PAUSES_S", (0.1, 0.1, 0.1))
    with open_session(board(server), root=tmp_path / "home") as session:
        threading.Timer(0.1, server.drop).start()
        there = session.push({digest: path})
        assert Path(there[digest]).read_bytes() == path.read_bytes()
        assert [found.name for found in Path(session.work_dir, "files").iterdir()] == [f"{digest}.tflite"]


def test_a_board_that_reboots_is_offline_and_comes_back(server: sshd.Sshd) -> None:
    transport = SshTransport(server.spec())
    transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    server.stop()
    with pytest.raises((ConnectionLost, DeviceOffline)):
        transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    with pytest.raises(DeviceOffline, match="no ssh server answers"):
        transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    server.start()
    assert transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"").ok
    transport.close()


def test_an_unknown_host_key_is_refused(shared: sshd.Sshd, tmp_path: Path) -> None:
    transport = SshTransport(shared.spec(known_hosts=str(tmp_path / "none")))
    with pytest.raises(HostKeyRejected, match="not recorded") as caught:
        transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    assert caught.value.exit_code == 3
    assert "devices trust" in str(caught.value.hint)


def test_a_changed_host_key_is_refused(server: sshd.Sshd) -> None:
    transport = SshTransport(server.spec())
    transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    transport.close()
    server.rekey()
    with pytest.raises(HostKeyRejected, match="another host key than the one recorded") as caught:
        transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    assert "ssh-keygen -R" in str(caught.value.hint)


def test_a_key_that_is_not_accepted(shared: sshd.Sshd, tmp_path: Path) -> None:
    sshd.make_key(tmp_path / "other")
    transport = SshTransport(shared.spec(key=str(tmp_path / "other")))
    with pytest.raises(NotAuthorised, match="accepts none of our keys") as caught:
        transport.run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    assert caught.value.exit_code == 3
    with pytest.raises(NotAuthorised, match="no key"):
        SshTransport(shared.spec(key=str(tmp_path / "missing"))).run(["true"], deadline_s=LONG_S, env={}, stdin=b"")


def test_no_key_and_no_agent(shared: sshd.Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "bare"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    way = shared.spec(known_hosts=shared.spec().known_hosts).model_copy(update={"key": None})
    with pytest.raises(NotAuthorised, match="there is none to offer") as caught:
        SshTransport(way).run(["true"], deadline_s=LONG_S, env={}, stdin=b"")
    assert "ssh-copy-id" in str(caught.value.hint)


def test_nothing_there(tmp_path: Path, shared: sshd.Sshd) -> None:
    spec = board(shared, port=sshd.free_port())
    with pytest.raises(DeviceMissing, match="no ssh server answers") as caught:
        open_session(spec, root=tmp_path)
    assert (caught.value.exit_code, caught.value.device) == (3, "board")


def test_trust_shows_and_records(server: sshd.Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known" / "hosts"
    inventory = tmp_path / "mine.yaml"
    way = json.dumps(server.spec(known_hosts=str(known)).model_dump())
    inventory.write_text(f"devices:\n  board:\n    runner: python\n    transport: {way}\n")
    options = ["trust", "board", "--inventory", str(inventory)]
    declined = CliRunner().invoke(cli, options, input="n\n")
    assert declined.exit_code != 0
    assert "SHA256:" in declined.stderr
    assert not known.exists()
    recorded = CliRunner().invoke(cli, [*options, "--yes", "--json"])
    assert json.loads(recorded.stdout)["new"] is True
    spec = load_inventory(inventory).get("board")
    with open_session(spec, root=tmp_path / "home") as session:
        assert session.run(["true"], deadline_s=LONG_S).ok
    again = CliRunner().invoke(cli, options)
    assert "recorded already" in again.stdout
    assert known.read_text().count("\n") == 1
    server.rekey()
    changed = CliRunner().invoke(cli, [*options, "--yes"])
    assert isinstance(changed.exception, HostKeyRejected)
    assert known.read_text().count("\n") == 1


def test_ssh_config_is_read(tmp_path: Path) -> None:
    key = tmp_path / "key"
    sshd.make_key(key)
    config = tmp_path / "config"
    config.write_text(
        f"Host gpu\n  HostName 10.0.0.7\n  Port 2200\n  User ada\n  IdentityFile {key}\n  IdentityFile /no/such/key\n"
        f"  UserKnownHostsFile {tmp_path}/a {tmp_path}/b\nHost inner\n  ProxyJump gpu\n"
    )
    from devices.spec import SshTransport as Written

    found = Address(Written(kind="ssh", host="gpu"), config)
    assert (found.host, found.port, found.user, found.keys) == ("10.0.0.7", 2200, "ada", [key])
    assert found.known_hosts == [tmp_path / "a", tmp_path / "b"]
    assert str(found) == "ada@[10.0.0.7]:2200"
    written = Address(Written(kind="ssh", host="gpu", port=22, user="bob", key="~/k"), config)
    assert (written.port, written.user, written.name) == (22, "bob", "10.0.0.7")
    assert written.keys == [Path("~/k").expanduser()]
    assert Address(Written(kind="ssh", host="inner"), config).proxy == "ssh -W inner:22 gpu"
