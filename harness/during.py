"""What a device did while a repeat ran: clocks under load, and how busy it was before the first one."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from devices.errors import DeviceError
from devices.facts import Conditions
from devices.session import Session
from devices.transport import Completed
from harness.outputs import MARK
from zoo.measurement import Evidence, Repeat

WATCH_S = 0.25
"""How long a device is watched before its first repeat: 50 ticks of the kernel's clock on each CPU."""


class _Clocks(Struct, frozen=True):
    clocks_mhz: tuple[dict[str, float], dict[str, float]] | None = None


def with_clocks(repeat: Repeat, done: Completed) -> Repeat:
    """The repeat with the clocks its own process read after warm-up and after its last sample, where it did.

    What the session reads before and after is the clock of an idle CPU, which says little; these are read under load,
    of the CPUs the threads ran on, outside of every timed run.
    """
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            try:
                clocks = msgspec.json.decode(line, type=_Clocks).clocks_mhz
            except (msgspec.DecodeError, UnicodeDecodeError):
                return repeat
            if clocks is None or not all(clocks):
                return repeat
            before, after = clocks
            return msgspec.structs.replace(
                repeat, before=_under_load(repeat.before, before), after=_under_load(repeat.after, after)
            )
    return repeat


def _under_load(conditions: Conditions | None, clocks: dict[str, float]) -> Conditions | None:
    if conditions is None:
        return None
    return msgspec.structs.replace(conditions, frequencies_mhz=clocks)


def busy_before(session: Session, wait: Callable[[float], object] = time.sleep) -> Evidence:
    """How busy the CPUs were before anything of ours ran: evidence, never a verdict of its own."""
    try:
        first = _ticks(session)
        wait(WATCH_S)
        second = _ticks(session)
    except DeviceError:
        first = second = None
    if first is None or second is None or second[1] <= first[1]:
        return Evidence(check="busy before", outcome="unknown", says="the device does not say how busy its CPUs are")
    share = (second[0] - first[0]) / (second[1] - first[1])
    return Evidence(
        check="busy before",
        outcome="ok",
        value=share,
        says=f"its CPUs were {share:.0%} busy before the first repeat",
    )


def _ticks(session: Session) -> tuple[int, int] | None:
    """Busy ticks and all ticks of all CPUs since boot."""
    done = session.run(["cat", "/proc/stat"], deadline_s=30.0)
    return parse_ticks(done.stdout)


def parse_ticks(stat: bytes) -> tuple[int, int] | None:
    """Busy and all ticks in the text of /proc/stat; None where it is not that text."""
    for line in stat.splitlines():
        fields = line.split()
        if fields[:1] == [b"cpu"] and len(fields) >= 9 and all(field.isdigit() for field in fields[1:9]):
            ticks = [int(field) for field in fields[1:9]]
            return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    return None
