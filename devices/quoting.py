"""One argv as one line for the POSIX shell at the other end, so that every argument arrives as it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence


def command_line(argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    """The line that runs ``argv`` with ``env`` added, for ``sh -c``, ssh's exec and adb's shell service.

    ``env`` runs the program, so that a word which is also a builtin (echo, test, kill) is the program of that name
    here as everywhere. It would take a program name with ``=`` or a leading ``-`` for something else: such a name is
    given to a shell of its own.

    Args:
        argv: checked by :func:`devices.transport.checked`.
        env: variables to add.
    """
    words = ["env", *(f"{name}={value}" for name, value in env.items())]
    if "=" in argv[0] or argv[0].startswith("-"):
        words += ["sh", "-c", '"$@"', "sh"]
    # Not the shell's last command: it then stays, and says 128 + N where a signal ended the program.
    return (shlex.join([*words, *argv]) + "; exit $?").encode("utf-8", "surrogateescape")
