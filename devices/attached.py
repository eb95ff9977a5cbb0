"""Which devices of the inventory are there, from a quick look that connects to no device and starts nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from devices.spec import AdbTransport, DeviceSpec, LocalTransport

if TYPE_CHECKING:
    from devices.transports.adb_wire import Attached


class State(NamedTuple):
    """``attached`` is None where a quick look cannot tell; ``says`` is for people."""

    attached: bool | None
    says: str


def states(specs: Iterable[DeviceSpec]) -> dict[str, State]:
    """The state of each device by name. Each adb server is asked once, for at most a second.

    A phone without a written serial is found by its properties, which a quick look does not read: where phones are
    attached, its state is not told.
    """
    from devices.transports.adb import look

    servers: dict[str, list[Attached] | None] = {}
    found: dict[str, State] = {}
    for spec in specs:
        way = spec.transport
        if isinstance(way, LocalTransport):
            found[spec.name] = State(True, "this machine")
        elif isinstance(way, AdbTransport):
            if way.server not in servers:
                servers[way.server] = look(way.server)
            found[spec.name] = _phone(way, servers[way.server])
        else:
            found[spec.name] = State(None, f"{spec.address}, not tried")
    return found


def _phone(way: AdbTransport, listed: list[Attached] | None) -> State:
    if listed is None:
        return State(False, "not connected (no adb server)")
    if way.serial is None:
        if not listed:
            return State(False, "not connected")
        return State(None, f"{len(listed)} phone(s) attached, not probed")
    state = next((one.state for one in listed if one.serial == way.serial), None)
    if state is None:
        return State(False, "not connected")
    return State(state == "device", "connected" if state == "device" else state)
