"""Several processes of one run, as ``accelerate launch`` or torch's own launcher starts them.

They train together. Everything else the main process (rank 0) does while the others wait; they then find its result
in the state folder, which they share: one machine has one, several hosts need it on a disk that all of them see.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from pocketzoo.errors import BadInput

Result = TypeVar("Result")
LONGEST_WAIT = timedelta(days=30)  # for the main process: it may export, quantize and judge for hours

_by_itself = False  # the main process does something the others do not


def count() -> int:
    """How many processes share this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def is_main() -> bool:
    """Whether this one is the one that exports, quantizes, judges, tells and writes the zoo."""
    return rank() == 0


def by_itself() -> bool:
    """Whether the others wait for what this process does, so that they cannot take part in a training."""
    return _by_itself


def first(work: Callable[[], Result]) -> Result:
    """Do it in the main process, and then in the others, which find what it left behind.

    Raises:
        SystemExit: in the others, where it failed in the main process, which tells why.
    """
    if count() == 1:
        return work()
    if not is_main():
        if agreed(None) is not True:
            raise SystemExit(1)
        return work()
    try:
        with _alone():
            found = work()
    except Exception:
        agreed(False)
        raise
    agreed(True)
    return found


def agreed(value: Any) -> Any:
    """The main process's value, in every process; the others' own does not count."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    join()
    told = [value]
    broadcast_object_list(told, from_process=0)
    return told[0]


def not_shared(where: str) -> BadInput:
    """What to raise where this process does not see what the main one has written."""
    return BadInput(
        "this process does not see the state folder of the main one",
        where=where,
        hint="point POCKETZOO_HOME at a folder on a disk that all hosts share",
    )


def join() -> None:
    """Meet the others, once; the wait for a process is long, because the main one has much to do by itself."""
    import torch
    from accelerate import PartialState

    from compressors.quiet import quiet

    with quiet():
        PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


@contextmanager
def _alone() -> Iterator[None]:
    global _by_itself  # noqa: PLW0603  one process, one state
    before, _by_itself = _by_itself, True
    try:
        yield
    finally:
        _by_itself = before
