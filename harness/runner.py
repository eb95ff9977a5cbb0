"""The seam to what runs a model: which files it needs, its argv, and what its output means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from devices.transport import Completed
from harness.job import Cell
from pocketzoo.errors import WorkFailed
from zoo.measurement import Repeat, RunnerRecord


class RunnerFailed(WorkFailed):
    """The runner ran and gave no number: the model does not load, the tool crashed, its output is not understood."""


class Runner(Protocol):
    """One tool that measures a model on a device."""

    @property
    def record(self) -> RunnerRecord:
        """Name, version, SHA-256 of what runs."""

    def files(self) -> Mapping[str, Path]:
        """What must be on the device besides the model: SHA-256 -> path on this machine."""

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        """The command of one repeat. ``model`` and ``placed`` (SHA-256 -> path) are paths on the device."""

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        """One repeat from the command's output.

        Raises:
            RunnerFailed: there is no number in it; the message says why.
        """
