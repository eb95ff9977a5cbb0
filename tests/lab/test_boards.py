"""The virtual boards are boards: the transport contract, sessions, and a probe on real ARM user space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.inventory import load_inventory
from devices.session import open_session
from devices.spec import SshTransport as Written
from devices.transport import Transport
from devices.transports.ssh import SshTransport
from pocketzoo.files import sha256_file
from tests.contracts.transport_contract import TransportContract
from tests.lab.conftest import at_home

BOARDS = {"lab-board-armv8": ("armv8", "aarch64"), "lab-board-armv7": ("armv7", "armv7l")}


class OnBoard(TransportContract):
    name: str
    emulated = True

    # One connection for all tests: a handshake under emulation takes longer than most of them.
    @pytest.fixture(scope="class")
    @classmethod
    def transport(cls, lab_home: Path) -> Iterator[Transport]:
        with at_home(lab_home):
            way = load_inventory().get(cls.name).transport
        assert isinstance(way, Written)
        transport = SshTransport(way)
        yield transport
        transport.close()

    @pytest.fixture(scope="class")
    @classmethod
    def there(cls, transport: Transport) -> str:
        done = transport.run(["mktemp", "-d", "-p", "/root"], deadline_s=60, env={}, stdin=b"")
        return done.stdout.decode().strip()


class TestBoardArmv8(OnBoard):
    name = "lab-board-armv8"


class TestBoardArmv7(OnBoard):
    name = "lab-board-armv7"


@pytest.mark.parametrize("name", BOARDS)
def test_session_and_probe(lab: Path, name: str, tmp_path: Path) -> None:
    abi, machine = BOARDS[name]
    payload = tmp_path / "payload.bin"
    payload.write_bytes(os.urandom(2_000_000))
    spec = load_inventory().get(name)
    with open_session(spec) as session:
        there = session.push({sha256_file(payload): payload})
        session.pull(next(iter(there.values())), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == payload.read_bytes()
        facts, conditions = session.facts(), session.conditions()
        assert session.run(["hostname"], deadline_s=60).stdout.decode().strip() == name
    assert facts.abis == (abi,)
    assert facts.abi_proofs == {abi: f"a static {abi} ELF ran under kernel machine {machine}"}
    assert facts.cores == spec.cores
    assert [cluster.core for cluster in facts.clusters] == [spec.clusters[0].core]
    assert facts.soc == spec.soc
    assert "qemu" in str(facts.soc)
    assert conditions.frequencies_mhz["3"] == spec.clusters[0].max_mhz
    assert conditions.free_bytes


def test_the_root_is_read_only_and_shared(lab: Path) -> None:
    with open_session(load_inventory().get("lab-board-armv8")) as session:
        done = session.run(["sh", "-c", "echo x >/usr/x || echo y >/sys/x || echo z >/etc/x"], deadline_s=60)
        assert not done.ok
        assert int(session.run(["sh", "-c", "ls /proc/ | grep -c '^[0-9]'"], deadline_s=60).stdout) < 12
