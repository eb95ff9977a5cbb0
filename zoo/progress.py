"""Progress of transfers on stderr: bars where there is a terminal, a line for each finished file where not."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(Protocol):
    """What a transfer tells while it works. Called from several threads; files are known by their key."""

    def begin(self, key: str, title: str, total: int, done: int) -> None:
        """A file begins; ``done`` of ``total`` bytes are here already. Called again where it starts over."""

    def advance(self, key: str, size: int) -> None:
        """So many more bytes."""

    def end(self, key: str, note: str) -> None:
        """The file is whole; ``note`` says what came of it."""


class Silent:
    """Tells nobody."""

    def begin(self, key: str, title: str, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, key: str, size: int) -> None:
        """Nothing."""

    def end(self, key: str, note: str) -> None:
        """Nothing."""


class OnStderr:
    """rich's bars on a terminal, plain lines elsewhere. A context manager: the bars end with the block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[str, tuple[str, float, int]] = {}
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> OnStderr:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description}", markup=False), BarColumn(24), DownloadColumn())
            self._bars = Bars(
                *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
            )
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def begin(self, key: str, title: str, total: int, done: int) -> None:
        """See :class:`Progress`."""
        with self._lock:
            self._since[key] = (title, time.monotonic(), total - done)
            if self._bars is not None:
                if key in self._tasks:
                    self._bars.remove_task(self._tasks[key])
                self._tasks[key] = self._bars.add_task(title, total=total, completed=done)

    def advance(self, key: str, size: int) -> None:
        """See :class:`Progress`."""
        if self._bars is not None:
            self._bars.advance(self._tasks[key], size)

    def end(self, key: str, note: str) -> None:
        """See :class:`Progress`."""
        with self._lock:
            title, since, size = self._since.pop(key)
            seconds = time.monotonic() - since
            if self._bars is not None:
                self._bars.remove_task(self._tasks.pop(key))
            rate = f", {size / 1e6 / seconds:.0f} MB/s" if size > 1e6 and seconds > 0 else ""
            line = f"{title}  {note}  ({seconds:.1f} s{rate})"
            if self._bars is not None:
                self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=sys.stderr, flush=True)
