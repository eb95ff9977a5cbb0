"""Randomised faults over pushes, pulls and commands: what must hold after each, whatever went wrong.

A step does one thing through a session while one thing goes wrong. Afterwards the fault is taken away and the device
looked at: what was reported as done must be done and whole, what failed must have a reason and leave nothing behind,
and nothing may have gone on past its deadline.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmarks.relay import Relay, Trouble
from devices import session as sessions
from devices.errors import DeviceError
from devices.lab.phone_control import PhoneControl
from devices.session import Session, open_session
from devices.spec import DeviceSpec

Operation = Literal["push", "pull", "run", "long"]
_OPERATIONS: tuple[Operation, ...] = ("push", "push", "push", "pull", "pull", "run", "run", "long")
_SIZES = (0, 1, 4_096, 65_536, 65_537, 400_000, 1_500_000)
LONG_S = 2.0
SIGN = "POCKETZOO_FAULTS"  # in the environment of what the campaign starts, with a value of its own
# $1: that value. One line for each process that carries it and has not ended.
_LIVING = f"""
for e in /proc/[0-9]*/environ; do
  tr '\\000' '\\n' <$e 2>/dev/null | grep -q "^{SIGN}=$1" || continue
  p=${{e%/environ}}; tr '\\000' ' ' <$p/cmdline 2>/dev/null; echo
done
"""


class Subject(Protocol):
    """A device that can be made to misbehave."""

    spec: DeviceSpec

    def trouble(self, random: random.Random) -> str:
        """Have a random thing go wrong from now on; its name."""

    def happened(self) -> int:
        """How often something went wrong so far."""

    def calm(self) -> None:
        """Have everything work again."""


class PhoneSubject:
    """A virtual phone, which has faults of its own."""

    def __init__(self, spec: DeviceSpec, control: PhoneControl) -> None:
        self.spec = spec
        self._control = control

    def trouble(self, random: random.Random) -> str:
        """See :class:`Subject`."""
        kind = random.choice(
            ["drop", "drop", "drop", "close", "hang", "trickle", "corrupt", "full", "readonly", "latency", "offline",
             "unauthorised"]
        )  # fmt: skip
        asked: dict[str, Any] = {"times": random.choice([1, 1, 2, 3])}
        if kind in ("drop", "close", "hang"):
            asked["match"] = random.choice(["SEND", "RECV", "^shell", "^shell", ""])
            asked["after"] = random.choice([None, 0, random.randrange(200), random.randrange(1_000_000)])
            asked["direction"] = random.choice(["in", "out"])
            asked["seconds"] = random.choice([0.0, 0.0, 0.5, 2.0]) if kind == "drop" else 0.0
        elif kind in ("corrupt", "full"):
            asked["after"] = random.choice([0, random.randrange(65_536), random.randrange(1_000_000)])
        elif kind == "trickle":
            asked["seconds"] = 0.0001
        elif kind == "latency":
            asked |= {"seconds": 0.02, "times": 20}
        elif kind in ("offline", "unauthorised"):
            asked |= {"seconds": random.choice([0.3, 1.0, 3.0]), "times": 1}
            asked["silent"] = kind == "offline" and random.random() < 0.5
        self._control.ask("fault", kind=kind, **asked)
        return kind

    def happened(self) -> int:
        """See :class:`Subject`."""
        return int(self._control.status()["happened"])

    def calm(self) -> None:
        """See :class:`Subject`."""
        self._control.reset_faults()
        until = time.monotonic() + 30
        while not self._control.status()["listening"] and time.monotonic() < until:
            time.sleep(0.05)


class BoardSubject:
    """A board behind a relay, whose network has faults."""

    def __init__(self, spec: DeviceSpec, relay: Relay) -> None:
        self.spec = spec
        self._relay = relay

    def trouble(self, random: random.Random) -> str:
        """See :class:`Subject`."""
        kind = random.choice(["drop", "drop", "drop", "hang", "flip", "latency", "offline"])
        after = random.choice([0, random.randrange(2_000), random.randrange(20_000), random.randrange(1_500_000)])
        seconds = {"drop": random.choice([0.0, 0.5, 2.0]), "latency": 0.02, "offline": random.choice([0.3, 2.0])}
        self._relay.ask(Trouble(kind, after, seconds.get(kind, 0.0)))  # type: ignore[arg-type]  # of the list above
        return kind

    def happened(self) -> int:
        """See :class:`Subject`."""
        return self._relay.happened

    def calm(self) -> None:
        """See :class:`Subject`."""
        self._relay.calm()


@dataclass(frozen=True)
class Step:
    """What was done, what went wrong, and what came of it. ``broken``: rules that did not hold."""

    number: int
    device: str
    operation: str
    fault: str
    happened: int
    error: str | None
    seconds: float
    broken: tuple[str, ...]


@dataclass
class _Expected:
    """What a step must leave on the device and here."""

    check: Callable[[Session], list[str]] = field(default=lambda _: [])
    files: set[str] = field(default_factory=set)


@contextlib.contextmanager
def _shortened(control_s: float) -> Iterator[None]:
    """The session's own deadlines and pauses, shorter: a campaign of hangs would take hours with those of every day."""
    before = sessions.CONTROL_S, sessions.PAUSES_S
    sessions.CONTROL_S, sessions.PAUSES_S = control_s, (0.1, 0.3, 0.6, 1.5, 4.0)
    try:
        yield
    finally:
        sessions.CONTROL_S, sessions.PAUSES_S = before


def campaign(
    subjects: Sequence[Subject], *, steps: Iterable[int], seed: int, folder: Path, deadline_s: float = 10.0
) -> Iterator[Step]:
    """Do so many random things, one after the other, each while something goes wrong.

    Args:
        subjects: the devices, taken in turn.
        steps: their numbers.
        seed: of everything that is random.
        folder: for files and session state; must be empty.
        deadline_s: of each command, and of the session's own.
    """
    for number in steps:
        # A generator per step: a step can be looked at alone, whatever those before it drew.
        yield _step(subjects[number % len(subjects)], random.Random(f"{seed}/{number}"), number, folder, deadline_s)


def _step(subject: Subject, random: random.Random, number: int, folder: Path, deadline_s: float) -> Step:
    here, state = folder / f"step{number}", folder / "state"
    here.mkdir(parents=True)
    operation = random.choice(_OPERATIONS)
    files = _files(here, random)
    session = open_session(subject.spec, root=state)
    expected = _Expected()
    fault = "none"
    error: str | None = None
    broken: list[str] = []
    try:
        placed = session.push({digest: path for digest, (path, _) in files.items()}) if operation == "pull" else {}
        before = subject.happened()
        if random.random() < 0.95:
            fault = subject.trouble(random)
        began = time.monotonic()
        outcome: list[BaseException | None] = []

        def work() -> None:
            try:
                _do(session, operation, files, placed, here, expected, random, deadline_s, _sign(state))
                outcome.append(None)
            except BaseException as caught:
                outcome.append(caught)

        # As many tries as a push of three files may take, each up to its deadline.
        limit = 12 * deadline_s + 60
        thread = threading.Thread(target=work, daemon=True)
        with _shortened(deadline_s):
            thread.start()
            thread.join(limit)
        seconds = time.monotonic() - began
        if not outcome:
            return Step(number, subject.spec.name, operation, fault, 0, None, seconds, (f"hangs after {limit:g} s",))
        happened = subject.happened() - before
        error, broken = _judged(outcome[0])
    finally:
        subject.calm()
        session.close()
    broken += _look(subject, state, expected)
    broken += [f"left here: {path.name}" for path in here.iterdir() if path.name not in {"files", *expected.files}]
    return Step(number, subject.spec.name, operation, fault, happened, error, seconds, tuple(broken))


def _files(here: Path, random: random.Random) -> dict[str, tuple[Path, bytes]]:
    found: dict[str, tuple[Path, bytes]] = {}
    (here / "files").mkdir()
    for one in range(random.choice([1, 1, 2, 3])):
        content = random.randbytes(random.choice(_SIZES))
        path = here / "files" / f"{one}.bin"
        path.write_bytes(content)
        found[hashlib.sha256(content).hexdigest()] = (path, content)
    return found


def _do(
    session: Session,
    operation: Operation,
    files: dict[str, tuple[Path, bytes]],
    placed: dict[str, str],
    here: Path,
    expected: _Expected,
    random: random.Random,
    deadline_s: float,
    sign: str,
) -> None:
    if operation == "push":
        there = session.push({digest: path for digest, (path, _) in files.items()})
        if set(there) != set(files):
            raise AssertionError("a push answered for other files than it was asked for")
        names = {there[digest].rpartition("/")[2]: digest for digest in files}
        expected.check = lambda clean: _not_there(clean, names)
    elif operation == "pull":
        digest, path = next(iter(placed.items()))
        session.pull(path, here / "pulled")
        expected.files.add("pulled")
        if (here / "pulled").read_bytes() != files[digest][1]:
            raise AssertionError("a pull gave another content than was there")
    elif operation == "run":
        lines, code = random.choice([1, 100, 40_000]), random.choice([0, 0, 3, 77])
        script = f'seq 1 {lines}; echo "warned of {lines}" >&2; exit {code}'
        done = session.run(["sh", "-c", script], deadline_s=deadline_s, env={SIGN: sign})
        whole = "".join(f"{n}\n" for n in range(1, lines + 1)).encode()
        if (done.exit_code, done.stdout, done.stderr) != (code, whole, f"warned of {lines}\n".encode()):
            raise AssertionError("a command was reported as done with another output or exit code than it had")
    else:
        done = session.run(["sh", "-c", "setsid sleep 600 & sleep 600"], deadline_s=LONG_S, env={SIGN: sign})
        raise AssertionError(f"a command that takes 600 s was reported as done: {done.exit_code}")


def _judged(caught: BaseException | None) -> tuple[str | None, list[str]]:
    """The error's class, and what about it is wrong."""
    if caught is None:
        return None, []
    if isinstance(caught, AssertionError):
        return "wrong success", [str(caught)]
    if not isinstance(caught, DeviceError):
        return type(caught).__name__, [f"{type(caught).__name__} instead of a device's error: {caught}"]
    said = [] if re.search(r"\w", caught.what) and caught.device else ["an error without a reason or a device"]
    return type(caught).__name__, said


def _not_there(clean: Session, names: dict[str, str]) -> list[str]:
    script = 'cd -- "$1" && sha256sum *'
    done = clean.run(["sh", "-c", script, "sh", f"{clean.work_dir}/files"], deadline_s=60)
    lines = (line.split(maxsplit=1) for line in done.stdout.decode("utf-8", "replace").splitlines())
    found = {name: digest for digest, name in lines}
    return [f"reported as pushed, not there: {name}" for name, digest in names.items() if found.get(name) != digest]


def _look(subject: Subject, state: Path, expected: _Expected) -> list[str]:
    """What is on the device once it works again and somebody has opened the next session."""
    with open_session(subject.spec, root=state, wait_s=30) as clean:
        broken = expected.check(clean)
        listed = clean.run(["sh", "-c", 'cd -- "$1" && ls -A', "sh", f"{clean.work_dir}/files"], deadline_s=60)
        names = listed.stdout.decode("utf-8", "replace").splitlines()
        broken += [f"left on the device: {name}" for name in names if name.startswith(".")]
        whole = {name: name.partition(".")[0] for name in names if not name.startswith(".")}
        broken += [f"half a file: {one}" for one in _not_there(clean, whole)]
        own = clean.run(["sh", "-c", _LIVING, "sh", _sign(state)], deadline_s=60).stdout.decode("utf-8", "replace")
        broken += [f"runs on: {line}" for line in own.splitlines() if line.strip()]
        clean.run(["sh", "-c", 'cd -- "$1" && rm -f -- *', "sh", f"{clean.work_dir}/files"], deadline_s=60)
    return broken


def _sign(state: Path) -> str:
    return hashlib.sha256(str(state).encode()).hexdigest()[:16]
