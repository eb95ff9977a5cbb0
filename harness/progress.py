"""What is running, on stderr: a bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self


class Progress(Protocol):
    """Told about each step; shows or counts it."""

    def begin(self, steps: int, text: str) -> None:
        """A piece of work of so many steps starts."""

    def step(self, text: str) -> None:
        """``text`` runs now; what was told before is done."""

    def end(self) -> None:
        """The work is over, finished or not."""


class Silent:
    """Shows nothing."""

    def begin(self, steps: int, text: str) -> None: ...

    def step(self, text: str) -> None: ...

    def end(self) -> None: ...


class Lines:
    """One line per step, for logs."""

    def __init__(self) -> None:
        self._steps = 0
        self._at = 0

    def begin(self, steps: int, text: str) -> None:
        """Print what starts."""
        self._steps, self._at = steps, 0
        print(f"{text}: {steps} repeats to run", file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        """Print the step with its number."""
        self._at += 1
        print(f"[{self._at}/{self._steps}] {text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Nothing to clear away."""


class Bar:
    """A bar with what is running and how long it will take."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=None)
        self._at = -1

    def begin(self, steps: int, text: str) -> None:
        """Show the bar."""
        self._at = -1
        self._bar.update(self._task, total=steps, completed=0, description=text)
        self._bar.start()

    def step(self, text: str) -> None:
        """Move it on."""
        self._at += 1
        self._bar.update(self._task, completed=self._at, description=text)

    def end(self) -> None:
        """Take it away."""
        self._bar.stop()


class Shown:
    """The right way to show progress for where stderr goes, ended even if the work breaks off."""

    def __enter__(self) -> Progress:
        self._progress: Progress = Bar() if sys.stderr.isatty() else Lines()
        return self._progress

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Self | None:
        self._progress.end()
        return None
