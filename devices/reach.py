"""From what is written about a device to a way to it: which transport, which lock, which folder, which Python."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from devices.spec import AdbTransport, DeviceSpec, SshTransport
from devices.transport import Transport


@dataclass(frozen=True)
class Way:
    """How a session reaches a device.

    Args:
        transport: not connected yet, where connecting means anything.
        lock: names the hardware behind it; two inventory names for one phone share it.
        work_dir: where pushed files live on the device; relative means from the home folder there.
        python: the Python interpreter on the device.
        shared: other hosts may reach it too, so that a lock on this one is not enough.
    """

    transport: Transport
    lock: str
    work_dir: str
    python: str
    shared: bool = True


def reach(spec: DeviceSpec, state: Path) -> Way:
    """Find the device.

    Args:
        spec: what the inventory says.
        state: the state folder; ``local`` keeps its files there.

    Raises:
        DeviceMissing, NotAuthorised, DeviceOffline: no such phone, or it cannot be used now.
    """
    way = spec.transport
    if isinstance(way, SshTransport):
        from devices.transports.ssh import SshTransport as Ssh

        ssh = Ssh(way)
        return Way(transport=ssh, lock=f"ssh-{ssh.where}", work_dir=way.work_dir, python=way.python)
    if isinstance(way, AdbTransport):
        from devices.transports.adb import AdbTransport as Adb
        from devices.transports.adb import find

        serial = find(spec.name, way, spec.expect)
        return Way(
            transport=Adb(serial, way.server),
            lock=f"adb-{serial}",
            work_dir=way.work_dir,
            python=way.python,
        )
    from devices.transports.local import LocalTransport

    return Way(
        transport=LocalTransport(),
        lock="local",
        work_dir=str(state / "devices" / "local"),
        python=sys.executable,
        shared=False,
    )
