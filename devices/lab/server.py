"""The lab's adb server: which phones it has, and telling it of one."""

from __future__ import annotations

import contextlib
import time

from devices.lab import state
from devices.lab.state import Server
from devices.transports import adb_wire
from pocketzoo.errors import PocketzooError

LOOK_S = 5.0


def connected(serial: str, adb: Server) -> bool:
    """Whether the server has a phone and can use it; it is told of it where it has not."""
    phones = attached(adb)
    if phones is None or phones.get(serial) == "device":
        return phones is not None
    until = time.monotonic() + LOOK_S
    for service in (f"host:disconnect:{serial}", f"host:connect:{serial}"):
        with contextlib.suppress(adb_wire.Refused, adb_wire.Late, PocketzooError):
            adb_wire.ask(("127.0.0.1", adb.port), service, until)
    time.sleep(0.2)
    return (attached(adb) or {}).get(serial) == "device"


def attached(adb: Server | None) -> dict[str, str] | None:
    """What the server lists, state by serial; None where it does not answer."""
    if adb is None or not state.alive(adb.process):
        return None
    try:
        listed = adb_wire.attached(("127.0.0.1", adb.port), time.monotonic() + LOOK_S)
    except (adb_wire.Refused, adb_wire.Late, PocketzooError):
        return None
    return {one.serial: one.state for one in listed}
