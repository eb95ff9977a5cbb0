"""The frame of every command line: exit codes, --json, --debug, and no traceback for a user.

Data goes to stdout, talk to stderr. With --json a command prints one JSON document on stdout, also when it
fails. Only click is imported here, so that ``--help`` stays under 100 ms; what a command needs it imports itself.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from pocketzoo import __version__
from pocketzoo.errors import BadInput, Interrupted, PocketzooError, WorkFailed
from pocketzoo.printable import printable, printable_json

Function = TypeVar("Function", bound=Callable[..., Any])


def reporting_options(function: Function) -> Function:
    """Add ``--json`` (passed on as ``as_json``) and ``--debug`` to a command."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show the trace of an error.")(function)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def inventory_option(function: Function) -> Function:
    """Add ``--inventory FILE``; it is accepted wherever a device is named."""
    return click.option(
        "--inventory",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="A YAML file that adds devices or overrides the shipped ones.",
    )(function)


def say(message: str) -> None:
    """Talk: hints, warnings and progress lines go to stderr."""
    click.echo(printable(message, lines=True), err=True)


def tell(text: str) -> None:
    """Data that people read, on stdout; what others wrote in it cannot act on the terminal."""
    click.echo(printable(text, lines=True))


def print_json(document: object) -> None:
    """The one JSON document of a command, on stdout. msgspec structs are written by their fields."""
    import msgspec

    raw = msgspec.json.encode(document)
    click.echo(printable_json(msgspec.json.format(raw, indent=2).decode()))


def run(group: click.Group, name: str) -> NoReturn:
    """Run a command group as a process: parse ``sys.argv``, map every outcome to its exit code, and exit.

    Exit codes: 0 done, 1 the work failed or a gate did not hold, 2 wrong use or bad input, 3 device unavailable,
    130 interrupted.
    """
    argv = sys.argv[1:]
    code = 1
    # A polite end (a CI job's time-out, systemd) is handled like Ctrl-C: clean up, say what is safe.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        outcome = group.main(args=argv, prog_name=name, standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`zoo list | head`). Nothing is wrong.
        _stop_printing()
        code = 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except (Exception, KeyboardInterrupt) as error:
        code = _tell(error, argv)
    sys.exit(code)


def _tell(error: BaseException, argv: list[str]) -> int:
    if "--debug" in argv:
        import traceback

        traceback.print_exception(error)
    shown = as_pocketzoo_error(error)
    try:
        if "--json" in argv:
            print_json(shown.as_record())
        sys.stdout.flush()
    except OSError:
        # Nobody reads, or the disk behind it is full; that may be what went wrong in the first place.
        _stop_printing()
    click.echo(shown.as_text(), err=True)
    return shown.exit_code


def _stop_printing() -> None:
    """What is left in the buffer goes nowhere, so that Python does not complain of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_pocketzoo_error(error: BaseException) -> PocketzooError:
    """Every exception as an error that can be shown; what is not foreseen names itself and points to --debug."""
    if isinstance(error, PocketzooError):
        return error
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Interrupted("interrupted", hint="run the same command again; finished parts are kept")
    if isinstance(error, click.UsageError):
        help_hint = f"{error.ctx.command_path} --help" if error.ctx else None
        return BadInput(error.format_message().rstrip("."), hint=help_hint)
    if isinstance(error, click.ClickException):
        return BadInput(error.format_message().rstrip("."))
    if isinstance(error, OSError) and error.errno is not None:
        return _from_os_error(error)
    if isinstance(error, MemoryError):
        return WorkFailed("not enough memory", hint="close other programs, or use a smaller batch")
    return WorkFailed(
        f"internal error: {type(error).__name__}: {error}",
        hint="run the command again with --debug and report what it prints",
    )


def _from_os_error(error: OSError) -> PocketzooError:
    where = str(error.filename) if error.filename is not None else None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkFailed(
            "no space left on the device", where=where, hint="free some space; nothing half-written was kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WorkFailed(
            f"no permission: {error.strerror}",
            where=where,
            hint="check the owner and mode of that path, or point POCKETZOO_HOME at a folder you can write to",
        )
    if error.errno == errno.ENOENT:
        return BadInput("no such file or folder", where=where)
    return WorkFailed(str(error.strerror or error), where=where)


def version_option(group: click.Group) -> click.Group:
    """Add ``--version``."""
    return click.version_option(__version__, message="pocketzoo %(version)s")(group)
