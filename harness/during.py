"""What a device did while a repeat ran: clocks under load, and how busy it was before the first one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from devices.errors import DeviceError
from devices.facts import Conditions
from devices.session import Session
from devices.transport import Completed
from harness.outputs import MARK
from pocketzoo.decodable import decodable
from zoo.measurement import Evidence, Repeat

WATCH_S = 0.25
"""How long a device is watched before its first repeat: 25 ticks of the kernel's clock on each CPU. Opening and probing
count, which take longer as a rule."""


class _Clocks(Struct, frozen=True):
    clocks_mhz: tuple[dict[str, float], dict[str, float]] | None = None


decodable(_Clocks)


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


@dataclass(frozen=True)
class Look:
    """The ticks of all CPUs at one moment, when that was, and those of this process and what it had run until then.

    ``own`` is None for a device that this process does not run on.
    """

    busy: int
    total: int
    at: float
    own: float | None


def look(session: Session, *, here: bool) -> Look | None:
    """Look at how busy a device has been since it started; None where it does not say."""
    try:
        done = session.run(["cat", "/proc/stat"], deadline_s=30.0)
    except DeviceError:
        return None
    found = parse_ticks(done.stdout)
    if found is None:
        return None
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return Look(*found, at=time.monotonic(), own=own * os.sysconf("SC_CLK_TCK") if here else None)


def busy_before(
    session: Session, first: Look | None, wait: Callable[[float], object] = time.sleep, *, here: bool = False
) -> Evidence:
    """How busy others kept the CPUs before anything of ours was measured: evidence, never a verdict of its own.

    Args:
        session: the device.
        first: a look from when it was opened. What this machine does for the campaign since is taken off.
        wait: for the rest of WATCH_S, where the first look is younger.
        here: whether the device is the machine this process runs on.
    """
    second = None
    if first is not None:
        left = WATCH_S - (time.monotonic() - first.at)
        if left > 0:
            wait(left)
        second = look(session, here=here)
    if first is None or second is None or second.total <= first.total:
        return Evidence(check="busy before", outcome="unknown", says="the device does not say how busy its CPUs are")
    ours = second.own - first.own if second.own is not None and first.own is not None else 0.0
    share = max(0.0, second.busy - first.busy - ours) / (second.total - first.total)
    return Evidence(
        check="busy before",
        outcome="ok",
        value=share,
        says=f"its CPUs were {share:.0%} busy with something else before the first repeat",
    )


def parse_ticks(stat: bytes) -> tuple[int, int] | None:
    """Busy and all ticks in the text of /proc/stat; None where it is not that text."""
    for line in stat.splitlines():
        fields = line.split()
        if fields[:1] == [b"cpu"] and len(fields) >= 9 and all(field.isdigit() for field in fields[1:9]):
            ticks = [int(field) for field in fields[1:9]]
            return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    return None
