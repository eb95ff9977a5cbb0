"""Faults of a virtual phone, on request. Each acts a limited number of times, and is logged when it does.

An *operation* is what a fault is matched against: ``shell,v2,raw:COMMAND``, ``sync:``, ``sync:SEND PATH``,
``sync:RECV PATH``, ``sync:STAT PATH``, ``sync:LIST PATH``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from pocketzoo.decodable import decodable

Direction = Literal["in", "out"]
# drop      the connection breaks; with `seconds`, the phone is then away for so long
# close     the stream alone ends, as when a service on the phone crashes
# hang      nothing is answered any more, on this stream
# trickle   what the phone says comes byte by byte, `seconds` apart
# corrupt   a byte of a file is another one on arrival, at offset `after`
# full      no space is left after `after` bytes of a pushed file
# readonly  the file system takes no pushed file
# latency   a message from the host waits `seconds` before it is looked at; `times` counts messages
# offline   at once: away for `seconds`; with `silent`, connected but saying nothing
# unauthorised  at once: asks for a confirmation on its screen, for `seconds` or until `authorise`
Kind = Literal[
    "drop", "close", "hang", "trickle", "corrupt", "full", "readonly", "latency", "offline", "unauthorised"
]  # fmt: skip
_CUTS = ("drop", "close", "hang")


class Fault(Struct, forbid_unknown_fields=True):
    """One fault that is asked for.

    Attributes:
        kind: what happens.
        match: a regular expression searched in the operation; empty: every one.
        after: bytes of an operation that still pass, in ``direction``. None: it happens when the operation begins.
        direction: "in" is towards the phone.
        times: how often it happens.
        seconds: see the kinds.
        silent: of ``offline``.
        id: given by the phone.
        done: how often it has happened.
    """

    kind: Kind
    match: str = ""
    after: int | None = None
    direction: Direction = "in"
    times: int = 1
    seconds: float = 0.0
    silent: bool = False
    id: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        re.compile(self.match)
        if self.times < 1 or self.seconds < 0 or (self.after is not None and self.after < 0):
            raise ValueError("times is at least 1; seconds and after are not negative")

    @property
    def left(self) -> bool:
        """Whether it may still happen."""
        return self.done < self.times

    def fits(self, operation: str) -> bool:
        """Whether it is meant for an operation, and may still happen."""
        return self.left and re.search(self.match, operation) is not None


decodable(Fault)


class Faults:
    """The faults that were asked for.

    Args:
        log: told of each as it happens.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self._all: list[Fault] = []
        self._count = 0
        self.happened = 0  # of all, also of those that were cleared

    def add(self, fault: Fault) -> int:
        """Take note of one; its number."""
        self._count += 1
        fault.id = self._count
        self._all.append(fault)
        self._log("fault asked for", fault=msgspec.to_builtins(fault))
        return fault.id

    def clear(self) -> None:
        """Forget all that may still happen."""
        self._all = [fault for fault in self._all if not fault.left]

    def all(self) -> list[Fault]:
        """Every one since the last clear, also those that are over."""
        return list(self._all)

    def happens(self, fault: Fault, operation: str) -> None:
        """Count and log it."""
        fault.done += 1
        self.happened += 1
        self._log("fault", kind=fault.kind, id=fault.id, time=fault.done, of=fault.times, operation=operation[:500])

    def take(self, kind: Kind, operation: str) -> Fault | None:
        """A fault of that kind that happens now, counted."""
        for fault in self._all:
            if fault.kind == kind and fault.fits(operation):
                self.happens(fault, operation)
                return fault
        return None

    def at_start(self, operation: str) -> Fault | None:
        """What cuts an operation before anything of it passes, counted."""
        for fault in self._all:
            if fault.kind in _CUTS and fault.after is None and fault.fits(operation):
                self.happens(fault, operation)
                return fault
        return None

    def cutting(self, operation: str, direction: Direction, passed: int, size: int) -> Fault | None:
        """What cuts an operation within its next ``size`` bytes, counted."""
        for fault in self._all:
            if (
                fault.kind in _CUTS
                and fault.after is not None
                and fault.direction == direction
                and passed + size > fault.after
                and fault.fits(operation)
            ):
                self.happens(fault, operation)
                return fault
        return None

    def corrupted(self, operation: str, passed: int, block: bytes) -> bytes:
        """A block of a file, with another byte where a fault wants one."""
        for fault in self._all:
            at = (fault.after or 0) - passed
            if fault.kind == "corrupt" and 0 <= at < len(block) and fault.fits(operation):
                self.happens(fault, operation)
                block = block[:at] + bytes([block[at] ^ 0x55]) + block[at + 1 :]
        return block

    def filling(self, operation: str, passed: int, size: int) -> bool:
        """Whether the disk is full within the next ``size`` bytes of a pushed file; counted."""
        for fault in self._all:
            if fault.kind == "full" and passed + size > (fault.after or 0) and fault.fits(operation):
                self.happens(fault, operation)
                return True
        return False
