"""A small campaign of ``benchmarks/faults.py``: a phone that misbehaves, and a board behind a bad network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fault_campaign import BoardSubject, PhoneSubject, Subject, campaign
from benchmarks.relay import Relay
from devices.spec import DeviceSpec
from tests.devices import sshd
from tests.lab.phone.world import Worlds

STEPS = 16


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Subject]:
    if not sshd.available():
        pytest.skip(sshd.MISSING)
    folder = tmp_path / "sshd"
    folder.mkdir()
    with sshd.running(folder) as server, Relay(server.port) as relay:
        known = folder / "relayed"
        known.write_text(server.known_hosts.read_text().replace(f":{server.port} ", f":{relay.port} "))
        way = server.spec(port=relay.port, known_hosts=str(known))
        yield BoardSubject(DeviceSpec(name="board", runner="python", transport=way), relay)


def test_nothing_is_wrong_hangs_or_is_left_whatever_breaks(worlds: Worlds, board: Subject, tmp_path: Path) -> None:
    world = worlds("bundled")
    world.reset()
    phone = PhoneSubject(world.spec(), world.control)
    folder = tmp_path / "campaign"
    done = list(campaign([phone, board], steps=range(STEPS), seed=1, folder=folder, deadline_s=4.0))
    assert [f"{step}" for step in done if step.broken] == []
    assert sum(step.happened for step in done) >= STEPS // 3, "hardly anything went wrong: the campaign shows nothing"
    assert {step.error for step in done} > {None}, "some steps succeed, some fail"
