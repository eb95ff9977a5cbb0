"""Errors that reach a user: what went wrong, where, and the next command to type.

    PocketzooError          exit 1
    ├── WorkFailed          exit 1   the work was tried and failed, or a gate did not hold
    ├── BadInput            exit 2   wrong use, unknown name, malformed file
    ├── DeviceUnavailable   exit 3   the device is not there, not authorised or not answering
    └── Interrupted         exit 130 Ctrl-C; says what is safe on disk

Each room derives its own errors from these four; the class decides the exit code, so no command maps codes itself.
"""

from __future__ import annotations

from pocketzoo.printable import printable


class PocketzooError(Exception):
    """Base of every error that is shown to a user without a traceback.

    Args:
        what: one sentence that says what went wrong, without a full stop.
        where: the file, line, device or address it concerns.
        hint: what to do next, preferably a command that can be copied.
        detail: the lines behind it (tool output, nearest misses); shown indented below the sentence.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        detail: tuple[str, ...] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.detail = detail

    def as_text(self) -> str:
        """The error as printed on stderr. Text of others in it neither acts on the terminal nor passes for our line."""
        lines = [f"error: {self.what}"]
        lines += [f"  {line}" for line in self.detail]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  next:  {self.hint}")
        return "\n".join(printable(line, lines=True).replace("\n", "\n    ") for line in lines)

    def as_record(self) -> dict[str, object]:
        """The error as the one JSON document of a command run with --json."""
        return {
            "error": {
                "kind": type(self).__name__,
                "what": self.what,
                "where": self.where,
                "next": self.hint,
                "detail": list(self.detail),
                "exit_code": self.exit_code,
            }
        }


class WorkFailed(PocketzooError):
    """The work was tried and failed, or a gate did not hold."""


class BadInput(PocketzooError):
    """Wrong use, an unknown name, or a file that is not what it should be."""

    exit_code = 2


class DeviceUnavailable(PocketzooError):
    """The device is not there, not authorised, or not answering."""

    exit_code = 3


class Interrupted(PocketzooError):
    """Ctrl-C. ``detail`` says what is safe on disk, ``hint`` is the command that goes on."""

    exit_code = 130
