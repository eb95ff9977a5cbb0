"""Python's garbage collector while a report is planned: a million records and no cycle among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def off() -> Iterator[None]:
    """Without the collector: walking over all records again and again takes three times as long as reading them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def on_again() -> None:
    """Inside :func:`off`: collect what is made from now on (plots are full of cycles), leave what is there alone."""
    gc.freeze()
    gc.enable()
