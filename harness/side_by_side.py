"""Devices side by side: a thread and an owner for each, one's loss never another's, and one clean end for all."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pocketzoo.errors import PocketzooError

LOOK_S = 0.1
PATIENCE_S = 30.0
"""How long devices may take to end what they started, after Ctrl-C."""


@dataclass
class Ran:
    """How the work on one device ended: without an error, with one, or because it was stopped."""

    device: str
    error: BaseException | None = None
    stopped: bool = False
    # Not the thread's own join: interrupted by Ctrl-C, Python 3.11 takes a running thread for ended (bpo-45274).
    over: threading.Event = field(default_factory=threading.Event, repr=False)


def side_by_side(
    devices: Sequence[str],
    work: Callable[[str], None],
    stop: threading.Event,
    *,
    patience_s: float = PATIENCE_S,
) -> list[Ran]:
    """Work on all devices at once.

    After Ctrl-C (or SIGTERM, which :mod:`pocketzoo.command` turns into the same) ``stop`` is set and KeyboardInterrupt
    is raised inside every thread, so that each device's session ends what runs there; a second one gives up waiting.

    Args:
        devices: their names, each once.
        work: done for each in a thread of its own; what it raises is that device's end and no other's.
        stop: set when no further piece of work may begin.
        patience_s: seconds that all may take to end after Ctrl-C.

    Returns:
        How each ended, in the order of ``devices``.
    """
    ran = [Ran(device) for device in devices]
    # Daemons: a transport that hangs in the kernel must not keep the process after a second Ctrl-C.
    threads = [threading.Thread(target=_run, args=(work, one), name=one.device, daemon=True) for one in ran]
    try:
        for thread in threads:
            thread.start()
        for one in ran:
            while not one.over.wait(LOOK_S):
                pass
    except KeyboardInterrupt:
        stop.set()
        _end(threads, ran, patience_s)
        for one in ran:
            one.stopped = one.stopped or not one.over.is_set()
    return ran


def _run(work: Callable[[str], None], one: Ran) -> None:
    try:
        work(one.device)
    except KeyboardInterrupt:
        one.stopped = True
    except BaseException as error:
        one.error = error
    finally:
        one.over.set()


def _end(threads: Sequence[threading.Thread], ran: Sequence[Ran], patience_s: float) -> None:
    """Have every thread end: it is told once; then it is cleaning up."""
    try:
        for thread, one in zip(threads, ran, strict=True):
            if not one.over.is_set() and thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
                )
        until = time.monotonic() + patience_s
        for one in ran:
            one.over.wait(max(0.0, until - time.monotonic()))
    except KeyboardInterrupt:
        return


def unexpected(ran: Sequence[Ran]) -> BaseException | None:
    """The first error that is no PocketzooError: a fault of the program, which must not pass for a lost device."""
    return next((one.error for one in ran if one.error and not isinstance(one.error, PocketzooError)), None)
