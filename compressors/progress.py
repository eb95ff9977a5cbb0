"""Progress on stderr: bars where there is a terminal, a line for each finished stage where not."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(Protocol):
    """What a pipeline tells while it works. Stages come one after the other."""

    def begin(self, title: str, total: int | None = None) -> None:
        """A stage begins; ``total`` samples are to be seen, None where that cannot be counted."""

    def advance(self) -> None:
        """One more sample was seen."""

    def say(self, text: str) -> None:
        """Something worth a line happened inside a stage: an epoch, a layer kept in float."""

    def end(self, note: str) -> None:
        """The stage is done (or was reused); ``note`` says what came of it."""

    def close(self) -> None:
        """Nothing more will come; also called after an error."""


class Silent:
    """Tells nobody."""

    def begin(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def end(self, note: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class OnStderr:
    """rich's bars on a terminal, plain lines elsewhere.

    It writes to a duplicate of descriptor 2, because the original is redirected while converters chatter.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._file: TextIO | None = None
        # A stream without a descriptor, or a closed one, cannot be duplicated; rich then writes to the stream itself.
        with suppress(OSError, AttributeError, ValueError):
            self._file = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace", buffering=1)
        terminal = sys.stderr.isatty()
        # Lines keep their length where nobody looks at a screen: a log that wraps at 80 columns cannot be searched.
        self._console: Console = Console(
            file=self._file or sys.stderr, width=None if terminal else 200, highlight=False
        )
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._since = 0.0
        if self._console.is_terminal:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )

    def begin(self, title: str, total: int | None = None) -> None:
        """See :class:`Progress`."""
        self._title, self._since = title, time.monotonic()
        if self._bars is not None:
            self._bars.start()
            self._task = self._bars.add_task(title, total=total)

    def advance(self) -> None:
        """See :class:`Progress`."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task)

    def say(self, text: str) -> None:
        """See :class:`Progress`."""
        self._console.print(f"{self._title:<45}          {text}", markup=False, soft_wrap=True)

    def end(self, note: str) -> None:
        """See :class:`Progress`."""
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        seconds = time.monotonic() - self._since
        self._console.print(f"{self._title:<45} {seconds:5.1f} s  {note}", markup=False, soft_wrap=True)

    def close(self) -> None:
        """See :class:`Progress`."""
        if self._bars is not None:
            self._bars.stop()
        if self._file is not None:
            self._file.close()
            self._file = None
