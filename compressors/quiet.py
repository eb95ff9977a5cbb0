"""Keeping converters' chatter from the user.

litert-torch, TensorFlow's C++ parts and torch write to the process's file descriptors 1 and 2, past Python's
sys.stdout, so both these and Python's streams (which a test runner or notebook points elsewhere) are redirected.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO


class _Muted(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr.

    Libraries imported in a quiet block may keep it (every logging handler does), so it never closes: later it hands
    on what it gets to the stream it stood in for.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.sink: IO[bytes] | None = None

    def write(self, text: str) -> int:
        if self.sink is not None:
            self.sink.write(text.encode("utf-8", "replace"))
        else:
            stream = getattr(sys, self._name)
            if stream is not None and stream is not self:
                stream.write(text)
        return len(text)


_MUTED = {name: _Muted(name) for name in ("stdout", "stderr")}


class Noise:
    """What was written during a quiet block; looked at only when something failed."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink

    def tail(self, lines: int = 4) -> tuple[str, ...]:
        """The last lines that say something."""
        self._sink.seek(0)
        text = self._sink.read().decode("utf-8", "replace")
        return tuple(line.strip()[:200] for line in text.splitlines() if line.strip())[-lines:]


@contextmanager
def quiet() -> Iterator[Noise]:
    """Send all output of the block, also that of C++ libraries, into memory, and ignore Python warnings.

    It acts on the whole process: a thread that must be seen meanwhile writes to a duplicate of the descriptor made
    before (:mod:`compressors.progress` does).
    """
    streams = {name: getattr(sys, name) for name in _MUTED}
    outer = {name: muted.sink for name, muted in _MUTED.items()}  # quiet blocks may be nested
    for stream in streams.values():
        stream.flush()
    saved: list[tuple[int, int]] = []
    # In memory: a full disk must not turn chatter into an error.
    with os.fdopen(os.memfd_create("chatter"), "w+b", buffering=0) as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for descriptor in (1, 2):
                with suppress(OSError):  # closed by whoever started us: then there is nothing to protect
                    saved.append((descriptor, os.dup(descriptor)))
                    os.dup2(sink.fileno(), descriptor)
            for name, muted in _MUTED.items():
                muted.sink = sink
                setattr(sys, name, muted)
            yield Noise(sink)
        finally:
            for name, muted in _MUTED.items():
                muted.sink = outer[name]
                setattr(sys, name, streams[name])
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)
