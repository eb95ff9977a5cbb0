"""Waiting until a device is cool enough to be measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from devices.facts import Conditions

LIMIT_S = 300.0
"""Waited at most before one repeat: MLPerf Mobile's cool-down between runs is five minutes."""

POLL_S = 2.0
"""Between two looks. A look is one command of some 10 ms, so that looking keeps a phone no warmer than 0.5% of load."""


@dataclass(frozen=True)
class Cooled:
    """How the wait before a repeat ended: the conditions it begins under, seconds waited, and whether it was enough."""

    conditions: Conditions
    waited_s: float
    cool: bool


def hottest(conditions: Conditions) -> float | None:
    """Degrees Celsius of the hottest zone or battery; None where no temperature can be read."""
    values = [*conditions.temperatures_c.values()]
    if conditions.battery_c is not None:
        values.append(conditions.battery_c)
    return max(values, default=None)


def wait_until_cool(
    look: Callable[[], Conditions],
    *,
    below_c: float | None,
    limit_s: float = LIMIT_S,
    told: Callable[[float, float], None] = lambda _now, _target: None,
    stop: Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Cooled:
    """Look at a device until its hottest zone is below a temperature.

    A device that is cool, says no temperature, or has no limit costs one look.

    Args:
        look: reads the conditions now.
        below_c: degrees Celsius; None asks for nothing.
        limit_s: seconds after which the repeat begins all the same.
        told: called after each look that found it too hot, with the temperature and the target.
        stop: ends the wait early when set.
        clock: seconds, monotonic.
    """
    began = clock()
    pause = stop or Event()
    while True:
        conditions = look()
        now = hottest(conditions)
        waited = clock() - began
        if below_c is None or now is None or now < below_c:
            return Cooled(conditions, waited if below_c is not None and waited >= POLL_S else 0.0, True)
        if waited >= limit_s or pause.is_set():
            return Cooled(conditions, waited, False)
        told(now, below_c)
        pause.wait(min(POLL_S, max(0.0, limit_s - waited)))
