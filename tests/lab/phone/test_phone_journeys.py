"""What a user sees of a phone that is given by an inventory file alone, that lets nobody in, or that is unplugged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.phone.world import World, Worlds, programs

Devices = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def phone(worlds: Worlds) -> Iterator[World]:
    one = worlds("bundled")
    one.reset()
    yield one
    one.control.reset_faults()


@pytest.fixture
def devices(phone: World, tmp_path: Path) -> Devices:
    """The command, with an inventory whose only new device is that phone."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "devices:\n  desk-phone:\n    transport:\n      kind: adb\n"
        f"      serial: {phone.serial}\n      server: {phone.server}\n    runner: python\n"
    )
    code = "import sys; sys.argv[0] = 'devices'; from devices.cli import main; main()"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", code, *arguments, "--inventory", str(file)]
        env = {**os.environ, "POCKETZOO_HOME": str(tmp_path / "home")}
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


def adb(phone: World, *arguments: str) -> str:
    port = phone.server.rpartition(":")[2]
    argv = [programs()["bundled"], "-P", port, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_tcp_serial_is_connected_to(phone: World, devices: Devices) -> None:
    adb(phone, "disconnect")
    shown = devices("show", "desk-phone", "--json")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert document["connected"] is True
    assert document["facts"]["model"] == "Virtual Phone"
    assert document["facts"]["abi_proofs"]
    assert document["conditions"]["battery_percent"] == 95
    assert document["conditions"]["temperatures_c"] == {"cpu-0-0-usr": 31.5, "battery": 28.0}
    assert "desk-phone" in devices("list").stdout


def test_the_doctor_of_a_healthy_phone(phone: World, devices: Devices) -> None:
    done = devices("doctor", "desk-phone")
    assert done.returncode == 0, done.stdout
    assert "ok    connection" in done.stdout
    assert "proven" in done.stdout


def test_the_doctor_says_how_to_be_let_in(phone: World, devices: Devices) -> None:
    phone.control.fault("unauthorised")
    done = devices("doctor", "desk-phone")
    assert done.returncode == 3
    assert "fail  not authorised" in done.stdout
    assert "Allow USB debugging?" in done.stdout


def test_the_doctor_of_a_phone_that_is_unplugged(phone: World, devices: Devices) -> None:
    phone.control.fault("offline", seconds=600)
    done = devices("doctor", "desk-phone")
    assert done.returncode == 3
    assert "fail  device" in done.stdout
    assert "plug it in" in done.stdout


def test_the_doctor_sees_a_low_battery_and_heat(phone: World, devices: Devices) -> None:
    phone.control.ask("set", battery={"level": 12})
    try:
        done = devices("doctor", "desk-phone")
    finally:
        phone.control.ask("set", battery={"level": 95})
    assert done.returncode == 0
    assert "warn  battery: 12 %" in done.stdout


def test_the_doctor_sees_adb_programs_that_would_fight(
    devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Programs of one protocol version share a server, also where their own versions are years apart.
    assert "ok    adb: 1.0.41" in devices("doctor", "desk-phone").stdout
    old = tmp_path / "adb"
    old.write_text("#!/bin/sh\necho Android Debug Bridge version 1.0.39\n")
    old.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(old))
    done = devices("doctor", "desk-phone")
    assert "1.0.39" in done.stdout
    assert "end each other's server" in done.stdout
