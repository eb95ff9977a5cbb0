"""A second process that makes half of a large report (docs/decisions/0320).

Both processes read the same local state and enter the same files; each then takes the next unit from a counter that
they share, until none is left. Nothing is handed over but numbers, so whatever can be on a page can be made by either.
The helper begins only after its plan, digests of all names and of what each is made from, was found equal to that of
the process that started it; where it is not, or where the helper fails, the other makes everything itself.

``python -m reports.helper FD`` is that process. It reads the request as a line of JSON from standard input, answers
with its plan, waits for ``go``, and says at the end how much it made. It ends when standard input does.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from pocketzoo.decodable import decodable
from reports.folder import Folder

MANY = 4000
"""Files to be made from which on a helper pays: it takes about as long to start and to read as a thousand of them."""
ENDED_S = 20.0
"""So long may a helper take to end that was told to."""

Units = Sequence[Callable[[], int] | None]


class Request(msgspec.Struct):
    """What a helper is to help with. What was measured it finds where the other process found it."""

    out: str
    kinds: tuple[str, ...]
    curves: tuple[str, ...] = ()


decodable(Request)


class Counter:
    """Numbers 0, 1, 2, ..., each given once, to whichever process asks; kept in an unnamed file that both have open."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def next(self) -> int:
        """The next number."""
        fcntl.lockf(self._handle, fcntl.LOCK_EX)
        try:
            number = int.from_bytes(os.pread(self._handle, 8, 0), "little")
            os.pwrite(self._handle, (number + 1).to_bytes(8, "little"), 0)
        finally:
            fcntl.lockf(self._handle, fcntl.LOCK_UN)
        return number


class Helper:
    """The helper as the process that starts it sees it.

    Args:
        request: what it is to help with.
        argv: how it is started; by default this Python and this module.
    """

    def __init__(self, request: Request, argv: Sequence[str] = (sys.executable, "-m", "reports.helper")) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with the helper
        self.counter = Counter(self._file.fileno())
        self._said = b""
        self._released = False
        handle = self._file.fileno()
        try:
            # A process group of its own: Ctrl-C in a terminal is the business of the process that started it.
            self._process = subprocess.Popen(
                [*argv, str(handle)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[handle], process_group=0,
            )  # fmt: skip
        except BaseException:
            self._file.close()
            raise
        self._tell(msgspec.json.encode(request) + b"\n")

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, however far it is; nothing that it began is left over."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(ENDED_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._file.close()

    def run(self, units: Units, plan: str) -> tuple[int, bool]:
        """Run the units together with the helper.

        Returns:
            How much both made, and whether the helper took part.
        """
        made, mine = 0, set()
        while (number := self.counter.next()) < len(units):
            self._release(plan)
            mine.add(number)
            unit = units[number]
            made += unit() if unit is not None else 0
        if not self._released:
            return made, False
        theirs = self._ended()
        if theirs is not None:
            return made + theirs, True
        # It failed: what it took is made here, and the same mistake is met where it can be told.
        return made + sum(unit() for n, unit in enumerate(units) if unit is not None and n not in mine), False

    def _release(self, plan: str) -> None:
        """Let the helper begin, as soon as it has the same plan."""
        if not self._released and self._line() == plan:
            self._released = self._tell(b"go\n")

    def _line(self) -> str | None:
        """What it has said first, once the line is complete; does not wait."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101  it was asked for
        while b"\n" not in self._said and select.select([pipe], [], [], 0)[0]:
            more = os.read(pipe.fileno(), 4096)
            if not more:
                break
            self._said += more
        line, ended, _ = self._said.partition(b"\n")
        return line.decode() if ended else None

    def _ended(self) -> int | None:
        """Wait for its end; how much it made, or None where it failed."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101  it was asked for
        lines = (self._said + pipe.read()).split(b"\n")
        if self._process.wait() == 0 and len(lines) > 1 and lines[1].isdigit():
            return int(lines[1])
        return None

    def _tell(self, what: bytes) -> bool:
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101  it was asked for
        try:
            pipe.write(what)
            pipe.flush()
        except BrokenPipeError:
            return False
        return True


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[bytes]) -> int:
    """Be the helper."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a file that is half written goes
    counter = Counter(int(argv[0]))
    request = msgspec.json.decode(stdin.readline(), type=Request)
    from reports import collecting
    from reports.build import enter
    from reports.gather import gather

    with collecting.off():
        # What is wrong with the local state is told once, by the process that started this one.
        with contextlib.redirect_stderr(io.StringIO()):
            folder = Folder(Path(request.out))
            enter(gather(curves=[Path(file) for file in request.curves]), folder, request.kinds)
        collecting.on_again()
        stdout.write(folder.plan().encode() + b"\n")
        stdout.flush()
        if stdin.readline() != b"go\n":
            return 0
        made = 0
        while (number := counter.next()) < len(folder.units):
            unit = folder.units[number]
            made += unit() if unit is not None else 0
            if select.select([stdin], [], [], 0)[0]:
                return 1  # whoever started it is gone
        stdout.write(b"%d\n" % made)
        stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer))
