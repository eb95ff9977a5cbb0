"""A virtual phone behind a real adb server, for tests: both ended by their process numbers, nothing of them left."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import adbutils
import pytest

from devices.lab.phone_control import PhoneControl, phone
from devices.lab.phone_profile import Cpu, Heating, Profile, Zone
from devices.spec import AdbTransport as Written
from devices.spec import DeviceSpec
from devices.transports.adb import AdbTransport
from tests.devices.sshd import free_port

PROFILE = Profile(
    properties={
        "ro.product.name": "lab",
        "ro.product.model": "Virtual Phone",
        "ro.product.device": "lab",
        "ro.board.platform": "virtual",
    },
    zones=(Zone("cpu-0-0-usr", 31.5), Zone("battery", 28.0, heats=False)),
    cpus=(Cpu(1_800_000), Cpu(2_400_000)),
    disk_mb=256,
)
WORK = "/data/local/tmp/pocketzoo"


def programs() -> dict[str, str]:
    """The adb programs of this machine by where they come from: two generations of the server."""
    bundled = Path(adbutils.__file__).parent / "binaries" / "adb"
    found = {"bundled": str(bundled)} if bundled.exists() else {}
    if system := shutil.which("adb"):
        found["system"] = system
    return found


def lacking(program: str) -> str | None:
    """Why there can be no phone behind that program here, and what mends it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a virtual phone needs root on Linux: run the tests as root"
    if program not in programs():
        return "needs a second adb program: apt-get install adb"
    return None


class Worlds:
    """Phones behind adb programs, each made when it is first wanted; the test is skipped where one cannot be."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._made: dict[str, World] = {}

    def __call__(self, program: str) -> World:
        if why := lacking(program):
            pytest.skip(why)
        if program not in self._made:
            self._made[program] = self._stack.enter_context(world(self._folder / program, program))
        return self._made[program]


class World:
    """One phone and one adb server."""

    def __init__(self, control: PhoneControl, serial: str, server: str) -> None:
        self.control = control
        self.serial = serial
        self.server = server

    def transport(self) -> AdbTransport:
        """A fresh transport to the phone."""
        return AdbTransport(self.serial, self.server)

    def spec(self, name: str = "phone") -> DeviceSpec:
        """Its entry of an inventory."""
        way = Written(kind="adb", serial=self.serial, server=self.server, work_dir=WORK)
        return DeviceSpec(name=name, runner="benchmark_model", transport=way)

    def quiet(self, patience_s: float = 20) -> dict[int, str]:
        """What still runs on the phone after a while; what is ending anyway may take a moment."""
        until = time.monotonic() + patience_s
        while (left := self.control.processes()) and time.monotonic() < until:
            time.sleep(0.05)
        return left

    def reset(self) -> None:
        """As after unboxing: no faults, nothing running, no files, reachable."""
        self.control.reset()
        until = time.monotonic() + 20
        while not self.control.status()["listening"] and time.monotonic() < until:
            time.sleep(0.05)


@contextlib.contextmanager
def adb_server(folder: Path, program: str) -> Iterator[str]:
    """An adb server with a home and a port of its own; its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    env |= {"ANDROID_ADB_SERVER_PORT": str(port), "ADB_LIBUSB": "0", "ADB_MDNS": "0"}
    argv = [programs()[program], "-P", str(port), "nodaemon", "server"]
    with (folder / "adb.log").open("wb") as log:
        running = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert running.poll() is None, (folder / "adb.log").read_text()
            assert time.monotonic() < until, "the adb server does not listen"
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextlib.contextmanager
def world(folder: Path, program: str, profile: Profile = PROFILE) -> Iterator[World]:
    """A phone and a server, which know nothing of each other yet."""
    with (
        phone(folder / "phone", profile) as (control, port),
        adb_server(folder / "server", program) as server,
    ):
        yield World(control, f"127.0.0.1:{port}", server)


def warm(profile: Profile = PROFILE) -> Profile:
    """The same phone, which heats up fast."""
    heating = Heating(hot_c=90.0, rise_s=1.0, fall_s=1.0, limit_c=70.0, cap=0.5)
    return Profile(properties=profile.properties, zones=profile.zones, cpus=profile.cpus, heating=heating)
