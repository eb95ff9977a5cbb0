"""What is running, on stderr: a line per device in a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(Protocol):
    """Told about each step on one device; shows or counts it."""

    def begin(self, steps: int, text: str) -> None:
        """A piece of work of so many steps starts; called again where there turn out to be more."""

    def step(self, text: str) -> None:
        """``text`` runs now; what was told before is done."""

    def cooling(self, now: float, target: float) -> None:
        """It waits, so warm (degrees Celsius), until it is cooler than ``target``."""

    def end(self) -> None:
        """The work is over, finished or not."""


class Silent:
    """Shows nothing."""

    def begin(self, steps: int, text: str) -> None: ...

    def step(self, text: str) -> None: ...

    def cooling(self, now: float, target: float) -> None: ...

    def end(self) -> None: ...


class Lines:
    """One line per step, for logs.

    Args:
        prefix: put before each line where several devices share the log.
        of: what is counted.
    """

    def __init__(self, prefix: str = "", of: str = "repeats") -> None:
        self._prefix = prefix
        self._of = of
        self._begun = False
        self._steps = 0
        self._at = 0
        self._cooling = False

    def begin(self, steps: int, text: str) -> None:
        """Print what starts; more steps of the same work only change the count."""
        self._steps = steps
        if not self._begun:
            self._begun = True
            print(f"{text}: {steps} {self._of} to run", file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        """Print the step with its number."""
        self._at += 1
        self._cooling = False
        print(f"{self._prefix}[{self._at}/{self._steps}] {text}", file=sys.stderr, flush=True)

    def cooling(self, now: float, target: float) -> None:
        """Once for each wait."""
        if not self._cooling:
            print(f"{self._prefix}cooling: {now:.1f} °C, until below {target:g} °C", file=sys.stderr, flush=True)
        self._cooling = True

    def end(self) -> None:
        """Nothing to clear away."""


class _Bar:
    """One device's line of a :class:`Board`."""

    def __init__(self, bars: RichProgress, device: str) -> None:
        self._bars = bars
        self._device = device
        self._task: TaskID | None = None
        self._at = -1
        self._text = ""

    def begin(self, steps: int, text: str) -> None:
        """Show the line, or a larger total."""
        if self._task is None:
            self._task = self._bars.add_task(text, total=steps, device=self._device)
        else:
            self._bars.update(self._task, total=steps)

    def step(self, text: str) -> None:
        """Move it on."""
        self._at += 1
        self._text = text
        if self._task is not None:
            self._bars.update(self._task, completed=self._at, description=text)

    def cooling(self, now: float, target: float) -> None:
        """Show the temperature instead of what comes next."""
        if self._task is not None:
            self._bars.update(self._task, description=f"cooling: {now:.1f} → {target:g} °C, then {self._text}")

    def end(self) -> None:
        """The line stays, so that the others do not move."""
        if self._task is not None:
            self._bars.update(self._task, description="done")


class Board:
    """The right way to show devices side by side for where stderr goes, ended even if the work breaks off.

    Args:
        devices: how many there are; one alone needs no prefix.
        of: what a step is.
    """

    def __init__(self, devices: int, of: str = "repeats") -> None:
        self._of = of
        self._several = devices > 1
        self._bars: RichProgress | None = None
        self._lock = threading.Lock()

    @property
    def draws(self) -> bool:
        """Whether there is a terminal to draw in."""
        return self._bars is not None

    def device(self, name: str) -> Progress:
        """The part of one device. Called by the thread that owns it."""
        with self._lock:
            if self._bars is None:
                return Lines(f"{name} " if self._several else "", self._of)
            return _Bar(self._bars, name)

    def __enter__(self) -> Board:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (
                TextColumn("{task.fields[device]}"),
                BarColumn(16),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()
