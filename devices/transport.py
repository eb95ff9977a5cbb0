"""The one seam to a device: four methods. Everything else (locks, hashes, retries, clean-up) is in ``session``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pocketzoo.decodable import decodable

MOST_OUTPUT = 256 << 20  # bytes of stdout or stderr of one command; beyond it the command is killed


class Completed(Struct, frozen=True, kw_only=True):
    """A command that ended. ``exit_code`` is always known; death by signal N is 128 + N, as a shell says it."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


decodable(Completed)


class Transport(Protocol):
    """A way to a device. Implementations hold one connection, reconnect when it was lost, and are used by one thread.

    Errors are of :mod:`devices.errors`. A command that ends with an error is no exception: it is a Completed.
    """

    def run(self, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str], stdin: bytes) -> Completed:
        """Run a command to its end.

        Args:
            argv: the program and its arguments; they arrive unchanged whatever they contain (except NUL bytes).
            deadline_s: seconds for the whole command, whatever it prints.
            env: variables added to the device's environment.
            stdin: what the command reads; its standard input ends after it.

        Returns:
            stdout and stderr apart and whole. A program that is not there is exit code 127, one that cannot be
            executed 126.

        Raises:
            ValueError: argv is empty or holds a NUL byte.
            DeadlineExceeded: on this machine the process group was killed; behind a connection the command may run on
                until the session ends it.
            ConnectionLost: the exit code could not be learnt.
            OutputTooLarge: more than ``MOST_OUTPUT`` bytes.
        """
        ...

    def push(self, local: Path, remote: str, *, deadline_s: float) -> None:
        """Copy a file to the device, replacing what is there. Not atomic and not verified: ``session`` does both.

        Raises:
            TransferRefused: disk full, read-only, no such folder.
            ConnectionLost, DeadlineExceeded: the file on the device may be incomplete.
        """
        ...

    def pull(self, remote: str, local: Path, *, deadline_s: float) -> None:
        """Copy a file from the device; ``local`` appears whole or not at all.

        Raises:
            TransferRefused: there is no such file, or it is a folder.
            ConnectionLost, DeadlineExceeded: nothing was written to ``local``.
        """
        ...

    def close(self) -> None:
        """End the connection. Safe to call twice."""
        ...


def checked(argv: Sequence[str], env: Mapping[str, str]) -> tuple[str, ...]:
    """argv as a tuple, after refusing what no operating system can pass on.

    Raises:
        ValueError: empty, a NUL byte, or a variable name that is none.
    """
    if not argv or not argv[0]:
        raise ValueError("an empty command")
    for text in (*argv, *env.values()):
        if "\0" in text:
            raise ValueError("a NUL byte cannot be passed to a command")
    for name in env:
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} is no name for a variable")
    return tuple(argv)
